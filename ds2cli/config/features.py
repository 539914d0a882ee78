"""Settings of the features, and the choice of their kind: each kind is one file of ds2cli/feats, found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from ds2cli.config.base import Config, build, setting
from ds2cli.config.kinds import Kinds
from ds2cli.errors import UsageError

KINDS = Kinds(
    "ds2cli.feats",
    "kind of features",
    "spectrogram",
    needs=("num_bins", "num_frames", "compute"),
    shared=("bandwidth", "blocks", "cmvn", "frames", "kinds", "padding", "stream", "together"),
)
"""The kinds of features; the default one has only the settings that all kinds have."""


PAST = ("initial_db", "initial_s", "memory_s")
"""Settings of the level of the past."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Config):
    """Settings that all kinds of features have. A network stores them, so that recognition computes the same features.

    A kind with further settings has a subclass; `build(FeatureConfig, …)` returns that of the given `kind`.
    """

    no_effect: ClassVar = dict.fromkeys(PAST, ("level_from", ("utterance",)))

    kind: str = setting(KINDS.default, help=f"Kind of features, one of {', '.join(KINDS.names())}.")
    sample_rate: int = setting(16000, help="Sample rate of the features (Hz).", min=1000, max=192000)
    window_ms: float = setting(
        20.0,
        help="Window length (ms); a spectrogram has half as many bins as the window has samples, plus 1.",
        min=1,
        max=200,
    )
    hop_ms: float = setting(10.0, help="Hop: time from one frame to the next (ms).", min=1, max=200)
    level_db: float = setting(-20.0, help="RMS level that each utterance is scaled to (dBFS).", min=-100, max=0)
    level_from: Literal["utterance", "past"] = setting(
        "utterance", help="Measure the level of the whole utterance, or at each frame that of the past (for streaming)."
    )
    initial_db: float = setting(
        -25.0, help="Level of the past to begin with (dBFS): that of `ds2 data level TRAIN`.", min=-100, max=0
    )
    initial_s: float = setting(0.01, help="Seconds of audio that the initial level counts as.", min=0.001, max=3600)
    memory_s: float = setting(
        10.0, help="Memory of the level of the past: time constant of its exponential decay (s).", min=0.1, max=1e6
    )
    floor: float = setting(1e-14, help="Constant added to the power before the logarithm.", min=1e-30, max=1)

    @classmethod
    def select(cls, values: Mapping[str, Any]) -> type[Config]:
        """The config class of the kind in `values`; UsageError for an unknown one, or a level that it cannot have."""
        selected = KINDS.select(values, FeatureConfig)
        if values.get("level_from") == "past" and selected is not FeatureConfig:
            kind = values.get("kind")
            if not hasattr(KINDS.load(kind), "transform"):
                raise UsageError(
                    f"level_from past: {kind} features have the level of the utterance (level_from=utterance)"
                )
        return selected

    @classmethod
    def from_saved(cls, values: Mapping[str, Any], location: str) -> FeatureConfig:
        """The feature settings among `values`, saved by `ds2 featurize` or with a network; other settings are ignored.

        location: beginning of the error messages. UsageError for an unknown kind or a bad value.
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
        """Hop between frames (samples)."""
        return round(self.sample_rate * self.hop_ms / 1000)

    def features(self) -> dict[str, Any]:
        """The feature settings as they are stored, without those of other subclasses; `from_saved` reads them back.

        Those of the level of the past are left out where it is that of the utterance, as before they existed.
        """
        known = {f.name for f in fields(FeatureConfig.select({"kind": self.kind}))}
        if self.level_from == "utterance":
            known -= {"level_from", *PAST}
        return {name: value for name, value in KINDS.to_saved(self).items() if name in known}

    def __reduce__(self) -> tuple[Any, ...]:
        # by name, as the class of a kind may be made at run time
        return restore, (FeatureConfig, vars(self))


def restore(config_type: type[FeatureConfig], values: dict[str, Any]) -> Config:
    """Rebuild a config from its values; pickle calls this in the process that receives the config."""
    return config_type.select(values)(**values)
