"""Inference: features to log-probabilities, in batches that do not change the result.

T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ds2cli.feats.padding import pad
from ds2cli.nn.checkpoint import TrainedModel

BATCH_FRAMES = 6000
"""Frames per batch, padding included: a minute of audio keeps the cores busy, and its activations fit the cache."""


def compute_emissions(
    trained: TrainedModel, feats: Sequence[NDArray[np.float32]], check: Callable[[], None] = lambda: None
) -> list[NDArray[np.float32]]:
    """Log-probabilities of each utterance.

    feats: (T, F) float32 each, not normalized, T >= 0.  check: called before each batch; may raise to stop.
    Returns (T', V) float32 each, T' = ceil(T / stride), in the order of `feats`.
    """
    out: list[NDArray[np.float32]] = [np.zeros((0, len(trained.vocab)), np.float32)] * len(feats)
    for group in _group_by_length([len(x) for x in feats]):
        check()
        lengths = torch.tensor([len(feats[i]) for i in group])
        with torch.inference_mode():
            padded = torch.from_numpy(pad([feats[i] for i in group]))
            logits, steps = trained.model(padded.to(trained.model.mean.device), lengths)
            scores = logits.log_softmax(-1).transpose(0, 1).cpu().numpy()
        for i, row, count in zip(group, scores, steps.tolist(), strict=True):
            out[i] = row[:count].copy()
    return out


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
