"""Features of a recording that arrives in blocks. Notation: N samples, T frames, F bins.

A kind scales an utterance to one level. Of a long recording each part gets the level that it would have as an
utterance of its own: that of the seconds around it. With the level of the past, each frame has its own in any case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import mean_square
from ds2cli.config.features import FeatureConfig
from ds2cli.feats import kinds
from ds2cli.feats.frames import FrameStream

Samples = NDArray[np.float32]

PART = 1 << 18
"""Samples of a longer block that are computed at a time."""


@dataclass(frozen=True)
class LevelWindow:
    """Which part of a recording determines the gain of a block of it.

    block_s: length of a block (s).  before_s, after_s: audio before and after a block that counts, too (s), after_s at
    least one block; the first blocks wait for `first_s` of audio. All are rounded to blocks.
    """

    block_s: float = 1.0
    before_s: float = 15.0
    after_s: float = 15.0
    first_s: float = 0.0


LIVE = LevelWindow(block_s=0.25, before_s=30.0, after_s=0.25, first_s=4.0)
"""For live input: what was heard before, and as little delay as the overlap of frames allows."""


def compute_blocks(
    samples: Iterable[Samples], config: FeatureConfig, window: LevelWindow = LevelWindow(), gain: float | None = None
) -> Iterator[NDArray[np.float32]]:
    """Features (T_i, F) of samples that arrive in blocks (N_i,) of any length; together T frames, as of the whole.

    With the level of the past they are exactly those of the whole.

    gain: a factor for all samples, instead of that which the window gives. With the factor of the whole recording, as a
    float32, the features are those of the whole.
    BadUtterance as of `kinds.compute`.
    """
    stream: FrameStream | BlockStream
    if config.level_from == "past" and gain is None:
        stream = FrameStream(config)
    else:
        stream = BlockStream(replace(config, level_from="utterance"), window, gain)
    count, frames = 0, 0
    for block in samples:
        # a long block in parts
        for part in np.split(block, range(PART, len(block), PART)):
            features = stream.advance(part)
            count, frames = count + len(part), frames + len(features)
            if len(features):
                yield features
    features = stream.finish()
    if not frames + len(features):
        # raises the error of a recording that is too short
        kinds.compute(np.zeros(count, np.float32), config)
    yield features


class BlockStream:
    """The features of a recording that arrives in pieces, of any kind; they come in blocks of `window.block_s`.

    gain: as for `compute_blocks`.
    """

    def __init__(self, config: FeatureConfig, window: LevelWindow, gain: float | None = None) -> None:
        self.config, self.gain = config, gain
        self.size = max(round(window.block_s * config.sample_rate), 1)
        self.before, after, self.first = (
            math.ceil(s / window.block_s) for s in (window.before_s, window.after_s, window.first_s)
        )
        self.frames = _Frames(config)
        self.after = max(after, -(-self.frames.needed_after // self.size))
        self.powers: list[float] = []
        self.done = 0
        self.pending: list[Samples] = []
        self.pending_count = 0

    def advance(self, samples: Samples) -> NDArray[np.float32]:
        """Take the next samples (N,); the frames (T, F) that are ready.

        BadUtterance "not-a-number" for NaN or infinite samples.
        """
        self.pending.append(samples)
        self.pending_count += len(samples)
        parts = []
        if self.pending_count >= self.size:
            joined = np.concatenate(self.pending)
            whole = self.pending_count // self.size * self.size
            self.pending, self.pending_count = [joined[whole:].copy()], self.pending_count - whole
            for start in range(0, whole, self.size):
                self._add(joined[start : start + self.size])
                while len(self.powers) >= max(self.done + 1 + self.after, self.first):
                    parts.append(self._compute(at_end=False))
        return self._join(parts)

    def finish(self) -> NDArray[np.float32]:
        """The last frames (T, F), when no more samples follow."""
        if self.pending_count:
            self._add(np.concatenate(self.pending))
            self.pending, self.pending_count = [], 0
        parts = []
        while self.done < len(self.powers) and kinds.num_frames(self.frames.count, self.config):
            parts.append(self._compute(at_end=True))
        return self._join(parts)

    def _add(self, block: Samples) -> None:
        self.powers.append(mean_square(block, np.float32) * len(block))
        self.frames.add(block)

    def _compute(self, at_end: bool) -> NDArray[np.float32]:
        """The frames of the next block."""
        near = slice(max(0, self.done - self.before), max(self.done + 1 + self.after, self.first))
        count = min(near.stop * self.size, self.frames.count) - near.start * self.size
        factor = _gain(sum(self.powers[near]) / max(count, 1), self.config) if self.gain is None else self.gain
        self.done += 1
        return self.frames.compute(self.done * self.size, factor, at_end)

    def _join(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(parts) if parts else np.zeros((0, kinds.num_bins(self.config)), np.float32)


def _gain(power: float, config: FeatureConfig) -> float:
    """The factor for samples of this mean power; 1 for digital silence."""
    return float(np.float32(10 ** (config.level_db / 20) / power**0.5)) if power > 0 else 1.0


class _Frames:
    """Computes the frames of a recording in order; only the samples that the next ones need are kept."""

    def __init__(self, config: FeatureConfig) -> None:
        self.config, self.hop = config, config.hop_samples
        # frames on both sides that a part is computed with, so that it has no edges
        self.margin = -(-config.window_samples // self.hop) + 1
        self.needed_after = (self.margin + 1) * self.hop + config.window_samples
        self.parts: list[Samples] = []
        # samples: the number of the first one kept, and of all; frames: the number computed
        self.first = self.count = self.done = 0

    def add(self, block: Samples) -> None:
        """Take the next samples (N,)."""
        self.parts.append(block)
        self.count += len(block)

    def compute(self, end: int, factor: float, at_end: bool) -> NDArray[np.float32]:
        """The next frames (T, F), which start before sample `end`, of samples multiplied by `factor`.

        at_end: whether no more samples follow.
        """
        kept = np.concatenate(self.parts) if self.parts else np.zeros(0, np.float32)
        stop, limit = -(-end // self.hop), (-(-end // self.hop) + self.margin) * self.hop + self.config.window_samples
        if at_end:
            total = max(kinds.num_frames(self.count, self.config), 1)
            if end >= self.count or stop >= total:
                stop, limit = total, self.count
        begin = max(self.done - self.margin, 0)
        if stop <= self.done:
            features = np.zeros((0, kinds.num_bins(self.config)), np.float32)
        else:
            part = kept[begin * self.hop - self.first : limit - self.first]
            features = kinds.compute(part, self._scaled(part, factor))[self.done - begin : stop - begin]
        self.done = max(stop, self.done)
        start = max(self.done - self.margin, 0) * self.hop
        self.parts, self.first = [kept[start - self.first :].copy()], start
        return features

    def _scaled(self, part: Samples, factor: float) -> FeatureConfig:
        """The settings with the level at which `compute` multiplies these samples by `factor`."""
        power = mean_square(part, np.float32)
        return replace(self.config, level_db=20 * math.log10(factor * power**0.5)) if power > 0 else self.config
