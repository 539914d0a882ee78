"""Alignments of pairs of sequences: known cases, the references, and jiwer for the total."""

from __future__ import annotations

import subprocess
import sys

import jiwer
import numpy as np
import pytest

from ds2cli.kernels.edit import (
    _MASKS,
    DEL,
    HIT,
    INS,
    STRIDE,
    SUB,
    align_kaldi,
    align_kaldi_ref,
    count_steps,
)
from ds2cli.kernels.edit_sclite import align_sclite, align_sclite_ref

RULES = [(align_kaldi, align_kaldi_ref), (align_sclite, align_sclite_ref)]
IDS = ["kaldi", "sclite"]
STEPS = {"C": HIT, "S": SUB, "I": INS, "D": DEL}


def flat(sequences):
    ends = np.cumsum([len(s) for s in sequences], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *sequences]).astype(np.int32), ends


def aligned(align, refs, hyps):
    """The steps of each pair."""
    (refs, ref_ends), (hyps, hyp_ends) = flat(refs), flat(hyps)
    symbols = 1 + max([0, *refs.tolist(), *hyps.tolist()])
    steps, ends = align(refs, ref_ends, hyps, hyp_ends, symbols)
    assert count_steps(steps, ends).sum() == len(steps)
    return np.split(steps, ends[:-1])


def ids(text):
    return np.array([ord(c) for c in text], dtype=np.int32)


def random_pairs(seed, number, symbols, longest):
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(0, symbols, rng.integers(0, longest)).astype(np.int32) for _ in range(number)] for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("ref", "hyp", "kaldi", "sclite"),
    [
        ("", "", "", ""),
        ("a", "", "D", "D"),
        ("", "a", "I", "I"),
        ("a", "a", "C", "C"),
        ("a", "b", "S", "S"),
        ("aaa", "aa", "CCD", "DCC"),
        ("kitten", "sitting", "SCCCSCI", "SCCCSCI"),
        ("жук", "жуки", "CCCI", "CCCI"),
        # not two substitutions: compute-wer takes the diagonal only when it is strictly cheaper
        ("ab", "bc", "DCI", "DCI"),
        ("abcx", "xabc", "ICCCD", "ICCCD"),
        # sclite makes more errors of some pairs: three substitutions cost as much as two insertions and two deletions
        ("bbdad", "cacbb", "SSSSS", "IIICCDDD"),
        ("bbdbc", "dcab", "SSSCD", "DDCDCII"),
    ],
)
def test_known_alignments(ref, hyp, kaldi, sclite):
    for (align, reference), expected in zip(RULES, (kaldi, sclite), strict=True):
        steps = [STEPS[letter] for letter in expected]
        assert aligned(align, [ids(ref)], [ids(hyp)])[0].tolist() == steps
        assert reference(ids(ref), ids(hyp)).tolist() == steps


@pytest.mark.parametrize(("align", "reference"), RULES, ids=IDS)
@pytest.mark.parametrize("symbols", [1, 2, 4, 30])
@pytest.mark.parametrize("longest", [4, 12, 70, 140])
def test_kernels_equal_the_references(align, reference, symbols, longest):
    """Up to the third block of 64 units; many ties where there are few symbols."""
    refs, hyps = random_pairs(symbols + longest, 2000 // longest, symbols, longest)
    for ref, hyp, steps in zip(refs, hyps, aligned(align, refs, hyps), strict=True):
        np.testing.assert_array_equal(steps, reference(ref, hyp))


@pytest.mark.parametrize(("align", "reference"), RULES, ids=IDS)
def test_long_pairs_are_traced_back_in_parts(align, reference):
    rng = np.random.default_rng(0)
    lengths = [(64, STRIDE), (65, STRIDE + 1), (1, 2 * STRIDE + 1), (128, 2 * STRIDE), (127, 0), (100, STRIDE - 1)]
    refs, hyps = ([rng.integers(0, 3, pair[k]).astype(np.int32) for pair in lengths] for k in range(2))
    for ref, hyp, steps in zip(refs, hyps, aligned(align, refs, hyps), strict=True):
        np.testing.assert_array_equal(steps, reference(ref, hyp))


@pytest.mark.parametrize(("align", "_reference"), RULES, ids=IDS)
def test_no_pair_and_one_pair(align, _reference):
    empty = np.zeros(0, np.int32)
    steps, ends = align(empty, np.zeros(0, np.int64), empty, np.zeros(0, np.int64), 0)
    assert len(steps) == len(ends) == 0
    steps, ends = align(empty, np.zeros(1, np.int64), empty, np.zeros(1, np.int64), 0)
    assert len(steps) == 0 and ends.tolist() == [0]


def test_number_of_errors_equals_jiwer():
    refs, hyps = random_pairs(1, 300, 5, 20)
    refs = [np.append(ref, np.int32(0)) for ref in refs]  # jiwer refuses an empty reference
    texts = [[" ".join(map(str, s)) for s in sequences] for sequences in (refs, hyps)]
    for ref, hyp, steps in zip(*texts, aligned(align_kaldi, refs, hyps), strict=True):
        peer = jiwer.process_words(ref, hyp)
        assert (steps != HIT).sum() == peer.substitutions + peer.insertions + peer.deletions


def test_a_reference_of_many_symbols_has_no_bits_for_each():
    rng = np.random.default_rng(0)
    ref = rng.integers(0, 9000, 4000).astype(np.int32)
    hyp = ref[np.sort(rng.integers(0, 4000, 60))]
    assert len(set(ref.tolist())) * (len(ref) // 64 + 1) > _MASKS
    np.testing.assert_array_equal(aligned(align_kaldi, [ref, hyp], [hyp, hyp[::-1]])[0], align_kaldi_ref(ref, hyp))


def test_the_memory_of_a_long_pair_grows_with_its_length():
    """A bit for each pair of 100,000 x 100,000 units would take 1.25 GB, a mask for each symbol as much."""
    code = (
        "import numpy as np, resource\n"
        "from ds2cli.kernels.edit import align_kaldi\n"
        "a = np.arange(100_000, dtype=np.int32); end = np.array([len(a)]); small = a[:9]\n"
        "align_kaldi(small, np.array([9]), small[::-1].copy(), np.array([9]), len(a))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for ids in (a, a % 29):\n"
        "    steps, _ = align_kaldi(ids, end, np.roll(ids, 1000), end, len(a))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000  # kB
