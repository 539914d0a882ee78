"""Inference: features to log-probabilities, in batches that do not change the result.

T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.errors import BadUtterance
from ds2cli.feats.padding import pad
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.device import autocast
from ds2cli.runtime.emit import BATCH_FRAMES


def compute_emissions(
    trained: TrainedModel, feats: Sequence[NDArray[np.float32]], check: Callable[[], None] = lambda: None
) -> list[NDArray[np.float32] | BadUtterance]:
    """Log-probabilities of each utterance, or the error that its activations do not fit in memory.

    feats: (T, F) float32 each, not normalized, T >= 0.  check: called before each batch; may raise to stop.
    Returns (T', V) float32 each, T' = ceil(T / stride), in the order of `feats`. A batch that does not fit in memory is
    halved, until only the utterance that does not fit is left out.
    """
    out: list[NDArray[np.float32] | BadUtterance] = [np.zeros((0, len(trained.vocab)), np.float32)] * len(feats)
    groups = deque(_group_by_length([len(x) for x in feats]))
    while groups:
        check()
        group = groups.popleft()
        scores, lack = memory.try_to_fit(partial(_compute_batch, trained, [feats[i] for i in group]))
        if scores is not None:
            for i, x in zip(group, scores, strict=True):
                out[i] = x
        elif len(group) == 1:
            size = f"the network over {len(feats[group[0]])} frames does not fit in memory: {lack}"
            out[group[0]] = BadUtterance(memory.OUT_OF_MEMORY, f"{size} ({memory.SHORTER})")
        else:
            middle = len(group) // 2
            groups.extendleft((group[middle:], group[:middle]))
    return out


def _compute_batch(trained: TrainedModel, feats: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    lengths = torch.tensor([len(x) for x in feats])
    with torch.inference_mode():
        padded = torch.from_numpy(pad(feats)).to(trained.model.mean.device)
        with autocast(padded.device, trained.precision):
            logits, steps = trained.model(padded, lengths)
        scores = logits.float().log_softmax(-1).transpose(0, 1).cpu().numpy()
    return [row[:count].copy() for row, count in zip(scores, steps.tolist(), strict=True)]


def _group_by_length(lengths: list[int]) -> Iterator[list[int]]:
    """Indices of utterances of similar length per batch, longest first; empty utterances are left out."""
    group: list[int] = []
    for i in sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i]):
        if group and (len(group) + 1) * lengths[group[0]] > BATCH_FRAMES:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
