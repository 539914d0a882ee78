"""Significance tests: cases known by construction, plain references, and NIST's sc_stats."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import time
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from ds2cli.kernels.edit import DEL, HIT, INS, SUB
from ds2cli.metrics import significance
from ds2cli.metrics.alignment import Alignments, Units, align_units
from ds2cli.metrics.significance import Differences
from ds2cli.stages.sclite import INSTALL, find_program

SCLITE, SC_STATS = (find_program(name) for name in ("sclite", "sc_stats"))
needs_sctk = pytest.mark.skipif(None in (SCLITE, SC_STATS), reason=f"sctk is not installed ({INSTALL})")
SYSTEMS = ("first-system-with-a-long-name", "second-system-with-a-long-name")
"""sc_stats writes beyond its buffers if the names are short."""


def segments_of(ref, first, second):
    aligned = [align_units([r.split() for r in ref], [h.split() for h in hyps], "sclite") for hyps in (first, second)]
    return significance.segment_errors(*(significance.find_slots(a) for a in aligned)).tolist()


@pytest.mark.parametrize(
    ("ref", "first", "second", "segments"),
    [
        ("a b c d", "a b c d", "a b c d", []),
        ("a b c d", "x b c d", "a b c d", [[1, 0, 3]]),
        # one right word between two errors joins them
        ("a b c d e", "x b y d e", "a b c d e", [[2, 0, 5]]),
        # two right words part them, and both segments contain these
        ("a b c d e", "x b c y e", "a b c d e", [[1, 0, 3], [1, 0, 4]]),
        # an error of the other system is an error
        ("a b c d e", "x b c d e", "a b y d e", [[1, 1, 5]]),
        ("a b c d e f", "x b c d e f", "a b c y e f", [[1, 0, 3], [0, 1, 5]]),
        # an insertion between two right words
        ("a b c", "x b i c", "a b c", [[2, 0, 3]]),
        ("a b c d", "a b c d i", "a b c d", [[1, 0, 2]]),
        ("a b", "i a b", "a b j", [[1, 0, 2], [0, 1, 2]]),
        ("", "i", "", [[1, 0, 0]]),
        ("", "", "", []),
        ("a", "", "a", [[1, 0, 1]]),
        ("жук это 猫", "жук это 猫", "жук это 犬", [[0, 1, 3]]),
    ],
)
def test_known_segments(ref, first, second, segments):
    assert segments_of([ref], [first], [second]) == segments


def test_utterances_end_segments():
    assert segments_of(["a", "a", "b c"], ["x", "", "b c"], ["a", "a", "b"]) == [[1, 0, 1], [1, 0, 1], [0, 1, 2]]
    assert segments_of([], [], []) == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_example_of_sc_stats(order):
    """Its test 1 (testdata/file1.sgml, file2.sgml): 3 segments, 9 and 7 errors of 13 words, Z 2.000."""
    letters = {"C": HIT, "S": SUB, "I": INS, "D": DEL}
    slots = []
    for texts in (("I", "CDSCSSSCCDCII"), ("", "CDSCSSSCCSS"))[::order]:
        steps = np.array([letters[step] for step in "".join(texts)], np.uint8)
        ends = np.cumsum([len(text) for text in texts])
        units = Units(np.zeros(0, np.int32), ends)
        slots.append(significance.find_slots(Alignments([], units, units, steps, ends)))
    found = significance.segment_errors(*slots)
    assert found.sum(axis=0).tolist() == [*(9, 7)[::order], 13]
    result = significance.matched_pairs(Differences.of(found[:, 0], found[:, 1]))
    assert (result.z, result.cases) == (pytest.approx(2 * order), 3)


def segment_errors_ref(first, second):
    """Gillick & Cox, one utterance at a time, by a state machine over the words of the reference."""

    def by_word(steps):
        words = [[0, 0]]
        for step in steps:
            if step == INS:
                words[-1][1] += 1
            else:
                words[-1][0] = int(step != HIT)
                words.append([0, 0])
        return words

    segments, a, b = [], by_word(first), by_word(second)
    errors, right, is_open = [0, 0], 0, False
    for (wrong_a, inserted_a), (wrong_b, inserted_b) in zip(a, b, strict=True):
        if inserted_a or inserted_b or wrong_a or wrong_b:
            errors = [errors[0] + wrong_a + inserted_a, errors[1] + wrong_b + inserted_b]
            is_open = True
        right = 0 if wrong_a or wrong_b else 1 if inserted_a or inserted_b else right + 1
        if right >= 2 and is_open:
            segments.append(errors)
            errors, is_open = [0, 0], False
    return segments + [errors] * is_open


def test_segments_equal_the_reference():
    ref, first, second = random_set(np.random.default_rng(5), 300, speakers=3)[1:]
    aligned = [align_units(ref, hyps, "sclite") for hyps in (first, second)]
    found = significance.segment_errors(*(significance.find_slots(a) for a in aligned))
    expected = []
    for pair in range(len(ref)):
        expected += segment_errors_ref(*(a.steps[a.slice(pair)].tolist() for a in aligned))
    assert len(expected) > 300 and found[:, :2].tolist() == expected
    assert {SUB, INS, DEL} <= set(aligned[0].steps.tolist())
    assert found[:, :2].sum(axis=0).tolist() == [a.total().errors for a in aligned]


def test_references_of_other_lengths_are_an_error():
    a, b = (significance.find_slots(align_units([ref], ["a"])) for ref in ("a", "ab"))
    with pytest.raises(ValueError, match="length"):
        significance.segment_errors(a, b)


def test_matched_pairs_by_hand():
    # differences 1, 1, 0, -1, 2: mean 0.6, variance 1.3
    result = significance.matched_pairs(Differences.of(np.array([2, 1, 1, 0, 2]), np.array([1, 0, 1, 1, 0])))
    assert result.z == pytest.approx(0.6 / math.sqrt(1.3 / 5)) and result.cases == 5
    assert result.p == pytest.approx(0.2393, abs=1e-4)
    chunks = Differences.of(np.array([2, 1]), np.array([1, 0])) + Differences.of(
        np.array([1, 0, 2]), np.array([1, 1, 0])
    )
    assert significance.matched_pairs(chunks) == result


def test_equal_differences():
    ones, zeros = np.ones(10, np.int64), np.zeros(10, np.int64)
    assert significance.matched_pairs(Differences.of(ones, ones)).p == 1.0
    assert significance.matched_pairs(Differences()).p == 1.0
    always_worse = significance.matched_pairs(Differences.of(ones, zeros))
    assert (always_worse.z, always_worse.p) == (None, pytest.approx(2 / 1024))


@pytest.mark.parametrize("seed", range(5))
def test_randomization_tries_all_signs(seed):
    differences = np.random.default_rng(seed).integers(-2, 5, 9).tolist()
    total = sum(differences)
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(each, differences, strict=True))) for each in signs]
    expected = sum(s >= abs(total) for s in sums) / len(sums)
    sizes = Counter(map(abs, differences))
    assert significance.randomization_p(sizes, total) == pytest.approx(expected)
    assert significance.randomization_p({}, 0) == 1.0
    assert significance.randomization_p({1: 10}, 10) == pytest.approx(2 / 1024)


@pytest.mark.parametrize(
    ("values", "chances"),
    [([], [1]), ([0], [1]), ([1, 1], [0.25, 0.5, 0.25]), ([1, 2], [0.25] * 4), ([3], [0.5, 0, 0, 0.5])],
)
def test_known_chances_of_sums(values, chances):
    assert significance.sum_chances(values).tolist() == chances


def test_randomization_of_large_differences_is_rounded(monkeypatch):
    sums = []
    original = significance.sum_chances
    monkeypatch.setattr(significance, "sum_chances", lambda units: sums.append(sum(units)) or original(units))
    values = np.random.default_rng(0).integers(20_000, 60_000, 40).tolist()
    sizes, total = Counter(values), sum(values) - 2 * sum(values[:12])
    rounded = significance.randomization_p(sizes, total)
    assert sums.pop() <= significance.MAX_SUM + 40 < sum(values)
    with monkeypatch.context() as limit:
        limit.setattr(significance, "MAX_SUM", sum(values))
        exact = significance.randomization_p(sizes, total)
        assert sums.pop() == sum(values)
        limit.setattr(significance, "MAX_SUM", 50_000)
        coarse = significance.randomization_p(sizes, total)
        assert sums.pop() <= 50_040
    assert exact <= rounded < 1.0005 * exact and rounded < coarse < 1.01 * exact
    assert exact == pytest.approx(significance.normal_p(total / math.sqrt(sum(v * v for v in values))), rel=0.1)
    # a common divisor
    equal = significance.randomization_p({20_000: 40}, 20_000 * 16)
    assert sums == [40] and equal == pytest.approx(significance.binomial_p(12, 40))
    # few of them keep their ties
    assert significance.randomization_p({10**9 + 7: 1, 10**9: 1, 10**9 + 9: 1}, 3 * 10**9 + 16) == 0.25


@pytest.mark.parametrize(
    ("fewer", "cases", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (0, 5, 1 / 16), (1, 5, 3 / 8), (2, 5, 1.0), (2, 4, 1.0), (0, 6, 1 / 32)],
)
def test_known_binomials(fewer, cases, p):
    assert significance.binomial_p(fewer, cases) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("cases", [21, 107, 1000])
def test_binomials_equal_exact_fractions(cases):
    for fewer in (0, cases // 3, int(cases / 2 - math.sqrt(cases)), cases // 2):
        ways = sum(math.comb(cases, k) for k in range(fewer + 1))
        expected = min(1.0, float(Fraction(2 * ways, 2**cases)))
        assert significance.binomial_p(fewer, cases) == pytest.approx(expected, rel=1e-9)


def test_binomials_of_many_cases_are_nearly_normal():
    n = 1_000_000
    z = (n / 2 - 498_999.5) / math.sqrt(n / 4)
    assert significance.binomial_p(498_999, n) == pytest.approx(significance.normal_p(z), rel=1e-3)


def test_signed_ranks():
    # differences 3, -1, 2: ranks 3, 1, 2; the first is worse
    result = significance.wilcoxon_test([13.0, 9.0, 12.0], [10.0, 10.0, 10.0])
    assert result.z == pytest.approx((5 - 3) / math.sqrt(3 * 4 * 7 / 24)) and result.cases == 3
    swapped = significance.wilcoxon_test([10.0, 10.0, 10.0], [13.0, 9.0, 12.0])
    assert swapped.z == pytest.approx(-result.z) and swapped.p == result.p
    assert significance.sign_test([13.0, 9.0, 12.0], [10.0, 10.0, 10.0]).p == 1.0
    assert significance.sign_test([13.0] * 6, [10.0] * 6).p == pytest.approx(2 / 64)
    assert significance.wilcoxon_test([], []).p == significance.sign_test([], []).p == 1.0
    # one of two equal rates counts for each side
    assert significance.sign_test([1.0, 2.0, 3.0], [1.0, 2.0, 2.0]).p == 1.0


def random_set(rng, count, speakers, rates=(0.1, 0.14), vocabulary=12):
    """Speakers, references, and the hypotheses of two systems, whose errors agree in part."""

    def corrupt(words, rate):
        out = []
        for word in words:
            kind = rng.random() / rate
            if kind >= 1 / 3:
                out.append(word if kind >= 2 / 3 else f"w{rng.integers(vocabulary)}")
            if rng.random() < rate / 3:
                out.append(f"w{rng.integers(vocabulary)}")
        return out

    refs = [[f"w{i}" for i in rng.integers(0, vocabulary, rng.integers(1, 16))] for _ in range(count)]
    shared = [corrupt(ref, 0.02) for ref in refs]
    names = [f"s{rng.integers(speakers):02d}" for _ in refs]
    return names, refs, *([corrupt(text, rate) for text in shared] for rate in rates)


def run_sc_stats(folder, speakers, refs, systems):
    """What sc_stats prints: p of each test, and the details of MAPSSWE and of Wilcoxon's test."""
    sgml = ""
    for name, texts in (("ref", refs), *zip(SYSTEMS, systems, strict=True)):
        ids = [f"({speaker}-{i:05d})" for i, speaker in enumerate(speakers)]
        lines = [" ".join([*text, id_]) for text, id_ in zip(texts, ids, strict=True)]
        (folder / f"{name}.trn").write_text("\n".join(lines) + "\n")
        if name != "ref":
            command = f"-s -r ref.trn trn -h {name}.trn trn {name} -i spu_id -o sgml -n {name}"
            subprocess.run([SCLITE, *command.split()], cwd=folder, check=True, capture_output=True, timeout=60)
            sgml += (folder / f"{name}.sgml").read_text()
    printed = ""
    for options in ("-t std4 -u", "-t mapsswe -v", "-t wilc -v"):
        command = [SC_STATS, "-p", *options.split(), "-n", "out"]
        subprocess.run(command, cwd=folder, input=sgml, text=True, check=True, capture_output=True, timeout=60)
    printed = "".join((folder / f"out.stats.{kind}").read_text() for kind in ("unified", "mapsswe", "wilc"))
    p = {kind: re.search(rf"{kind} .*?([<\d.]+\d)[ *]*\|\|", printed)[1] for kind in ("MP", "SI", "WI", "MN")}
    z = re.search(r"\(# segs: (\d+)\).*\(mean: *(\S+)\) \(std dev: *(\S+)\) \(Z Stat: *(\S+)\)", printed)
    totals = re.search(r"Totals +(\d+) +(\d+) +(\d+)", printed)
    rank_z = re.search(r"The Z statistic = (\S+),", printed)
    return p, z.groups(), [int(n) for n in totals.groups()], rank_z[1]


