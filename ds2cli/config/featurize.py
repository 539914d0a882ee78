"""Settings of `ds2 featurize`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from ds2cli.config.base import Config, StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class SpectrogramConfig(Config):
    """What makes a feature: a model stores these beside its weights, and transcribing uses the same."""

    sample_rate: int = setting(16000, help="Sample rate of the features (Hz).", min=1000, max=192000)
    window_ms: float = setting(20.0, help="Hann window (ms); bins = window in samples / 2 + 1.", min=1, max=200)
    hop_ms: float = setting(10.0, help="Step from frame to frame (ms).", min=1, max=200)
    level_db: float = setting(-20.0, help="RMS level that every utterance is scaled to (dBFS).", min=-100, max=0)
    floor: float = setting(1e-14, help="Added to the power before the logarithm.", min=1e-30, max=1)

    @property
    def window_samples(self) -> int:
        """Length of the window, which is the length of the Fourier transform."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Step from frame to frame."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def num_bins(self) -> int:
        """Bins of a frame: 161 at 16 kHz and 20 ms."""
        return self.window_samples // 2 + 1

    def features(self) -> dict[str, Any]:
        """Only the settings that a model has to know, also of a subclass; `SpectrogramConfig(**d)` reads them back."""
        return {f.name: getattr(self, f.name) for f in fields(SpectrogramConfig)}


@dataclass(frozen=True, kw_only=True)
class FeaturizeConfig(SpectrogramConfig, StageConfig):
    """Compute log power spectrograms and the statistics that normalise them."""

    dir: str | None = setting(None, help="Folder for the archives [default: feats beside OUT].")
    nj: int = setting(1, help="Processes, each with its own archive.", min=1, max=1024)
    compress: bool = setting(False, help="Store a byte a bin (Kaldi's compressed matrices): a quarter of the space.")
    speeds: str = setting("1.0", help='Copies at these speeds, as "0.9 1.0 1.1"; ids of the others start with sp0.9-.')
    channel: str = setting("mix", help="Channel of a file with several: mix (their mean) or a number from 0.")
    resample: Literal["yes", "no"] = setting("yes", help="A file of another sample rate: resample it, or drop it.")
    min_duration: float = setting(0.0, help="Leave out what is shorter, after the change of speed (s).", min=0)
    max_duration: float | None = setting(None, help="Leave out what is longer, after the change of speed (s).", min=0)
