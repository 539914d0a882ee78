"""Settings of the features, and the choice of their kind: one file in ds2cli/feats per kind, found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ds2cli.config.base import Config, build, setting
from ds2cli.config.kinds import Kinds
from ds2cli.errors import UsageError

KINDS = Kinds(
    "ds2cli.feats",
    "kind of features",
    "spectrogram",
    needs=("num_bins", "num_frames", "compute"),
    shared=("cmvn", "kinds", "padding"),
)
"""The kinds of features; the default one has no settings of its own."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Config):
    """Settings shared by all kinds of features; a network stores them with its weights, so recognition uses the same.

    A kind with settings of its own derives from it; `build(FeatureConfig, …)` returns the class of the `kind` given.
    """

    kind: str = setting(KINDS.default, help=f"Kind of features, one of {', '.join(KINDS.names())}.")
    sample_rate: int = setting(16000, help="Sample rate of the features (Hz).", min=1000, max=192000)
    window_ms: float = setting(
        20.0, help="Length of the window (ms); a spectrogram has samples per window / 2 + 1 bins.", min=1, max=200
    )
    hop_ms: float = setting(10.0, help="Hop between frames (ms).", min=1, max=200)
    level_db: float = setting(-20.0, help="RMS level that each utterance is scaled to (dBFS).", min=-100, max=0)
    floor: float = setting(1e-14, help="Constant added to the power before the logarithm.", min=1e-30, max=1)

    @classmethod
    def select(cls, values: Mapping[str, Any]) -> type[Config]:
        """The config class of the kind in `values`; UsageError for an unknown one."""
        return KINDS.select(values, FeatureConfig)

    @classmethod
    def from_saved(cls, values: Mapping[str, Any], location: str) -> FeatureConfig:
        """The feature settings among saved ones (by `ds2 featurize`, or with a network); others are ignored.

        location: start of the error messages.  UsageError for an unknown kind or a bad value.
        """
        try:
            known = {f.name for f in fields(FeatureConfig.select(values))}
        except UsageError as e:
            raise UsageError(f"{location}: {e}") from e
        return build(FeatureConfig, (location, {name: value for name, value in values.items() if name in known}))

    @property
    def window_samples(self) -> int:
        """Length of the window (samples)."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Step between frames (samples)."""
        return round(self.sample_rate * self.hop_ms / 1000)

    def features(self) -> dict[str, Any]:
        """Only the feature settings, even for a subclass, as they are stored; `from_saved` reads them back."""
        known = {f.name for f in fields(FeatureConfig.select({"kind": self.kind}))}
        return {name: value for name, value in KINDS.to_saved(self).items() if name in known}

    def __reduce__(self) -> tuple[Any, ...]:
        # by name, as the class of a kind may be made at run time
        return restore, (FeatureConfig, vars(self))


def restore(config_type: type[FeatureConfig], values: dict[str, Any]) -> Config:
    """Rebuild the config from these values, in another process."""
    return config_type.select(values)(**values)
