"""Comparisons of systems: results known by construction, and what people read."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from ds2cli.metrics.aligner import Aligner
from ds2cli.metrics.comparison import Comparison
from ds2cli.metrics.comparison_pair import MIN_DRAWN, POWER_FACTOR


def compare(refs, *systems, groups=None, names="ABCDE", chunk=1000, **settings):
    comparison = Comparison(names[: len(systems)], draws=2000, **settings)
    groups = groups or [None] * len(refs)
    for begin in range(0, len(refs), chunk):
        part = slice(begin, begin + chunk)
        comparison.add(refs[part], [texts[part] for texts in systems], groups[part])
    return comparison


def replace_words(texts, rate, seed):
    rng = np.random.default_rng(seed)
    return [" ".join("x" if rng.random() < rate else w for w in text.split()) for text in texts]


REFS = ["a b c d e f g h i j"] * 100


def verdicts(comparison):
    return [pair.verdict for pair in comparison.pairs]


def test_counts_of_a_known_set():
    refs = ["a b", "c d", "e f", ""]
    c = compare(refs, ["a b", "c", "e x", "i"], ["a b", "c d", "e f g", ""])
    (pair,) = c.pairs
    assert (c.utterances, c.words) == (4, 6)
    assert [c.counts(k).errors for k in (0, 1)] == [3, 1] and c.wrong.tolist() == [3, 1]
    assert pair.difference == pytest.approx(-200 / 6)
    assert (pair.sums.better, pair.sums.worse) == (2, 0)
    assert (pair.sums.only_first, pair.sums.only_second) == (0, 2)
    assert pair.mapsswe.cases == 3 and pair.mapsswe.z > 0 and pair.signs.p == 0.5
    # differences 1, 0, 1 of the segments: two of four signs are as far from 0
    assert pair.p_exact == pytest.approx(0.5) and pair.group_signs is None and pair.ranks is None
    # 4 utterances
    assert MIN_DRAWN > 4 and pair.verdict == "too-few"


def test_chunks_do_not_matter():
    first, second = replace_words(REFS, 0.1, 0), replace_words(REFS, 0.2, 1)
    groups = [f"s{i % 9}" for i in range(100)]
    whole, parts = (compare(REFS, first, second, groups=groups, chunk=chunk) for chunk in (100, 7))
    assert whole.as_fields() == parts.as_fields() and list(whole.lines()) == list(parts.lines())


def test_a_real_difference():
    c = compare(REFS, replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1))
    (pair,) = c.pairs
    assert pair.verdict == "real" and pair.difference == pytest.approx(-10, abs=3) and pair.p_corrected < 0.001
    assert pair.interval[0] < pair.difference < pair.interval[1] < 0 and pair.share_better > 0.999
    assert pair.p_bootstrap == 1 / 2000 and pair.p_exact is None
    lines = list(c.lines())
    assert "The difference is real: B makes fewer errors than A (MAPSSWE, p < 0.001)." in lines
    assert next(line for line in lines if line.startswith("B against A: ")).endswith("relative)")


def test_a_difference_in_the_other_direction():
    c = compare(REFS, replace_words(REFS, 0.1, 0), replace_words(REFS, 0.2, 1))
    assert c.pairs[0].difference > 0 and c.pairs[0].interval[0] > 0 and c.pairs[0].share_better < 0.001
    assert "The difference is real: A makes fewer errors than B (MAPSSWE, p < 0.001)." in list(c.lines())


def test_chance():
    c = compare(REFS, replace_words(REFS, 0.2, 0), replace_words(REFS, 0.2, 1))
    (pair,) = c.pairs
    assert pair.verdict == "none" and pair.interval[0] < 0 < pair.interval[1]
    (line,) = (line for line in c.lines() if line.startswith("No difference is shown: "))
    assert "may be chance (MAPSSWE, p = 0." in line and f"hardly show less than {pair.smallest:.2f} points" in line


def test_equal_systems_and_no_errors():
    texts = replace_words(REFS, 0.2, 0)
    same, perfect = compare(REFS, texts, texts), compare(REFS, REFS, REFS)
    for c in (same, perfect):
        assert verdicts(c) == ["same"] and c.pairs[0].smallest is None and c.pairs[0].p_corrected == 1.0
        lines = list(c.lines())
        assert "B against A: the same rate" in lines and not any("power" in line for line in lines)
        assert lines[-1] == "No difference: B and A make equally many errors in every segment."
    assert perfect.pairs[0].mapsswe.cases == 0 and perfect.interval(0) == (0.0, 0.0)


def test_no_words():
    c = compare(["", " "], ["", "x"], ["", ""])
    assert list(c.lines()) == ["The references have no words: there is nothing to compare."]
    assert c.as_fields()["systems"][0]["rate"] == 0.0


def test_a_small_set_is_not_read_too_much_into():
    refs = ["a b c d"] * 20
    first, second = ["a b c x"] * 6 + ["a b c d"] * 14, refs
    c = compare(refs, first, second)
    (pair,) = c.pairs
    # six segments, all better: significant, but the set cannot show one point
    assert pair.verdict == "real" and pair.p_exact == pytest.approx(2 / 64) and pair.mapsswe.z is None
    lines = list(c.lines())
    assert lines[-2] == "The difference is real: B makes fewer errors than A (exact MAPSSWE, p = 0.031)."
    assert lines[-1].startswith("Small test set: only 6 segments with errors. The true difference may be from -")
    few = compare(refs, ["a b c x"] * 5 + ["a b c d"] * 15, second)
    assert few.pairs[0].verdict == "uncertain" and few.pairs[0].p_exact == pytest.approx(2 / 32)
    assert any("the tests disagree (exact MAPSSWE, p = 0.062; the bootstrap, p" in line for line in few.lines())


def small_set_lines(comparison):
    return [line for line in comparison.lines() if line.startswith("Small test set: ")]


@pytest.mark.parametrize(("smallest", "is_warned"), [(0.9, False), (1.01, False), (1.4, False), (1.43, True)])
def test_a_set_that_shows_a_difference_is_small_only_without_half_of_the_words(smallest, is_warned):
    c = compare(REFS, replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1))
    pair = dataclasses.replace(c.pairs[0], smallest=smallest)
    for verdict in ("none", "uncertain", "real"):
        c.__dict__["pairs"] = [dataclasses.replace(pair, verdict=verdict)]
        expected = is_warned or (verdict != "real" and smallest > 1)
        assert len(small_set_lines(c)) == expected


def test_no_spread_without_width():
    (line,) = small_set_lines(compare(["a"] * 20, ["a"] * 20, ["x"] * 20))
    assert line == "Small test set: only 20 segments with errors."


def test_power_by_hand():
    first, second = replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1)
    (pair,) = compare(REFS, first, second).pairs
    segments = pair.sums.segments
    error = 100 * math.sqrt(segments.cases * segments.variance) / 1000
    assert pair.smallest == pytest.approx(POWER_FACTOR * error)
    assert pair.words_per_point == math.ceil(1000 * pair.smallest**2)


@pytest.mark.long
def test_power_is_that_of_simulated_sets():
    """Of sets whose true difference is the smallest that shows, the test finds 80 %."""
    rng = np.random.default_rng(0)
    rates, words, sets = (0.2, 0.15), 2000, 400
    found, smallest = 0, []
    refs = ["w " * 10] * (words // 10)
    for _ in range(sets // 20):
        systems = [replace_words(refs, rate, rng) for rate in rates]
        smallest.append(compare(refs, *systems).pairs[0].smallest)
    for _ in range(sets):
        # independent words: the same as MAPSSWE on segments of one word
        wrong = rng.random((2, words)) < np.array([[0.2], [0.2 - np.mean(smallest) / 100]])
        d = wrong[0].astype(int) - wrong[1]
        found += abs(d.mean() / (d.std(ddof=1) / np.sqrt(words))) > 1.96
    assert found / sets == pytest.approx(0.8, abs=0.06)


def test_groups_are_resampled_as_a_whole():
    # one speaker has all the differences: by utterances they are real, by speakers they are not
    groups = [f"s{i // 10}" for i in range(100)]
    second = replace_words(REFS, 0.1, 0)
    first = ["x x x x x x x x x x"] * 10 + second[10:]
    by_utterance = compare(REFS, first, second, groups=groups)
    by_group = compare(REFS, first, second, groups=groups, resample="speaker")
    assert verdicts(by_utterance) == ["uncertain"] or verdicts(by_utterance) == ["real"]
    (pair,) = by_group.pairs
    assert pair.verdict == "none" and by_group.num_drawn == 10 and pair.interval[1] == 0.0
    assert pair.smallest > by_utterance.pairs[0].smallest
    assert any("draws of 10 speakers" in line for line in by_group.lines())
    assert by_utterance.pairs[0].ranks.cases == pair.ranks.cases == 10


def test_a_single_group_allows_no_conclusion():
    first, second = replace_words(REFS, 0.4, 0), replace_words(REFS, 0.1, 1)
    c = compare(REFS, first, second, groups=["s"] * 100, resample="speaker")
    assert verdicts(c) == ["too-few"]
    assert "No conclusion: a test set of 1 speaker is too small, expected at least 8." in list(c.lines())


def test_three_systems():
    systems = [replace_words(REFS, rate, seed) for seed, rate in enumerate((0.3, 0.1, 0.1))]
    c = compare(REFS, *systems)
    assert [(p.first, p.second, p.verdict) for p in c.pairs] == [(0, 1, "real"), (0, 2, "real"), (1, 2, "none")]
    raw = sorted(p.mapsswe.p for p in c.pairs)
    assert sorted(p.p_corrected for p in c.pairs) == pytest.approx([3 * raw[0], max(3 * raw[0], 2 * raw[1]), raw[2]])
    lines = list(c.lines())
    assert sum(" against A: " in line for line in lines) == 2
    table = lines[lines.index("") :][-3:]
    assert [line.split()[:2] for line in table] == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert [line.split()[-1] for line in table] == ["B", "C", "~"]


def test_the_rule_of_alignments_and_the_output_of_sc_stats():
    c = compare(REFS, replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1), aligner=Aligner("sclite"))
    assert any(line.startswith("  sc_stats    prints MP <0.001, MN <0.001") for line in c.lines())
    assert c.as_fields()["alignment"] == "sclite"


def test_characters():
    refs = ["жук это 猫"] * 10
    c = compare(refs, ["жуки это 犬"] * 10, refs, unit="char")
    assert c.words == 80 and c.counts(0).errors == 20
    assert "  %CER  " in list(c.lines())[1]


def test_fields_are_json():
    c = compare(REFS, replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1), groups=["a", "b"] * 50)
    fields = json.loads(json.dumps(c.as_fields(), allow_nan=False))
    (pair,) = fields["pairs"]
    assert (pair["first"], pair["second"], pair["verdict"]) == ("A", "B", "real")
    assert pair["better"] + pair["worse"] + pair["ties"] == fields["utterances"] == 100
    assert pair["mapsswe"].keys() == {"z", "p", "p_sc_stats", "cases"}
    assert fields["systems"][0]["name"] == "A" and len(fields["systems"][0]["interval_95"]) == 2


def test_a_seed_decides_the_draws():
    first, second = replace_words(REFS, 0.2, 0), replace_words(REFS, 0.1, 1)
    a, b, c = (compare(REFS, first, second, seed=seed).as_fields()["pairs"] for seed in (0, 0, 1))
    assert a == b != c
    two_threads = compare(REFS, first, second, aligner=Aligner(threads=2)).as_fields()
    assert two_threads["pairs"] == a
