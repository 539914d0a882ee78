"""The emission of a long recording, divided at pauses."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.search.pauses import SILENT
from ds2cli.search.pieces import PieceCutter, PieceLengths
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
STEP_S = 0.1
LENGTHS = PieceLengths(pause_s=0.4, long_pause_s=0.6, target_s=2.0, max_s=4.0, edge_s=0.3)


def emission(path, certain=0.97):
    """Log-probabilities of a path such as `a__b`: _ is blank, . a blank that is not certain, - a space."""
    probs = np.full((len(path), 4), (1 - certain) / 3, np.float64)
    for i, symbol in enumerate(path):
        if symbol == ".":
            probs[i] = [0.8, 0.01, 0.1, 0.09]
        else:
            probs[i, "_-ab".index(symbol)] = certain
    return np.log(probs).astype(np.float32)


def cut(log_probs, size=10**6, lengths=LENGTHS):
    cutter = PieceCutter(VOCAB, STEP_S, lengths)
    pieces = [p for i in range(0, len(log_probs), size) for p in cutter.advance(log_probs[i : i + size])]
    return pieces + cutter.finish(), cutter.silence


def texts(path, **options):
    return [path[p.start : p.start + len(p.log_probs)] for p in cut(emission(path), **options)[0]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ab", ["ab"]),
        # short pauses do not divide a short piece, long ones do, in their middle; a space belongs to the pause
        ("ab____ba", ["ab____ba"]),
        ("ab______ba", ["ab___", "___ba"]),
        ("ab___-__ba", ["ab___", "-__ba"]),
        # uncertain blanks are no pause
        ("ab___.__ba", ["ab___.__ba"]),
        # from the target length on, a short pause is enough
        ("ab" * 10 + "____ba", ["ab" * 10 + "__", "__ba"]),
        # the longest pause within a piece that gets too long, but not at its very beginning or end
        ("ba___" + "ab" * 7 + "__" + "a" * 30, ["ba___" + "ab" * 7 + "_", "_" + "a" * 30]),
        # silence is left out, but for a little before a sound
        ("_" * 50, []),
        ("_" * 50 + "ab" + "_" * 50, ["___" + "ab" + "___"]),
        ("", []),
    ],
)
def test_pieces_end_in_pauses(path, expected):
    found = texts(path)
    assert [text.strip("_") for text in found] == [text.strip("_") for text in expected]
    if "_" * 50 not in path:
        assert found == expected and "".join(found) == path


def test_a_piece_without_a_pause_is_divided_at_its_most_silent_step():
    assert texts("a" * 25 + "." + "a" * 20) == ["a" * 25, "." + "a" * 20]


def test_sounds_have_their_place():
    (first, second), _ = cut(emission("____ab_______bb"))
    assert (first.start, first.first, first.last) == (0, 4, 6)
    assert (second.first, second.last) == (13, 15)


def plain(log_probs, lengths=LENGTHS):
    """The same rules, looked at from the start again for each piece; pieces as (start, end) without edges."""
    silent = np.exp(log_probs[:, :2].astype(np.float64)).sum(axis=1)
    pause, long, target, most = (round(s / STEP_S) for s in (
        lengths.pause_s, lengths.long_pause_s, lengths.target_s, lengths.max_s))  # fmt: skip
    edge, pieces, begin, total = round(lengths.edge_s / STEP_S), [], 0, len(silent)
    while begin < total:
        sounds = np.flatnonzero(silent[begin:] < SILENT)
        if not len(sounds):
            break
        # at most twice the edge is kept before the first sound
        while begin + sounds[0] - begin > 2 * edge:
            begin, sounds = begin + edge + 1, sounds - edge - 1
        for end in range(begin + sounds[0] + 1, total + 1):
            last = int(np.flatnonzero(silent[begin:end] < SILENT)[-1]) + 1
            run = end - begin - last
            if run and run >= (long if last < target else pause):
                cut_at = begin + (last + end - begin) // 2
                break
            if end - begin >= most:
                size = end - begin
                inner = silent[begin + size // 5 : end - size // 5]
                runs, best = [], 0
                for i, value in enumerate(inner):
                    if value >= SILENT:
                        if runs and runs[-1][1] == i:
                            runs[-1][1] = i + 1
                        else:
                            runs.append([i, i + 1])
                # a pause with a space in it goes first, then the longest
                is_space = log_probs[begin + size // 5 :, 1] > np.log(0.5)
                order = [(is_space[a:b].any(), b - a) for a, b in runs]
                for i in range(len(runs)):
                    if order[i] > order[best]:
                        best = i
                cut_at = begin + size // 5 + (sum(runs[best]) // 2 if runs else int(inner.argmax()))
                break
        else:
            cut_at = total
        if (silent[begin:cut_at] < SILENT).any():
            pieces.append((begin, cut_at))
        begin = cut_at
    return pieces


@pytest.mark.parametrize("seed", range(30))
def test_they_agree_with_a_plain_reference_in_parts_of_any_size(seed):
    rng = np.random.default_rng(seed)
    path = "".join(
        "".join(rng.choice([*"ab.-"], rng.integers(1, 30 if seed % 3 else 80)))
        + "_" * int(rng.choice([0, 1, 3, 5, 7, 12, 40]))
        for _ in range(40)
    )
    log_probs = emission(path)
    pieces, silence = cut(log_probs)
    assert [(p.start, p.start + len(p.log_probs)) for p in pieces] == plain(log_probs)
    for size in (1, 7, 100):
        others, same = cut(log_probs, size)
        assert [p[1:] for p in others] == [p[1:] for p in pieces] and same == pytest.approx(silence)
        for one, other in zip(pieces, others, strict=True):
            np.testing.assert_array_equal(one.log_probs, other.log_probs)
    best = log_probs.max(axis=1).astype(np.float64)
    assert silence == pytest.approx(best.sum() - sum(best[p.start : p.start + len(p.log_probs)].sum() for p in pieces))
    assert all(len(p.log_probs) <= 40 for p in pieces)
