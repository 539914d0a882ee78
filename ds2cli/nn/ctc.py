"""The CTC loss behind one call (paper eq. 9). T steps, N utterances, V symbols, L labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def ctc_loss(
    logits: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: Literal["none", "sum", "mean"] = "mean",
) -> Tensor:
    """Negative log probability of labels, summed over every alignment; in nats.

    logits: (T, N, V) raw scores, normalised here. targets: (N, L) int64, padding ignored.
    input_lengths, target_lengths: (N,) int64.
    Returns (N,) for "none", their sum, or for "mean" the mean over utterances of cost / max(labels, 1).
    A label that needs more steps than there are costs infinity; `steps_needed` tells beforehand.
    """
    return functional.ctc_loss(
        logits.float().log_softmax(-1), targets, input_lengths, target_lengths, blank=blank, reduction=reduction
    )


def steps_needed(labels: NDArray[np.int32]) -> int:
    """The fewest steps that can emit `labels` (L,): one a label, and a blank between two equal ones."""
    return len(labels) + int((labels[1:] == labels[:-1]).sum())


def greedy(scores: NDArray[np.float32]) -> list[int]:
    """The best symbol of each step, repeats merged and blanks removed. scores: (T, V), in any monotone unit."""
    path = scores.argmax(1)
    starts = np.diff(path, prepend=0) != 0
    return [int(s) for s in path[starts & (path != 0)]]
