"""The loss of each training utterance in each epoch, EXP/losses/: N utterances, E epochs.

ids.txt         the id of each utterance, in the order of the training set
epoch-001.npy   (N,) float32, its loss in the first epoch (nats); NaN if it was skipped

The file of an epoch appears when the epoch is complete. Until then its losses are in a file of their own: a run that is
resumed takes the same steps again as from its last checkpoint, with the same losses.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.inputs import explain_error
from ds2cli.io import open_out, open_out_bytes
from ds2cli.train.events import Epoch, Event, NotRecorded, Resumed, TrainStep
from ds2cli.train.examples import Utterance, read_id

FOLDER, IDS = "losses", "ids.txt"
_EPOCH = re.compile(r"epoch-(\d+)\.npy")


@dataclass(frozen=True)
class Losses:
    """The losses of a training. ids: N; nats: (E, N), NaN where an utterance was skipped."""

    ids: list[str]
    nats: NDArray[np.float32]


class LossRecorder:
    """Writes the losses of a training that begins or resumes; called on rank 0 only."""

    def __init__(self, exp: str, count: int) -> None:
        """count: number of training utterances."""
        self.folder, self.count = Path(exp) / FOLDER, count
        self._epoch = -1
        self._nats: NDArray[np.float32] = np.zeros(0, np.float32)

    def begin(self, ids: Iterable[str]) -> None:
        """Write the ids of the training set, unless an earlier run has."""
        if not (self.folder / IDS).is_file():
            with open_out(str(self.folder / IDS)) as f:
                f.writelines(f"{name}\n" for name in ids)

    def add(self, epoch: int, positions: Sequence[int], nats: Sequence[float]) -> None:
        """Note the losses of a step. epoch: from 0.  positions: of its utterances.  nats: NaN for a skipped one."""
        if epoch != self._epoch:
            self.complete_before(epoch)
            self._epoch, self._nats = epoch, self._open(epoch)
        self._nats[np.asarray(positions, np.int64)] = nats

    def complete_before(self, epoch: int) -> None:
        """Give the files of earlier epochs their names: a run may have been ended after its checkpoint, before this."""
        for earlier in range(epoch):
            self._complete(earlier)

    def finish(self, epoch: int) -> None:
        """The epoch is complete: give its file the final name."""
        if epoch == self._epoch:
            self._epoch, self._nats = -1, np.zeros(0, np.float32)
            self._complete(epoch)

    def remove(self) -> None:
        """Remove the losses of an earlier training."""
        self._epoch, self._nats = -1, np.zeros(0, np.float32)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _complete(self, epoch: int) -> None:
        partial = self._partial(epoch)
        if partial.is_file() and partial.stat().st_size == 4 * self.count:
            with open_out_bytes(str(self.folder / _file_name(epoch))) as f:
                np.save(f, np.fromfile(partial, np.float32))
            partial.unlink()

    def _partial(self, epoch: int) -> Path:
        return self.folder / f".{_file_name(epoch)}.part"

    def _open(self, epoch: int) -> NDArray[np.float32]:
        path = self._partial(epoch)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.stat().st_size != 4 * self.count:
                np.full(self.count, np.nan, np.float32).tofile(path)
            return np.memmap(path, np.float32, "r+", shape=(self.count,))
        except OSError as e:
            raise DataError(f"{path}: cannot be written: {explain_error(e)}") from e


def recorded(events: Iterable[Event], exp: str, count: int, read_ids: Callable[[], Iterable[str]]) -> Iterator[Event]:
    """Pass on the events of a training in EXP and write the losses of its utterances.

    count, read_ids: of the training set. The first step of a training removes the losses of an earlier one. What cannot
    be written is reported once and does not end the training.
    """
    recorder: LossRecorder | None = LossRecorder(exp, count)
    for event in events:
        yield event
        try:
            if recorder is not None and isinstance(event, TrainStep):
                if (event.epoch, event.batch) == (0, 1):
                    recorder.remove()
                recorder.add(event.epoch, event.positions, event.costs)
            elif recorder is not None and isinstance(event, Resumed) and recorder.folder.is_dir():
                recorder.begin(read_ids())
                recorder.complete_before(event.epoch)
            elif recorder is not None and isinstance(event, Epoch):
                recorder.begin(read_ids())
                recorder.finish(event.epoch - 1)
        except (DataError, OSError) as e:
            recorder = None
            yield NotRecorded(str(e))


def spread_costs(
    batches: Sequence[list[int]],
    shard: Callable[[list[int]], list[int]],
    utterances: Sequence[Utterance],
    costs: Mapping[str, float],
) -> list[float]:
    """The losses of a process in the order of a step, to be added to those of the other processes.

    batches: positions of the utterances of the step in the training set; one may be there twice ([mix]).  shard: the
    part of a list as long as a batch that this process has.  utterances: the training set.  costs: of these, by id.
    Returns one value for each position: 0 for those of other processes, NaN for skipped utterances.
    """
    positions, begin = [*chain.from_iterable(batches)], 0
    spread = np.zeros(len(positions))
    for batch in batches:
        for place in shard([*range(begin, begin + len(batch))]):
            spread[place] = costs.get(read_id(utterances, positions[place]), np.nan)
        begin += len(batch)
    return spread.tolist()


def read_losses(exp: str) -> Losses | None:
    """The losses of the complete epochs of an experiment; None if it has none. DataError if a file is damaged."""
    folder = Path(exp) / FOLDER
    found = ((_EPOCH.fullmatch(path.name), path) for path in folder.glob("epoch-*.npy"))
    files = [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]
    if not files:
        return None
    try:
        ids = (folder / IDS).read_text("utf-8").splitlines()
        epochs = [np.load(path, mmap_mode="r", allow_pickle=False) for path in files]
    except (EOFError, OSError, ValueError) as e:
        raise DataError(f"{folder}: the losses cannot be read: {e}") from e
    if any(values.shape != (len(ids),) for values in epochs):
        raise DataError(f"{folder}: expected a loss of each of {len(ids)} utterances in each file")
    return Losses(ids, np.stack(epochs))


def _file_name(epoch: int) -> str:
    """The file of an epoch, counted from 0."""
    return f"epoch-{epoch + 1:03d}.npy"
