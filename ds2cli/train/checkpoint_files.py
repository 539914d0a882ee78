"""The files that training writes, in order even when the disk is full."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ds2cli.errors import DataError

LOG = "train.jsonl"

Store = Callable[[str, bytes | None], None]
"""Writes a file of the experiment, completely or not at all; None removes it. Raises DataError when it cannot."""


class CheckpointFiles:
    """Writes files in order. A file that cannot be written waits and goes before later ones, so that last.pt is never
    newer than the files it relies on.

    store: None on a process that writes nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.pending: dict[str, bytes | None] = {}
        self.error = ""
        """Why files are pending, "" when none are."""

    def __call__(self, name: str, data: bytes | None) -> None:
        """Write a file after the pending ones; only the newest bytes per file are written, and None removes it."""
        if self.store is None:
            return
        self.pending.pop(name, None)
        self.pending[name] = data
        if self._write_pending(self.store):
            return
        # removing a file frees space, and is safe out of order: a run resumed from an older checkpoint removes it, too
        for unwanted in [name for name, data in self.pending.items() if data is None]:
            with contextlib.suppress(DataError):
                self.store(unwanted, None)
                self.pending.pop(unwanted, None)
                self._write_pending(self.store)

    def _write_pending(self, store: Store) -> bool:
        self.error = ""
        for name, data in list(self.pending.items()):
            try:
                store(name, data)
            except DataError as e:
                self.error = str(e)
                return False
            del self.pending[name]
        return True