def speaker_rates(speakers, alignments):
    rates = []
    for name in sorted(set(speakers)):
        _, subs, ins, dels = counts = alignments.counts[[s == name for s in speakers]].sum(axis=0)
        rates.append((subs + ins + dels) / (counts.sum() - ins) * 100)
    return rates


def format_p(p):
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


SETS = [
    # utterances, speakers, error rates
    *((60, 5, (0.1, 0.14)) for _ in range(6)),
    *((200, 12, (0.1, 0.12)) for _ in range(6)),
    *((400, 30, (0.05, 0.06)) for _ in range(4)),
    *((30, 40, (0.2, 0.25)) for _ in range(3)),
    (25, 1, (0.3, 0.3)),
    (500, 25, (0.1, 0.1)),
    (8, 3, (0.5, 0.2)),
    (300, 20, (0.02, 0.3)),
]


@needs_sctk
@pytest.mark.long
@pytest.mark.parametrize("number", range(len(SETS)))
def test_results_equal_sc_stats(number, tmp_path):
    count, speakers, rates = SETS[number]
    rng = np.random.default_rng(number)
    names, refs, *systems = random_set(rng, count, speakers, rates)
    p, (segments, mean, deviation, z), totals, rank_z = run_sc_stats(tmp_path, names, refs, systems)
    aligned = [align_units(refs, hyps, "sclite") for hyps in systems]
    found = significance.segment_errors(*(significance.find_slots(a) for a in aligned))
    differences = Differences.of(found[:, 0], found[:, 1])
    assert [found[:, 2].sum(), found[:, 0].sum(), found[:, 1].sum()] == totals
    pairs = significance.matched_pairs(differences)
    assert (str(pairs.cases), f"{pairs.z:.3f}") == (segments, z)
    assert f"{differences.total / pairs.cases:.3f}" == mean
    assert f"{math.sqrt(differences.variance):.3f}" == deviation
    by_speaker = [speaker_rates(names, a) for a in aligned]
    signs, ranks = significance.sign_test(*by_speaker), significance.wilcoxon_test(*by_speaker)
    assert f"{abs(ranks.z):.2f}" == rank_z.lstrip("-")
    wrong = [a.counts[:, 1:].sum(axis=1) > 0 for a in aligned]
    only = [int((wrong[1 - i] & ~wrong[i]).sum()) for i in (0, 1)]
    results = {"MP": pairs, "SI": signs, "WI": ranks, "MN": significance.mcnemar(*only)}
    assert {kind: format_p(result.p_sc_stats) for kind, result in results.items()} == p
    # its table has steps of 0.01; the binomials of up to 20 cases are exact
    for kind in ("MP", "WI"):
        assert results[kind].p == pytest.approx(results[kind].p_sc_stats, abs=0.009)
        assert results[kind].p <= results[kind].p_sc_stats
    for kind in ("SI", "MN"):
        if results[kind].cases <= 20:
            assert results[kind].p == results[kind].p_sc_stats


@pytest.mark.long
def test_many_utterances_take_little_time():
    ids = np.random.default_rng(0).integers(0, 40, (20_000, 13))
    refs = [[f"w{i}" for i in row] for row in ids.tolist()]
    hyps = [[w for w in text if w != "w3"] for text in refs], [[w for w in text if w != "w4"] for text in refs]
    aligned = [align_units(refs, h) for h in hyps]
    start = time.process_time()
    found = significance.segment_errors(*(significance.find_slots(a) for a in aligned))
    result = significance.matched_pairs(Differences.of(found[:, 0], found[:, 1]))
    assert time.process_time() - start < 1
    assert result.cases > 8_000 and result.p > 0.001
