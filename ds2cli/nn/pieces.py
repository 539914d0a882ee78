"""Emissions of a recording that comes in pieces, by a forward-only network that continues. T frames, F bins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.device import autocast

Features = NDArray[np.float32]


def compute_stream(
    trained: TrainedModel, pieces: Iterable[Features], check: Callable[[], None] = lambda: None
) -> Iterator[Features]:
    """Log-probabilities (T', V), T' >= 1, of a recording by a forward-only network, after each piece (T, F) of it.

    check: called before each piece; may raise to stop.
    """
    stream = trained.model.stream()
    device = trained.model.mean.device

    def compute(work: Callable[[], Tensor]) -> Features:
        check()
        with torch.inference_mode(), autocast(device, trained.precision):
            logits = work()
        with torch.inference_mode():
            scores: Features = logits[:, 0].float().log_softmax(-1).cpu().numpy()
        return scores

    for piece in pieces:
        frames = torch.from_numpy(np.ascontiguousarray(piece)).unsqueeze(1).to(device)
        scores = compute(lambda frames=frames: stream.advance(frames))  # type: ignore[misc]
        if len(scores):
            yield scores
    if len(scores := compute(stream.finish)):
        yield scores
