"""CTC batches on which every implementation must agree with `nn/ctc/reference.py`.

Sizes around the limits of the kernels, labels with repeats, extreme logits, utterances without a valid alignment.

T frames, N utterances, V symbols, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# lengths L of labels; a trellis has L + 1 pairs of a label and a blank, and these are around one warp (32), several
# warps, and what registers hold
EDGES = (0, 1, 2, 15, 16, 17, 30, 31, 32, 33, 55, 56, 63, 64, 65, 79, 80, 127, 128, 129, 199, 200, 255, 256, 257)
LONG_EDGES = (483, 484, 600, 995, 996)


class Case(NamedTuple):
    """A batch. logits: (T, N, V); targets: (N, L) int32; lengths: (N,) int32."""

    name: str
    logits: NDArray[np.float32]
    targets: NDArray[np.int32]
    input_lengths: NDArray[np.int32]
    target_lengths: NDArray[np.int32]
    blank: int = 0


def draw(name, lengths, L, V, seed, blank=0, size=1.0, alphabet=None) -> Case:
    """Random logits and labels. lengths: (frames, labels) per utterance; alphabet: number of symbols used in labels."""
    rng = np.random.default_rng(seed)
    frames, labels = np.array(lengths, np.int32).reshape(-1, 2).T
    symbols = np.delete(np.arange(V), blank)[:alphabet]
    shape = len(frames), L
    targets = (rng.choice(symbols, shape) if len(symbols) else np.zeros(shape)).astype(np.int32)
    logits = rng.normal(size=(max(frames, default=0), len(frames), V)) * size
    return Case(name, logits.astype(np.float32), targets, frames.copy(), labels.copy(), blank)


def with_exact_length(case: Case, n: int, spare: int = 0) -> None:
    """Give utterance n exactly the frames that its labels need, plus `spare`."""
    label = case.targets[n, : case.target_lengths[n]]
    case.input_lengths[n] = len(label) + np.sum(label[1:] == label[:-1]) + spare


def edges(labels=EDGES) -> Iterator[Case]:
    """Label lengths around the limits: frames to spare, one label fewer, exactly enough frames, one frame too few."""
    for L in labels:
        T = 2 * L + 3 if L < 300 else L + L // 4
        case = draw(f"L={L}", [(T, L), (T - 1, max(L - 1, 0)), (T, L), (T, L)], L, 29, L)
        with_exact_length(case, 2)
        if L:
            with_exact_length(case, 3, spare=-1)
        yield case


def frames() -> Iterator[Case]:
    """Every number of frames from 0 to 18, with 0 to 3 labels."""
    for L in range(4):
        yield draw(f"T=0..18 L={L}", [(T, L) for T in range(19)], 3, 5, 40 + L)


def alphabets() -> Iterator[Case]:
    """Alphabets from the blank alone to thousands of symbols, with the blank at any index."""
    yield draw("V=1", [(5, 0), (3, 0), (0, 0)], 0, 1, 50)
    for V in (2, 3, 4, 7, 8, 28, 29, 31, 32, 33, 127, 128, 129, 513, 1000):
        yield draw(f"V={V}", [(23, 9), (11, 2), (20, 0)], 9, V, 50 + V, blank=V // 2)
    for V in (5999, 6000, 6008):
        yield draw(f"V={V}", [(7, 5), (4, 2)], 5, V, V, blank=V - 1)


def labels() -> Iterator[Case]:
    """Repeated labels: one symbol only, and a few symbols many times."""
    for L in (2, 17, 40, 70):
        yield draw(f"one symbol, L={L}", [(2 * L + 1, L), (2 * L - 1, L), (2 * L - 2, L)], L, 6, 60 + L, alphabet=1)
    yield draw("two symbols", [(120, 60), (119, 59), (80, 3)], 60, 9, 70, alphabet=2)
    yield draw("two of thousands", [(60, 30), (50, 25)], 30, 2000, 71, alphabet=2)


def numbers() -> Iterator[Case]:
    """Logits that are large, equal, almost certain, with a large offset, -inf or not finite."""
    for size in (0.0, 10.0, 50.0, 1000.0):
        yield draw(f"logits of {size:g}", [(90, 20), (80, 40), (45, 44)], 44, 29, 80 + int(size), size=size)
    # the product of the denominators of 128 frames is beyond the range of float64
    yield draw("equal logits of thousands", [(140, 3), (129, 2)], 3, 6000, 92, size=0.0)
    case = draw("+-50", [(200, 60), (150, 60)], 60, 29, 81)
    yield case._replace(logits=np.where(case.logits > 0, np.float32(50), np.float32(-50)))
    case = draw("certain", [(300, 30), (200, 30)], 30, 29, 82)
    case.logits[:, :, 0] += 30
    yield case
    case = draw("offset", [(60, 12), (50, 12)], 12, 29, 83)
    yield case._replace(logits=case.logits + np.linspace(-3e4, 3e4, 60, dtype=np.float32)[:, None, None])
    case = draw("some -inf", [(60, 12)] * 6, 12, 29, 84)
    case.logits[::3, 0, ::2] = -np.inf
    case.logits[:, 1, case.targets[1, 5]] = -np.inf  # a label has probability zero: impossible
    case.logits[:, 2, 0] = -np.inf  # no blanks: possible unless labels repeat
    case.targets[2] = np.arange(1, 13)
    case.logits[30, 3, :] = -np.inf  # all symbols impossible in one frame
    case.logits[30, 4, 1:] = -np.inf  # only the blank possible in one frame
    case.logits[59, 5, case.targets[5, 11]] = -np.inf  # the last label impossible in the last frame
    yield case
    case = draw("not finite", [(40, 8)] * 6, 8, 130, 85)
    case.logits[7, 1, 129] = np.nan
    case.logits[39, 2, 0] = np.inf
    case.logits[0, 3, 64] = -np.inf
    case.logits[:, 4] = np.nan
    case.logits[20, 5] = np.inf
    yield case


def wide() -> Iterator[Case]:
    """Few labels in a wide array of targets."""
    for L in (40, 0, 1):
        case = draw(f"wide, L={L}", [(2 * L + 9, L), (2 * L + 2, L)], L, 29, 86 + L)
        yield case._replace(targets=np.pad(case.targets, ((0, 0), (0, 1000 - L)), constant_values=-1))


def long() -> Iterator[Case]:
    """The longest utterance and label sequence found in a recipe."""
    yield draw("T=3000 L=600", [(3000, 600)], 600, 29, 90, size=10.0)


def cases() -> Iterator[Case]:
    """All cases except the longest."""
    for group in (edges, frames, alphabets, labels, numbers, wide):
        yield from group()
