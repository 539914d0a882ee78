"""Signal level. Notation: N samples, T frames.

Features are computed from samples scaled to one level. That of an utterance is measured as a whole; a stream has only
its past (Amodei et al. 2016, section 7), so `RunningGain` starts from the level of the training recordings and adapts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance

BLOCK = 65536
"""Samples summed at a time: one float32 accumulator would lose precision over an hour of audio."""

PAUSE_DB = 30.0
"""Hops this far below the level of the past do not count, because they are pauses: in the noise of a long one, or in
digital silence, the gain would rise and rise, and the next word would start much too loud. A quieter speaker still
counts: the loudest hops of speech are 10 dB above its mean, and as the level falls, more of them count."""

LARGEST = 1e30
"""Sum of squares of a hop above which the power of a spectrum may be infinite in float32."""

SILENCE = 1e-14
"""Mean power of a hop that is digital silence (-140 dBFS): half a step of 24-bit samples has as much."""


def mean_square(samples: NDArray[np.float32], dtype: DTypeLike = np.float64) -> float:
    """The mean power of samples (N,), in squared sample units; 0 if there are none.

    dtype: precision within a block of samples; block sums are added in float64. Feature scaling uses float32,
    which is faster.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    # no BLAS: the result of its dot product depends on the number of threads, and features must not
    blocks = (samples[i : i + BLOCK] for i in range(0, len(samples), BLOCK))
    with np.errstate(over="ignore"):
        total = sum(float(np.square(block, dtype=dtype).sum()) for block in blocks)
    if not np.isfinite(total):
        raise not_a_number(samples)
    return total / max(1, len(samples))


def gain(samples: NDArray[np.float32], level_db: float) -> np.float32:
    """The factor that scales samples (N,) to an RMS level of `level_db` dBFS; 1 for digital silence.

    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    power = mean_square(samples, np.float32)
    return np.float32(10 ** (level_db / 20) / power**0.5) if power > 0 else np.float32(1)


def not_a_number(samples: NDArray[np.float32]) -> BadUtterance:
    """The error for samples (N,) whose power is not finite."""
    count = int((~np.isfinite(samples)).sum())
    return BadUtterance(
        "not-a-number",
        f"{count} samples are NaN or infinite" if count else "the samples are so large that their power is infinite",
    )


def hop_powers(samples: NDArray[np.float32], hop: int) -> list[float]:
    """The mean power of each complete hop of samples (N,): N // hop numbers, which depend on nothing but the hop.

    BadUtterance "not-a-number" for NaN or infinite samples in one of them.
    """
    count, rows = len(samples) // hop, max(BLOCK // hop, 1)
    sums: list[float] = []
    with np.errstate(over="ignore"):
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            block = samples[start * hop : stop * hop].reshape(stop - start, hop)
            # no BLAS, as above
            sums += np.add.reduce(block * block, axis=1).tolist()
    if not math.isfinite(sum(sums)) or max(sums, default=0.0) > LARGEST:
        raise not_a_number(samples)
    return [total / hop for total in sums]


class RunningGain:
    """The gain that scales samples to a level, of the past of a stream: one number after each hop.

    With the mean power p of a hop: S <- a S + p and C <- a C + 1, so that S / C is the mean power of the past; older
    hops count exponentially less. Hops of digital silence and of pauses (see PAUSE_DB) change nothing. The powers of
    the hops alone determine the result, in which parts they come does not.
    """

    __slots__ = ("count", "decay", "gain", "power", "target")

    def __init__(self, level_db: float, memory: float, initial_db: float = 0.0, initial: float = 0.0) -> None:
        """level_db: the level that samples are scaled to (dBFS). memory: hops after which one counts 1/e.

        initial_db: the level to begin with (dBFS).  initial: as many hops of that level came before the first one.
        Without any, the gain is 1 until the first hop that counts.
        """
        self.target = 10 ** (level_db / 10)
        self.decay = math.exp(-1 / memory)
        self.count = initial
        self.power = initial * 10 ** (initial_db / 10)
        self.gain = math.sqrt(self.target * self.count / self.power) if self.power > 0 else 1.0

    def add(self, powers: Iterable[float]) -> list[float]:
        """The gain after each of the next hops, of these mean powers."""
        decay, count, power, gain, pause = self.decay, self.count, self.power, self.gain, 10 ** (-PAUSE_DB / 10)
        gains = []
        for p in powers:
            if p > SILENCE and p * count >= pause * power:
                power = decay * power + p
                count = decay * count + 1
                gain = math.sqrt(self.target * count / power)
            gains.append(gain)
        self.count, self.power, self.gain = count, power, gain
        return gains


def past_gain(config: FeatureConfig) -> RunningGain:
    """The gain of features whose level is that of the past, before the first sample."""
    per_s = config.sample_rate / config.hop_samples
    return RunningGain(config.level_db, config.memory_s * per_s, config.initial_db, config.initial_s * per_s)


def frame_gains(samples: NDArray[np.float32], config: FeatureConfig) -> np.float32 | NDArray[np.float32]:
    """The factor for the samples (N,) of an utterance; one per frame (T,) with the level of the past (`level_from`).

    Frames are complete windows. The level of a frame is measured up to the last hop that ends within its window.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    if config.level_from == "utterance":
        return gain(samples, config.level_db)
    hop, width = config.hop_samples, config.window_samples
    total = max(0, 1 + (len(samples) - width) // hop)
    if not np.isfinite(samples[len(samples) // hop * hop :]).all():
        raise not_a_number(samples)
    running = past_gain(config)
    gains = [running.gain, *running.add(hop_powers(samples, hop))]
    first = width // hop
    return np.array(gains[first : first + total], np.float32)
