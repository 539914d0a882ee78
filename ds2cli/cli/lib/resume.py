"""Commands that continue after what an interrupted run of them has finished."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator

from ds2cli import ui
from ds2cli.config.base import Config
from ds2cli.journal import Journal, open_journal
from ds2cli.provenance import FORMATS, Provenance


@contextlib.contextmanager
def resuming(made: Provenance | None, config: Config, out: str, place: str = "") -> Iterator[Journal | None]:
    """The journal of a command, in a folder next to its archives or to OUT; it is removed when the block succeeds.

    made: what OUT is made from; None if there is no journal: OUT is a pipe, or replaces an input.
    place: the path of the archives without the ending.
    """
    if made is None:
        yield None
        return
    inputs = {role: [i.sha256, i.made_by] for role, i in made.inputs.items() if role != "IN"}
    # rows that are finished refer to files by these paths; another device gives other last bits
    identity = {
        "format": FORMATS.get(made.stage, 1),
        "place": place or out,
        "device": getattr(config, "device", None),
        "settings": dict(made.settings),
        "inputs": inputs,
    }

    def log_replayed(count: int) -> None:
        ui.log(f"{made.stage}: continuing after {count:,} utterances that an interrupted run has finished")

    command = shlex.join(["ds2", *sys.argv[1:]])
    with open_journal(place or out, made.stage, identity, log_replayed, out=out, command=command) as journal:
        try:
            yield journal
        except BaseException:
            if journal is not None and journal.finished:
                kept = f"{journal.finished:,} utterances are finished and kept in {os.path.relpath(journal.folder)}"
                ui.log(f"{made.stage}: {kept}: the same command continues after them")
            raise
