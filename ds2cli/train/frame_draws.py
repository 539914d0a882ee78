"""The lengths of all utterances in an epoch with random speeds, without drawing them one by one. N utterances."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.recording import Recording
from ds2cli.config.features import FeatureConfig
from ds2cli.feats import kinds
from ds2cli.kernels.draws import draw_first, draw_words
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.examples import Utterance, min_frames, num_frames, read_ids, read_recordings

_AT_ONCE = 1 << 16


def draw_all_frames(augmenter: Augmenter, utterances: Sequence[Utterance], epoch: int) -> NDArray[np.int32]:
    """What `augmenter.frames` returns for each utterance, (N,): the same draws, many at a time."""
    if augmenter.keeps_lengths:
        return num_frames(utterances)
    frames, needed = num_frames(utterances).copy(), min_frames(utterances)
    prefix, speeds = f"{augmenter.seed} {epoch} ".encode(), np.array(augmenter.config.speeds)
    begin, ids = 0, iter(read_ids(utterances))
    while names := list(islice(ids, _AT_ONCE)):
        part = slice(begin, begin + len(names))
        words = _hash_ids(prefix, names)
        speed = speeds[((words[:, 0] >> np.uint64(11)) / float(1 << 53) * len(speeds)).astype(np.int64)]
        if len(changed := np.flatnonzero(speed != 1)):
            recordings = read_recordings(utterances, begin + changed)
            rows = begin + changed
            frames[rows] = _resample(augmenter.features, recordings, frames[rows], needed[rows], speed[changed])
        if augmenter.config.speed:
            frames[part] = _stretch(frames[part], needed[part], augmenter.config.speed, draw_first(words[:, 6:]))
        begin += len(names)
    return frames


def _resample(
    config: FeatureConfig,
    recordings: Sequence[Recording | None],
    frames: NDArray[np.int32],
    needed: NDArray[np.int32],
    speed: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Frames at a speed, or at speed 1 where it leaves too few for the labels: see `Augmenter.frames`."""
    values = [(r.duration_s, r.speed, r.rate) if r else (None, 1.0, None) for r in recordings]
    columns = np.array(values, np.float64).T
    found = _count_frames(config, columns, frames, speed)
    short = (speed > 1) & (found < needed)
    found[short] = _count_frames(config, columns[:, short], frames[short], np.ones(np.count_nonzero(short)))
    return found


def _count_frames(
    config: FeatureConfig, columns: NDArray[np.float64], frames: NDArray[np.int32], factor: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Frames at speed `factor`, as `audio.recording.count_samples` counts the samples, or from the frames.

    columns: (3, N), durations, speeds and rates of the recordings, NaN where they are unknown.
    """
    duration, speed, rate = columns
    seconds = duration * speed
    samples = np.floor(seconds * config.sample_rate / (speed * factor) + 0.51)
    exact = np.floor(np.rint(seconds * rate) * config.sample_rate / (rate * speed * factor) + 0.5)
    samples = np.where(np.isnan(rate), samples, exact)
    guessed = np.rint((config.window_samples + (frames - 0.5) * config.hop_samples) / factor)
    samples = np.where(np.isnan(duration), guessed, samples).astype(np.int64)
    # of which there are few, each a call of the module of these features
    distinct, place = np.unique(samples, return_inverse=True)
    return np.array([kinds.num_frames(count, config) for count in distinct.tolist()], np.int64)[place]


def _hash_ids(prefix: bytes, names: Sequence[str]) -> NDArray[np.uint64]:
    """The words that `plan_augmentation` draws for each id, (N, 8)."""
    text = "".join(names)
    data = text.encode()
    sizes = [len(name) for name in names] if text.isascii() else [len(name.encode()) for name in names]
    return draw_words(prefix, data, np.array(sizes, np.int64))


def _stretch(
    frames: NDArray[np.int32], needed: NDArray[np.int32], most: float, draws: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Frames after the speed that `spec_augment.draw_speed` draws, which is most · (2 draws - 1) above 1."""
    stretched = np.rint(frames / (1 + most * (2 * draws - 1)))
    return np.where(stretched >= needed, np.maximum(stretched, 1), frames).astype(np.int32)
