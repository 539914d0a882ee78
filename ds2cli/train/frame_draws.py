"""The lengths of all utterances in an epoch with random speeds, without drawing them one by one. N utterances."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.draws import draw_first, draw_words
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.examples import Utterance, min_frames, num_frames, read_ids

_AT_ONCE = 1 << 16


def draw_all_frames(augmenter: Augmenter, utterances: Sequence[Utterance], epoch: int) -> NDArray[np.int32]:
    """What `augmenter.frames` returns for each utterance, (N,): the same draws, many at a time.

    Utterances that are resampled in this epoch are drawn one by one: their recordings decide how long they get.
    """
    if augmenter.keeps_lengths:
        return num_frames(utterances)
    frames, needed = num_frames(utterances).copy(), min_frames(utterances)
    prefix, speeds = f"{augmenter.seed} {epoch} ".encode(), np.array(augmenter.config.speeds)
    begin, ids = 0, iter(read_ids(utterances))
    while names := list(islice(ids, _AT_ONCE)):
        part = slice(begin, begin + len(names))
        words = _hash_ids(prefix, names)
        speed = speeds[((words[:, 0] >> np.uint64(11)) / float(1 << 53) * len(speeds)).astype(np.int64)]
        if augmenter.config.speed:
            frames[part] = _stretch(frames[part], needed[part], augmenter.config.speed, draw_first(words[:, 6:]))
        for n in np.flatnonzero(speed != 1).tolist():
            frames[begin + n] = augmenter.frames(utterances[begin + n], epoch)
        begin += len(names)
    return frames


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
