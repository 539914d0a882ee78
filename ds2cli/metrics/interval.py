"""A confidence interval of an error rate from sums over utterances, without resampling.

An error rate is a ratio of two sums over utterances. Its variance is that of the residuals e - p n of the N utterances,
with e errors and n reference units each and p the rate (the linearized variance of a ratio: Cochran 1977, section 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964
"""The normal distribution has 95 % of its mass within this many standard deviations."""


@dataclass
class RateInterval:
    """Sums over utterances; `add` the counts of many, then read `half_width`."""

    number: int = 0
    errors: int = 0
    units: int = 0
    errors_squared: int = 0
    units_squared: int = 0
    product: int = 0

    def add(self, counts: NDArray[np.int64]) -> None:
        """Add utterances. counts: (P, 4) int64, hits, substitutions, insertions, deletions of each."""
        errors, units = counts[:, 1:].sum(axis=1), counts[:, 0] + counts[:, 1] + counts[:, 3]
        self.number += len(counts)
        self.errors += int(errors.sum())
        self.units += int(units.sum())
        self.errors_squared += int(errors @ errors)
        self.units_squared += int(units @ units)
        self.product += int(errors @ units)

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval, in percent; None for fewer than two utterances or no reference units."""
        if self.number < 2 or not self.units:
            return None
        rate = self.errors / self.units
        squares = self.errors_squared - 2 * rate * self.product + rate**2 * self.units_squared
        return 100 * Z_95 * math.sqrt(max(0.0, squares) * self.number / (self.number - 1)) / self.units
