"""Settings of `ds2 featurize`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from ds2cli.config.base import Config, StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class SpectrogramConfig(Config):
    """Spectrogram settings; a model stores them with its weights, so recognition uses the same features."""

    sample_rate: int = setting(16000, help="Sample rate of the features (Hz).", min=1000, max=192000)
    window_ms: float = setting(
        20.0, help="Length of the Hann window (ms); bins = samples per window / 2 + 1.", min=1, max=200
    )
    hop_ms: float = setting(10.0, help="Hop between frames (ms).", min=1, max=200)
    level_db: float = setting(-20.0, help="RMS level that each utterance is scaled to (dBFS).", min=-100, max=0)
    floor: float = setting(1e-14, help="Constant added to the power before the logarithm.", min=1e-30, max=1)

    @property
    def window_samples(self) -> int:
        """Length of the window and of the Fourier transform (samples)."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Step between frames (samples)."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def num_bins(self) -> int:
        """Frequency bins per frame: 161 at 16 kHz and 20 ms."""
        return self.window_samples // 2 + 1

    def features(self) -> dict[str, Any]:
        """The spectrogram settings only, also of a subclass; `SpectrogramConfig(**d)` reads them back."""
        return {f.name: getattr(self, f.name) for f in fields(SpectrogramConfig)}


@dataclass(frozen=True, kw_only=True)
class FeaturizeConfig(SpectrogramConfig, StageConfig):
    """Compute log power spectrograms and their normalization statistics."""

    dir: str | None = setting(None, help="Folder for the archives [default: feats/ next to OUT].")
    nj: int = setting(1, help="Number of processes, each writing its own archive.", min=1, max=1024)
    compress: bool = setting(
        False, help="Store one byte per bin (Kaldi's compressed matrices), a quarter of the space."
    )
    speeds: str = setting(
        "1.0", help='Speeds of the copies, such as "0.9 1.0 1.1"; ids at other speeds get a prefix: sp0.9-ID.'
    )
    channel: str = setting("mix", help="Channel of multi-channel files: mix (the mean of all) or a number from 0.")
    resample: Literal["yes", "no"] = setting("yes", help="Files with another sample rate: resample (yes) or drop (no).")
    min_duration: float = setting(0.0, help="Drop utterances shorter than this, after the change of speed (s).", min=0)
    max_duration: float | None = setting(
        None, help="Drop utterances longer than this, after the change of speed (s).", min=0
    )
