"""Alignments by sclite's rule, compared with those of sclite itself."""

import random
import re
import subprocess

import pytest

from ds2cli.metrics.alignment import align_characters, align_units, align_words
from ds2cli.stages.sclite import find_program

LETTERS = "CSID"
"""sclite's names of HIT, SUB, INS and DEL."""


@pytest.fixture(scope="module")
def sclite(tmp_path_factory):
    """Align lists of words in one run of sclite: the letters of the steps of each pair."""
    program = find_program("sclite")
    if program is None:
        pytest.skip("needs SCTK's sclite (utils/install_sctk.sh)")
    folder = tmp_path_factory.mktemp("sclite")

    def align(refs, hyps, *options):
        for name, texts in (("ref", refs), ("hyp", hyps)):
            lines = "".join(f"{' '.join(words)} (s-{i})\n" for i, words in enumerate(texts))
            (folder / name).write_text(lines, "utf-8")
        command = [program, "-r", "ref", "trn", "-h", "hyp", "trn", "-i", "spu_id", "-s", "-e", "utf-8", "-f", "0"]
        subprocess.run(
            [*command, "-o", "sgml", "-n", "out", *options], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        paths = re.findall(r'<PATH id="\(s-(\d+)\)"[^>]*>\n(.*\n)?</PATH>', (folder / "out.sgml").read_text("utf-8"))
        steps = {int(i): re.findall(r"(?:^|:)([CSID]),", line) for i, line in paths}
        return [steps[i] for i in range(len(refs))]

    return align


def damage(rng, words, units):
    """A text recognized with errors of every kind."""
    out = []
    for word in words:
        kind = rng.random()
        if kind < 0.15:
            continue
        out.append(rng.choice(units) if kind < 0.3 else word)
        if kind > 0.85:
            out.append(rng.choice(units))
    return out


def random_pairs():
    """Pairs of texts: few different words (many ties), nothing in common, repetitions, long ones, empty ones."""
    rng = random.Random(15)

    def text(units, shortest, longest):
        return [rng.choice(units) for _ in range(rng.randint(shortest, longest))]

    for _ in range(5000):
        units = "abcd"[: rng.randint(1, 4)]
        yield text(units, 0, 12), text(units, 0, 12)
    vocabulary = [*(f"w{i}" for i in range(24)), "für", "中文", "字", "Ab", "aB", "it's"]
    for _ in range(4000):
        units = vocabulary[: rng.randint(2, len(vocabulary))]
        ref = text(units, 1, 30)
        yield ref, damage(rng, ref, units)
    for _ in range(1000):
        yield text("ab", 0, 6), text("cd", 0, 6)
    for _ in range(1000):
        unit = text("ab", 1, 3)
        yield unit * rng.randint(1, 6), unit * rng.randint(1, 6)
    # longer than the part of an alignment that is kept in memory at a time
    for length in (500, 700, 1100):
        ref = text(vocabulary, length, length)
        yield ref, damage(rng, ref, vocabulary)


@pytest.mark.long
def test_words_are_aligned_step_by_step_as_by_sclite(sclite):
    refs, hyps = zip(*random_pairs(), strict=True)
    assert len(refs) > 10_000
    ours = align_words([" ".join(ref) for ref in refs], [" ".join(hyp) for hyp in hyps], "sclite", threads=2)
    for i, theirs in enumerate(sclite(refs, hyps)):
        steps = [LETTERS[step] for step in ours.steps[ours.slice(i)]]
        assert steps == theirs, (refs[i], hyps[i])
        assert ours.counts[i].tolist() == [theirs.count(letter) for letter in LETTERS]


@pytest.mark.long
def test_characters_are_aligned_as_by_sclite(sclite):
    # sclite splits into characters itself, and spaces do not count
    rng = random.Random(16)
    units = [*"abcdeé", "für", "中文", "字", "abc", "ba"]
    refs = [[rng.choice(units) for _ in range(rng.randint(1, 10))] for _ in range(1500)]
    hyps = [damage(rng, ref, units) for ref in refs]
    ours = align_characters(["".join(ref) for ref in refs], ["".join(hyp) for hyp in hyps], "sclite")
    theirs = sclite(refs, hyps, "-c")
    assert ours.counts.tolist() == [[steps.count(letter) for letter in LETTERS] for steps in theirs]


def test_sclite_counts_more_errors_where_kaldi_prefers_substitutions(sclite):
    # 5 substitutions cost 20, 3 insertions and 3 deletions 18
    refs, hyps = [list("abcde")], [list("dexyz")]
    assert align_units(refs, hyps, "kaldi").total().errors == 5
    assert align_units(refs, hyps, "sclite").total().errors == 6
    assert sclite(refs, hyps) == [list("DDDCCIII")]
