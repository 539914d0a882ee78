"""Pad the features of several utterances to one array. Notation: N utterances, T frames, F bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pad(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Stack N features (T_i, F) as (N, T, F), padded with zeros; (0, 0, 0) if there are none."""
    if not arrays:
        return np.zeros((0, 0, 0), np.float32)
    out = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), np.float32)
    for row, x in zip(out, arrays, strict=True):
        row[: len(x)] = x
    return out
