"""The files of a training, written in order also where the disk is full for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ds2cli.errors import DataError

LOG = "train.jsonl"

Store = Callable[[str, bytes | None], None]
"""Writes a file of the experiment, whole or not at all; None removes it. DataError when it cannot."""


class CheckpointFiles:
    """What is to be written; what cannot be is kept, and comes before what follows: last.pt is never ahead of others.

    store: None on a process that writes nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.left: dict[str, bytes | None] = {}
        self.why = ""
        """Why something is left, "" when nothing is."""

    def __call__(self, name: str, data: bytes | None) -> None:
        """Write a file after those that are left; of one that is, its newest bytes."""
        if self.store is None:
            return
        self.left.pop(name, None)
        self.left[name] = data
        if self._all_written(self.store):
            return
        # what is no longer wanted makes room; a run that goes on from before comes to want it as little
        for unwanted in [name for name, data in self.left.items() if data is None]:
            with contextlib.suppress(DataError):
                self.store(unwanted, None)
                self.left.pop(unwanted, None)
                self._all_written(self.store)

    def _all_written(self, store: Store) -> bool:
        self.why = ""
        for waiting, data in list(self.left.items()):
            try:
                store(waiting, data)
            except DataError as e:
                self.why = str(e)
                return False
            del self.left[waiting]
        return True
