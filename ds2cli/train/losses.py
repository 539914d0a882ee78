"""The loss of each training utterance in each epoch, EXP/losses/: N utterances, E epochs.

ids.txt         the id of each utterance, in the order of the training set
labels.npy      (N,) int32, the number of its labels
epoch-001.npy   (N,) float32, its loss in the first epoch (nats); NaN if it was skipped

The file of an epoch appears when the epoch is complete. Until then its losses are in a file of their own: a run that is
resumed takes the same steps again as from its last checkpoint, with the same losses.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.inputs import explain_error
from ds2cli.io import open_out, open_out_bytes

FOLDER, IDS, LABELS = "losses", "ids.txt", "labels.npy"
_EPOCH = re.compile(r"epoch-(\d+)\.npy")


@dataclass(frozen=True)
class Losses:
    """The losses of a training. ids: N; labels: (N,); nats: (E, N), NaN where an utterance was skipped."""

    ids: list[str]
    labels: NDArray[np.int32]
    nats: NDArray[np.float32]


class LossRecorder:
    """Writes the losses of a training that begins or resumes; called on rank 0 only."""

    def __init__(self, exp: str, count: int) -> None:
        """count: number of training utterances."""
        self.folder, self.count = Path(exp) / FOLDER, count
        self._epoch = -1
        self._nats: NDArray[np.float32] = np.zeros(0, np.float32)

    def begin(self, ids: Iterable[str], labels: NDArray[np.int32]) -> None:
        """Write what is the same for all epochs, unless an earlier run has. labels: (N,), numbers of labels."""
        if (self.folder / LABELS).is_file():
            return
        with open_out(str(self.folder / IDS)) as f:
            f.writelines(f"{name}\n" for name in ids)
        with open_out_bytes(str(self.folder / LABELS)) as raw:
            np.save(raw, np.asarray(labels, np.int32))

    def add(self, epoch: int, positions: Sequence[int], nats: NDArray[np.float64]) -> None:
        """Note the losses of a step. epoch: from 0.  positions: of its utterances.  nats: NaN for a skipped one."""
        if epoch != self._epoch:
            self._epoch, self._nats = epoch, self._open(epoch)
        self._nats[positions] = nats

    def finish(self, epoch: int) -> None:
        """The epoch is complete: give its file the final name, and remove those of later epochs."""
        if epoch != self._epoch:
            # no step of it was taken
            return
        with open_out_bytes(str(self.folder / _file_name(epoch))) as f:
            np.save(f, self._nats)
        self._partial(epoch).unlink(missing_ok=True)
        self._epoch = -1

    def remove(self) -> None:
        """Remove the losses of an earlier training."""
        shutil.rmtree(self.folder, ignore_errors=True)

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


def read_losses(exp: str) -> Losses | None:
    """The losses of the complete epochs of an experiment; None if it has none. DataError if a file is damaged."""
    folder = Path(exp) / FOLDER
    files = sorted(path for path in folder.glob("epoch-*.npy") if _EPOCH.fullmatch(path.name))
    if not files:
        return None
    try:
        ids = (folder / IDS).read_text("utf-8").splitlines()
        labels = np.load(folder / LABELS, allow_pickle=False)
        epochs = [np.load(path, mmap_mode="r", allow_pickle=False) for path in files]
    except (EOFError, OSError, ValueError) as e:
        raise DataError(f"{folder}: the losses cannot be read: {e}") from e
    if any(values.shape != (len(ids),) for values in (labels, *epochs)):
        raise DataError(f"{folder}: expected a loss of each of {len(ids)} utterances in each file")
    return Losses(ids, labels, np.stack(epochs))


def _file_name(epoch: int) -> str:
    """The file of an epoch, counted from 0."""
    return f"epoch-{epoch + 1:03d}.npy"
