"""Recordings with another band than those that the network learned from, which cause errors without another sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import UsageError
from ds2cli.feats import kinds
from ds2cli.feats.bandwidth import find_mismatch
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import read_features
from ds2cli.recognizer.experiment import Experiment


@dataclass
class BandCheck:
    """Reads the features of rows and counts those with another band; its `read` is a `FeatureReader`."""

    checked: int = 0
    mismatches: Counter[tuple[float, float]] = field(default_factory=Counter)
    examples: dict[tuple[float, float], str] = field(default_factory=dict)

    def read(self, row: Row, experiment: Experiment) -> NDArray[np.float32]:
        """The stored features of a row, as `read_features` reads them."""
        features = read_features(row, experiment)
        self.checked += 1
        if bands := find_band_mismatch(features, experiment):
            rounded = (round(bands[0], -3), round(bands[1], -3))
            self.mismatches[rounded] += 1
            self.examples.setdefault(rounded, row["id"])
        return features

    def describe(self) -> Iterator[str]:
        """One sentence for each band that differs from that of the training recordings."""
        for bands, count in self.mismatches.most_common():
            yield f"{count} of {self.checked} utterances, such as {self.examples[bands]}: {describe_mismatch(*bands)}"


def find_band_mismatch(features: NDArray[np.float32], experiment: Experiment) -> tuple[float, float] | None:
    """`find_mismatch` for a trained network; None if the settings of its features are not known."""
    network = experiment.network
    try:
        settings = FeatureConfig.from_saved(network.features, experiment.path)
    except UsageError:
        return None
    if kinds.num_bins(settings) != network.bins:
        return None
    return find_mismatch(features, network.tensors["mean"], network.tensors["std"], settings)


def describe_mismatch(highest: float, learned: float) -> str:
    """What the recording has and what the network has learned from, highest frequencies in Hz."""
    if highest < learned:
        found = f"nothing above {_khz(highest)}, as after a telephone or strong compression"
        return f"{found}; the training recordings had sound up to {_khz(learned)}: expect many more errors"
    found = f"sound up to {_khz(highest)}; the training recordings had nothing above {_khz(learned)}"
    return f"{found}: expect many more errors (ffmpeg -i IN -ar {2 * round(learned, -3):.0f} OUT)"


def _khz(frequency: float) -> str:
    return f"{round(frequency / 1000, 1):g} kHz"
