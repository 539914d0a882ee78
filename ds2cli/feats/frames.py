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
        # of the same memory: numpy lets other threads run during each copy, which here takes longer than the copy
        self.view = self.kept.data
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
            parts.append(self.compute())
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else self.empty

    def finish(self) -> NDArray[np.float32]:
        """The frames (T, F) that still waited, when no more samples follow."""
        self.wait = min(self.wait, self.hops)
        return self.compute()

    def compute(self) -> NDArray[np.float32]:
        """The frames (T, F) that the kept samples complete. BadUtterance as of `advance`."""
        if len(hops := self.new_hops()):
            self.add_powers(hop_powers(hops, self.hop))
        start, stop = self.find_frames()
        if start == stop:
            return self.empty
        samples, total = self.kept[start:stop], self.count_frames(stop - start)
        features: NDArray[np.float32] = self.transform(
            samples, np.array(self.take_gains(total), np.float32), self.config
        )
        self.forget(total)
        return features

    # the steps of `compute`, which `together.py` takes for several streams at once

    def can_add(self, samples: NDArray[np.float32]) -> bool:
        """Whether samples (N,) fit into what is kept, before frames have been computed."""
        return self.count + len(samples) <= len(self.kept)

    def add(self, samples: memoryview) -> None:
        """Keep the next samples (N,), float32, which are finite."""
        self.view[self.count : self.count + len(samples)] = samples
        self.count += len(samples)

    def new_hops(self) -> NDArray[np.float32]:
        """The samples of the hops that have become complete."""
        return self.kept[(self.hops - self.base) * self.hop : self.count // self.hop * self.hop]

    def add_powers(self, powers: list[float]) -> None:
        """Take the mean power of each of those hops."""
        self.gains += self.gain.add(powers)
        self.hops += len(powers)

    def find_frames(self) -> tuple[int, int]:
        """Where the samples of the frames that are complete begin and end in `kept`; at one place if there are none."""
        start = (self.frames - self.base) * self.hop
        total = self.count_frames(self.count - start)
        if total <= 0 or self.hops < self.wait:
            return start, start
        return start, start + (total - 1) * self.hop + self.width

    def count_frames(self, samples: int) -> int:
        """How many frames begin in that many samples, and end in them."""
        return (samples - self.width) // self.hop + 1

    def take_gains(self, total: int) -> list[float]:
        """The gains (T,) of the next frames; those that no later frame has are forgotten."""
        first, first_gain = self.frames + self.lag, self.first_gain
        if first >= self.wait:
            gains = self.gains[first - first_gain : first - first_gain + total]
        else:
            gains = [self.gains[max(number, self.wait) - first_gain] for number in range(first, first + total)]
        self.first_gain = max(first + total, self.wait)
        del self.gains[: self.first_gain - first_gain]
        return gains

    def forget(self, total: int) -> None:
        """The next frames (T,) have been computed: what no later one needs is not kept."""
        base = self.base
        self.frames += total
        # a hop longer than the window is not complete with the frame that begins with it
        self.base = min(self.frames, self.hops)
        first = (self.base - base) * self.hop
        self.view[: self.count - first] = self.view[first : self.count]
        self.count -= first
