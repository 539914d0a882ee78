"""What every search asks of an emission before it starts. Letters: T steps, V symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance, DataError
from ds2cli.text.vocab import Vocab


def checked(emission: NDArray[Any], vocab: Vocab) -> NDArray[np.float32]:
    """The emission as contiguous (T, V) float32 log-probabilities; minus infinity is allowed.

    A mapped, read-only one is copied: to numba that is another type, and every kernel would be compiled once more.

    Raises BadUtterance "not-a-number", and DataError when it was made with another alphabet.
    """
    if emission.ndim != 2 or emission.shape[1] != len(vocab):
        shape = " x ".join(map(str, emission.shape))
        raise DataError(f"an emission of {shape}, expected {len(vocab)} symbols a step (fix: ds2 emit with this EXP)")
    log_probs = np.require(emission, np.float32, ["C", "W"])
    bad = np.isnan(log_probs) | (log_probs == np.inf)
    if bad.any():
        step, symbol = (int(i) for i in np.argwhere(bad)[0])
        raise BadUtterance("not-a-number", f"{log_probs[step, symbol]} at step {step}, symbol {symbol}")
    return log_probs
