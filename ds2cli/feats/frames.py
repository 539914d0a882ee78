"""Frames of a stream, each as soon as its window is complete. Notation: N samples, T frames, F bins."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import RunningGain, hop_powers, not_a_number, past_gain
from ds2cli.config.features import KINDS, FeatureConfig
from ds2cli.feats import kinds

FIRST_S = 1.0
"""The level of whole utterances is approximated by that of what was heard: the first frames wait for this much (s)."""

MEMORY_S = 30.0
"""Memory of that level (s): longer than most utterances, within which it should hardly change."""

BLOCK = 32
"""Frames computed at a time of a longer piece of the stream: the samples kept then take 20 kB."""


class FrameStream:
    """The frames of a recording that arrives in pieces: bit for bit the same for any division into pieces.

    With the level of the past they equal those of `kinds.compute`. A network that was trained on the level of whole
    utterances gets an approximation: the running level of what was heard so far, at least FIRST_S of it.
    """

    def __init__(self, config: FeatureConfig) -> None:
        """config: of a kind with `transform`."""
        self.config = config
        self.transform = KINDS.load(config.kind).transform
        self.hop, self.width = config.hop_samples, config.window_samples
        per_s = config.sample_rate / self.hop
        if config.level_from == "past":
            self.gain, self.wait = past_gain(config), 0
        else:
            self.gain, self.wait = RunningGain(config.level_db, MEMORY_S * per_s), math.ceil(FIRST_S * per_s)
        # the gains after hop number `first_gain` and after later ones; that of frame t is after hop t + lag
        self.gains, self.first_gain, self.lag = [self.gain.gain], 0, self.width // self.hop
        # numbers of complete hops, of frames computed, and of the hop with which the kept samples begin
        self.hops = self.frames = self.base = 0
        self.kept = np.empty(max(self.wait * self.hop, self.width) + BLOCK * self.hop, np.float32)
        self.count = 0
        self.empty = np.zeros((0, kinds.num_bins(config)), np.float32)

    def advance(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples (N,); the frames (T, F) that they complete.

        BadUtterance "not-a-number" for NaN or infinite samples.
        """
        if not np.isfinite(samples).all():
            raise not_a_number(samples)
        parts, start = [], 0
        while start < len(samples):
            size = min(len(self.kept) - self.count, len(samples) - start)
            self.kept[self.count : self.count + size] = samples[start : start + size]
            self.count += size
            start += size
            parts.append(self._compute())
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else self.empty

    def finish(self) -> NDArray[np.float32]:
        """The frames (T, F) that still waited, when no more samples follow."""
        self.wait = min(self.wait, self.hops)
        return self._compute()

    def _compute(self) -> NDArray[np.float32]:
        """The frames (T, F) that the kept samples complete."""
        hop, base = self.hop, self.base
        hops = self.count // hop
        if base + hops > self.hops:
            self.gains += self.gain.add(hop_powers(self.kept[(self.hops - base) * hop : hops * hop], hop))
            self.hops = base + hops
        start = (self.frames - base) * hop
        total = (self.count - start - self.width) // hop + 1
        if total <= 0 or self.hops < self.wait:
            return self.empty
        stop = start + (total - 1) * hop + self.width
        features: NDArray[np.float32] = self.transform(self.kept[start:stop], self._take_gains(total), self.config)
        self.frames += total
        # a hop longer than the window is not complete with the frame that begins with it
        self.base = min(self.frames, self.hops)
        first = (self.base - base) * hop
        self.kept[: self.count - first] = self.kept[first : self.count]
        self.count -= first
        return features

    def _take_gains(self, total: int) -> NDArray[np.float32]:
        """The gains (T,) of the next frames; those that no later frame has are forgotten."""
        first, first_gain = self.frames + self.lag, self.first_gain
        numbers = range(first, first + total)
        gains = np.array([self.gains[max(number, self.wait) - first_gain] for number in numbers], np.float32)
        self.first_gain = max(first + total, self.wait)
        del self.gains[: self.first_gain - first_gain]
        return gains
