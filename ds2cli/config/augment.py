"""Settings of augmentation, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """Augmentation of training utterances, different in each epoch; off by default."""

    no_effect: ClassVar = {
        **dict.fromkeys(("noise_share", "snr_low", "snr_high"), ("noise", (None,))),
        "rir_share": ("rir", (None,)),
        "freq_width": ("freq_masks", (0,)),
        "time_width": ("time_masks", (0,)),
    }

    noise: str | None = setting(
        None, help="Manifest of noise recordings (audio_filepath) to mix in (paper §5.2) [default: no noise]."
    )
    noise_share: float = setting(0.4, help="Fraction of utterances that get noise in an epoch.", min=0, max=1)
    snr_low: float = setting(0.0, help="Lowest signal-to-noise ratio (dB).", min=-30, max=100)
    snr_high: float = setting(
        30.0, help="Highest signal-to-noise ratio (dB); the ratio is drawn uniformly.", min=-30, max=100
    )
    rir: str | None = setting(
        None, help="Manifest of room impulse responses (audio_filepath) to convolve with [default: no reverberation]."
    )
    rir_share: float = setting(0.4, help="Fraction of utterances that get reverberation in an epoch.", min=0, max=1)
    speeds: tuple[float, ...] = setting(
        (1.0,), help="Speed factors to choose from, by resampling, for example [0.9, 1.0, 1.1].", min=0.5, max=2
    )
    shift_ms: float = setting(
        0.0, help="Maximum shift of the recording in time, in either direction (ms).", min=0, max=50
    )
    gain_db: float = setting(0.0, help="Maximum gain or attenuation, after level normalization (dB).", min=0, max=40)
    speed: float = setting(
        0.0,
        help="Maximum relative change of speed (0.1: ±10 %), by stretching both axes of the features.",
        min=0,
        max=0.5,
    )
    warp: float = setting(
        0.0, help="Maximum relative stretch of the frequency axis (0.1: ±10 %), in addition to speed.", min=0, max=0.5
    )
    cepstra: bool = setting(
        False, help="Stretch, warp and mask the log mel spectrum of features that are cepstra (MFCC), its DCT."
    )
    freq_masks: int = setting(0, help="Number of frequency masks, bands of bins set to the mean.", min=0, max=1000)
    freq_width: int = setting(20, help="Maximum width of a frequency mask (bins).", min=1)
    time_masks: int = setting(0, help="Number of time masks, stretches of frames set to the mean.", min=0, max=1000)
    time_width: int = setting(
        20, help="Maximum width of a time mask (frames); at most a fifth of the utterance.", min=1
    )

    def __post_init__(self) -> None:
        """Raises UsageError when settings contradict each other."""
        if self.snr_low > self.snr_high:
            raise UsageError(f"augment: snr_low {self.snr_low:g} is above snr_high {self.snr_high:g}")
        if not self.speeds:
            raise UsageError("augment: speeds is empty: expected at least one factor, for example [1.0]")

    @property
    def needs_audio(self) -> bool:
        """Whether a setting cannot be applied to stored features, so that recordings are read again."""
        return bool(self.noise or self.rir or self.shift_ms or any(speed != 1.0 for speed in self.speeds))
