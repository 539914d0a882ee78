"""Several networks used as one: their probabilities are averaged.

Notation: T frames, F bins, T' output steps, V symbols.

The mean is arithmetic, of probabilities and not of log-probabilities, as in Deep Speech (Hannun et al. 2014, section
2.1): where two networks emit a symbol one step apart, it keeps both steps, and a geometric mean neither. Networks that
were trained apart often do so, which limits what any mean gains (Kurata and Audhkhasi 2019, "Guiding CTC posterior
spike timings").
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.recognizer.experiment import Experiment
from ds2cli.text.vocab import Vocab


class MeanEmission:
    """The log of the mean of probabilities, of which one emission at a time is added; summed in float64."""

    def __init__(self, first: NDArray[np.float32]) -> None:
        """first: (T', V) float32, log-probabilities; -inf is allowed."""
        self._count, self._total = 1, first.astype(np.float64)

    def add(self, emission: NDArray[np.float32]) -> None:
        """Add a further emission of the same shape."""
        self._count += 1
        np.logaddexp(self._total, emission, out=self._total)

    def result(self) -> NDArray[np.float32]:
        """(T', V) float32."""
        return (self._total - math.log(self._count)).astype(np.float32)


def reorder_symbols(vocab: Vocab, other: Vocab) -> NDArray[np.int64]:
    """(V,): for each symbol of `vocab` its index in `other`; DataError if these are not the same symbols."""
    index = {symbol: i for i, symbol in enumerate(other.symbols)}
    missing, extra = set(vocab.symbols) - set(index), set(index) - set(vocab.symbols)
    if missing or extra:
        parts = [("lacks", missing), ("also has", extra)]
        found = " and ".join(f"{verb} {', '.join(map(repr, sorted(s)[:5]))}" for verb, s in parts if s)
        raise DataError(f"its network has other symbols: it {found}")
    return np.array([index[symbol] for symbol in vocab.symbols])


class Ensemble(Experiment):
    """Experiments whose emissions are averaged; vocabulary, and all else that is asked for, are those of the first.

    paths: two or more; the same one may be repeated, and then counts as often.
    """

    def __init__(self, paths: Sequence[str], *, device: str = "cpu", precision: str = "stored") -> None:
        """device, precision: of all networks; see `Experiment`."""
        super().__init__(paths[0], device=device, precision=precision)
        self.others = [Experiment(path, device=device, precision=precision) for path in paths[1:]]

    @cached_property
    def orders(self) -> list[NDArray[np.int64]]:
        """For each of the others, the index of each symbol of the first network.

        DataError if there is no network, or if it has other symbols, features or frames per step.
        """
        return [self._compare(other) for other in self.others]

    def _compare(self, other: Experiment) -> NDArray[np.int64]:
        first, second = self.network, other.network
        try:
            if first.bins != second.bins:
                raise DataError(f"its features have {second.bins} bins, expected {first.bins}")
            _compare_features(first.features, second.features)
            if first.config.stride != second.config.stride:
                raise DataError(
                    f"its network makes a step of {second.config.stride} frames (model.strides), "
                    f"expected {first.config.stride}"
                )
            return reorder_symbols(first.vocab, second.vocab)
        except DataError as e:
            raise DataError(f"{other.path}: cannot be averaged with {self.path}: {e}") from e

    def compute_emissions(
        self, feats: Sequence[NDArray[np.float32]], check: Callable[[], None]
    ) -> list[NDArray[np.float32] | BadUtterance]:
        """The averaged log-probabilities; see `Experiment.compute_emissions`. Errors: those of `orders`."""
        # one network at a time, so that their number does not change how much memory is needed
        found = [x if isinstance(x, BadUtterance) else MeanEmission(x) for x in super().compute_emissions(feats, check)]
        for other, order in zip(self.others, self.orders, strict=True):
            for i, emission in enumerate(other.compute_emissions(feats, check)):
                if isinstance(mean := found[i], BadUtterance):
                    continue
                if isinstance(emission, BadUtterance):
                    found[i] = emission
                else:
                    mean.add(emission[:, order])
        return [x if isinstance(x, BadUtterance) else x.result() for x in found]


def _compare_features(first: dict[str, object], second: dict[str, object]) -> None:
    """DataError if the settings of the features differ, with the names of those that do."""
    with contextlib.suppress(UsageError):
        # without the plugin of their kind, settings are compared as they were saved
        first, second = (FeatureConfig.from_saved(values, "features").features() for values in (first, second))
    names = sorted({*first, *second})
    found = [f"{n} {second.get(n)}, expected {first.get(n)}" for n in names if first.get(n) != second.get(n)]
    if found:
        raise DataError(f"its features have other settings: {'; '.join(found)}")
