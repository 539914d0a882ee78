"""Settings of augmentation, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """How training utterances are varied each time they are seen; nothing is unless asked for."""

    noise: str | None = setting(None, help="Manifest of noise recordings (audio_filepath) to mix in (paper §5.2).")
    noise_share: float = setting(
        0.4, help="Share of the utterances that get noise, others in each epoch.", min=0, max=1
    )
    snr_low: float = setting(0.0, help="Least speech-to-noise ratio (dB).", min=-30, max=100)
    snr_high: float = setting(
        30.0, help="Greatest speech-to-noise ratio (dB); it is drawn uniformly.", min=-30, max=100
    )
    rir: str | None = setting(None, help="Manifest of room impulse responses (audio_filepath) to convolve with.")
    rir_share: float = setting(0.4, help="Share of the utterances that get a room.", min=0, max=1)
    speeds: tuple[float, ...] = setting(
        (1.0,), help="Speeds to choose from, by resampling, as [0.9, 1.0, 1.1].", min=0.5, max=2
    )
    shift_ms: float = setting(0.0, help="Recording moved by up to ± this against the frames (ms).", min=0, max=50)
    gain_db: float = setting(
        0.0, help="Level changed by up to ± this, after all have been made alike (dB).", min=0, max=40
    )
    speed: float = setting(0.0, help="Speed drawn from 1 ± this: time and frequency axes together.", min=0, max=0.5)
    warp: float = setting(0.0, help="Frequency axis stretched by 1 ± this in addition.", min=0, max=0.5)
    freq_masks: int = setting(0, help="Bands of bins set to the mean.", min=0)
    freq_width: int = setting(20, help="Widest band (bins).", min=1)
    time_masks: int = setting(0, help="Stretches of frames set to the mean.", min=0)
    time_width: int = setting(20, help="Longest stretch (frames, at most a fifth of the utterance).", min=1)

    def __post_init__(self) -> None:
        """UsageError when settings contradict each other."""
        if self.snr_low > self.snr_high:
            raise UsageError(f"augment: snr_low {self.snr_low:g} is above snr_high {self.snr_high:g}")
        if not self.speeds:
            raise UsageError("augment: speeds is empty, expected at least one, as [1.0]")

    @property
    def needs_audio(self) -> bool:
        """Whether something is asked for that stored features cannot give: recordings are read again then."""
        return bool(self.noise or self.rir or self.shift_ms or any(speed != 1.0 for speed in self.speeds))
