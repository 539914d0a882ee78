"""Ids of recordings, made from their paths."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path


def id_from_path(path: Path) -> str:
    """An id made from a path: without its extension, `-` between folders, `_` for whitespace."""
    return re.sub(r"\s+", "_", "-".join(part for part in path.with_suffix("").parts if part not in ("/", "..")))


def unique_ids(paths: Sequence[str], make_id: Callable[[Path], str] = id_from_path) -> list[str]:
    """An id for each path; if different paths would share one, `-` and a hash of the path is appended to theirs.

    `a.mp3` and `a.wav` would both be `a`, `x/y.wav` and `x-y.wav` both `x-y`. The hash depends on the path alone, so
    that the order and the other paths do not matter.
    """
    ids = [make_id(Path(path)) for path in paths]
    counts = Counter(name for _, name in set(zip(paths, ids, strict=True)))
    return [name if counts[name] == 1 else f"{name}-{_hash(path)}" for name, path in zip(ids, paths, strict=True)]


def _hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
