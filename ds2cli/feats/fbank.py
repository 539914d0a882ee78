"""Kaldi's log mel filter banks. Notation: N samples, T frames, F filters, W window length, K frequencies of the FFT.

A filter bank sums the power spectrum of each frame in bands that are narrow at low frequencies and wide at high ones.
Most speech recognizers are trained on them. 80 bins per frame take half the space of the spectrogram's 161.

The features are those of `kaldi-native-fbank` within float32 rounding, computed from samples scaled to `level_db`. Its
options (left) correspond to these settings:

    samp_freq, frame_length_ms, frame_shift_ms    sample_rate, window_ms, hop_ms
    num_bins, low_freq, high_freq                 num_mels, low_hz, high_hz (0 there, none here: half the sample rate)
    preemph_coeff                                 preemphasis
    dither 0, remove_dc_offset, window_type povey, round_to_power_of_two, snip_edges, use_power, use_log_fbank;
    no use_energy, no htk_mode

Three more things differ from Kaldi:

- A window or hop that is not a whole number of samples is rounded, where Kaldi truncates.

- The floor: ln(energy + `floor`), where Kaldi takes ln(max(energy, 1.2e-7)). That floor is meant for 16-bit integer
  samples; with samples between -1 and 1 it would hide quiet speech.
- The length of the FFT: where a filter would lie between two frequencies of the FFT, Kaldi rejects the number of
  filters. Here the FFT is padded to the next power of two that gives each filter at least one frequency, so that 161
  filters work with windows of 20 ms.

The level is normalized as for the spectrogram, since augmented recordings can have any level. `augment.speed` and
`augment.warp` stretch the mel axis, which only approximates a change of speed or pitch; `augment.speeds` and
`ds2 featurize --speeds` resample the recording and are exact.

On one thread, 16 kHz, windows of 20 ms: 80 filters take 1.3 to 1.8 times as long as the spectrogram, 161 filters, with
an FFT twice as long, 2.3 to 3.3 times (`python native/bench/bench_features.py RECORDING`, on a busy machine).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import frame_gains
from ds2cli.blas import load_scipy
from ds2cli.config.base import setting
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats.spectrogram import cut_frames

fft = load_scipy("fft")
sparse = load_scipy("sparse")

BLOCK = 64
"""Frames per pass: the padded windows and their transform then stay in the L2 cache (16 … 256 were timed)."""

MAX_PADDING = 16
"""The FFT is at most this many times as long as the power of two that a window needs."""


@dataclass(frozen=True, kw_only=True)
class Config(FeatureConfig):
    """Settings of log mel filter banks. UsageError if they contradict each other."""

    kind: str = setting("fbank", help="Kind of features.")
    num_mels: int = setting(80, help="Number of mel filters, which is the number of bins per frame.", min=1, max=1024)
    low_hz: float = setting(20.0, help="Lower edge of the first filter (Hz).", min=0)
    high_hz: float | None = setting(
        None, help="Upper edge of the last filter (Hz) [default: half the sample rate].", min=1
    )
    preemphasis: float = setting(
        0.97, help="Pre-emphasis: fraction of the previous sample to subtract; 0 disables it.", min=0, max=1
    )

    def __post_init__(self) -> None:
        if not self.low_hz < self.upper_hz <= self.sample_rate / 2:
            raise UsageError(
                f"fbank: low_hz {self.low_hz:g} and high_hz {self.upper_hz:g}: expected low_hz < high_hz <= "
                f"{self.sample_rate / 2:g}, half of sample_rate"
            )
        if self.window_samples < 2:
            raise UsageError(
                f"fbank: window_ms {self.window_ms:g}: expected at least 2 samples, got {self.window_samples}"
            )
        mel_filters(self)

    @property
    def upper_hz(self) -> float:
        """Upper edge of the last filter (Hz)."""
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz


def num_bins(config: Config) -> int:
    """The number of filters."""
    return config.num_mels


def frequencies(config: Config) -> NDArray[np.float64]:
    """The center of each filter (F,) in Hz."""
    centers = np.linspace(_mel(config.low_hz), _mel(config.upper_hz), config.num_mels + 2)[1:-1]
    return np.asarray(700 * np.expm1(centers / 1127), np.float64)


def num_frames(num_samples: int, config: Config) -> int:
    """The number of complete windows: T = 1 + (N - W) // hop, 0 if N < W."""
    return max(0, 1 + (num_samples - config.window_samples) // config.hop_samples)


def compute(samples: NDArray[np.float32], config: Config) -> NDArray[np.float32]:
    """The log mel filter banks of one utterance.

    samples: (N,) float32 at `config.sample_rate`, one channel, any scale: they are scaled to `config.level_db`.
    Returns (T, F) float32: ln(filters @ |rfft(povey * preemphasized frame without its mean)|^2 + floor).
    BadUtterance "too-short" when no complete window fits, "not-a-number" for NaN or infinite samples.
    """
    if num_frames(len(samples), config) == 0:
        raise BadUtterance("too-short", f"{len(samples)} samples, shorter than one window of {config.window_samples}")
    return transform(samples, frame_gains(samples, config), config)


def transform(
    samples: NDArray[np.float32], gain: np.float32 | NDArray[np.float32], config: Config
) -> NDArray[np.float32]:
    """The same (T, F) of samples (N,) multiplied by `gain`: a number, or one for each frame (T,); N >= W."""
    width, hop = config.window_samples, config.hop_samples
    total = num_frames(len(samples), config)
    filters, share = mel_filters(config), np.float32(config.preemphasis)
    window = povey(width) if isinstance(gain, np.ndarray) else povey(width) * gain
    # preemphasis of the whole recording equals that of its frames except at their first samples, zeroed by the window
    emphasized = np.zeros_like(samples)
    np.multiply(samples[:-1], -share, out=emphasized[1:])
    emphasized[1:] += samples[1:]
    means = np.einsum("tw->t", cut_frames(samples, width, hop, total))[:, None] * np.float32((1 - share) / width)
    frames, rows = cut_frames(emphasized, width, hop, total), min(BLOCK, total)
    out = np.empty((total, config.num_mels), np.float32)
    # zeros follow each window
    buffer = np.zeros((rows, 2 * (filters.shape[1] - 1)), np.float32)
    power = np.empty((rows, filters.shape[1]), np.float32)
    for start in range(0, total, BLOCK):
        part = out[start : start + BLOCK]
        block = buffer[: len(part), :width]
        np.subtract(frames[start : start + BLOCK], means[start : start + BLOCK], out=block)
        block *= window
        squares = np.abs(fft.rfft(buffer[: len(part)]), out=power[: len(part)])
        squares *= squares
        # no BLAS: its sums may depend on the number of threads, and features must not
        part[:] = (filters @ squares.T).T
        if isinstance(gain, np.ndarray):
            part *= np.square(gain[start : start + BLOCK, None])
        part += np.float32(config.floor)
        np.log(part, out=part)
    return out


@lru_cache(maxsize=8)
def povey(width: int) -> NDArray[np.float32]:
    """Kaldi's window (width,): a symmetric Hann window to the power of 0.85."""
    return np.asarray(np.hanning(width) ** 0.85, np.float32)


def mel_filters(config: Config) -> Any:
    """The filters, a sparse matrix (F, K) float32: triangles on the mel scale; neighbors add up to 1.

    K is half the length of the FFT, plus 1. UsageError when a filter would contain no frequency.
    """
    return _mel_filters(config.sample_rate, config.window_samples, config.num_mels, config.low_hz, config.upper_hz)


@lru_cache(maxsize=8)
def _mel_filters(rate: int, width: int, num_mels: int, low_hz: float, high_hz: float) -> Any:
    edges = np.linspace(_mel(low_hz), _mel(high_hz), num_mels + 2)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    shortest = 1 << (width - 1).bit_length()
    for padding in range(MAX_PADDING.bit_length()):
        size = shortest << padding
        mel = _mel(np.arange(size // 2 + 1) * rate / size)
        weights = np.minimum((mel - left) / (center - left), (right - mel) / (right - center)).clip(0)
        if weights.any(axis=1).all():
            return sparse.csr_array(weights.astype(np.float32))
    raise UsageError(
        f"fbank: num_mels {num_mels} is too many between {low_hz:g} and {high_hz:g} Hz (fewer, or a longer window_ms)"
    )


def _mel(hertz: Any) -> Any:
    return 1127 * np.log1p(np.asarray(hertz) / 700)
