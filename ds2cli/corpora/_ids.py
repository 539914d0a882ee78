"""Ids of recordings, made from their paths."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ds2cli.drops import Ledger
from ds2cli.manifest import Row


def id_from_path(path: Path) -> str:
    """An id made from a path: without its extension, `-` between folders, `_` for whitespace."""
    return re.sub(r"\s+", "_", "-".join(part for part in path.with_suffix("").parts if part not in ("/", "..")))


def unique_ids(paths: Sequence[str], make_id: Callable[[Path], str] = id_from_path) -> list[str]:
    """An id for each path; if different paths would share one, `-` and a hash of the path is appended to theirs.

    `a.mp3` and `a.wav` would both be `a`, `x/y.wav` and `x-y.wav` both `x-y`. The hash depends on the path alone, so
    that the order and the other paths do not matter.
    """
    ids = {path: make_id(Path(path)) for path in paths}
    # again for a path that looks like an id with a hash
    while shared := {name for name, number in Counter(ids.values()).items() if number > 1}:
        ids = {path: f"{name}-{_hash(path)}" if name in shared else name for path, name in ids.items()}
    return [ids[path] for path in paths]


def segment_id(recording_id: str, row: Row) -> str:
    """The id of a row that was made from that of its recording: with its offset in ms and its channel, if it has them.

    >>> segment_id("call", {"offset": 1.5, "channel": 1})
    'call-00001500-ch1'
    """
    offset = f"-{round(row['offset'] * 1000):08d}" if "offset" in row else ""
    channel = f"-ch{row['channel']}" if "channel" in row else ""
    return f"{recording_id}{offset}{channel}"


def note_hashes(paths: Sequence[str], ids: Sequence[str], ledger: Ledger) -> None:
    """Note in the ledger how many of the `unique_ids` of `paths` are not `id_from_path`."""
    if hashed := sum(name != id_from_path(Path(path)) for path, name in zip(paths, ids, strict=True)):
        ledger.notes.append(f"{hashed} ids end in a hash of the path of their recording, as they would not be unique")


def _hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
