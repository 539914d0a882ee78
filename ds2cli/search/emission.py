"""The check of an emission before a search. Notation: T steps, V symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance, DataError
from ds2cli.text.vocab import Vocab


def check_emission(emission: NDArray[Any], vocab: Vocab) -> NDArray[np.float32]:
    """The emission as contiguous (T, V) float32 log-probabilities; -inf is allowed.

    A read-only (mapped) emission is copied: numba treats it as another type and would compile every kernel again.

    Raises BadUtterance "not-a-number", and DataError when it was made with another alphabet.
    """
    if emission.ndim != 2 or emission.shape[1] != len(vocab):
        shape = " x ".join(map(str, emission.shape))
        raise DataError(
            f"wrong shape of an emission: expected {len(vocab)} symbols per step, found {shape} "
            "(ds2 emit with this EXP)"
        )
    log_probs = np.require(emission, np.float32, ["C", "W"])
    bad = np.isnan(log_probs) | (log_probs == np.inf)
    if bad.any():
        step, symbol = (int(i) for i in np.argwhere(bad)[0])
        raise BadUtterance("not-a-number", f"{log_probs[step, symbol]} at step {step}, symbol {symbol}")
    return log_probs
