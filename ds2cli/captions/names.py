"""Names of files for recordings: safe on every file system, and different for different recordings."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile(r'[\x00-\x20\x7f-\x9f/\\<>:"|?*\ud800-\udfff]')
_LONGEST = 180
"""Bytes of a name, which leaves room for its ending within the 255 that file systems allow."""


class FileNames:
    """Gives each recording a name of its own."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def name(self, recording: str) -> str:
        """The name for a recording that was not named before; with a hash if an earlier one has the same name.

        Names that differ only in case are the same to some file systems.
        """
        name = safe_name(recording)
        if name.casefold() in self._used:
            name = f"{name}-{_hash(recording)}"
        while name.casefold() in self._used:
            name = f"{name}-{_hash(name)}"
        self._used.add(name.casefold())
        return name


def safe_name(name: str) -> str:
    """A name without what a file name cannot have somewhere: `_` for it; a long one is cut and has a hash."""
    safe = _UNSAFE.sub("_", name).rstrip(".")
    if safe.startswith(".") or not safe:
        safe = f"_{safe.lstrip('.')}"
    data = safe.encode()
    return safe if len(data) <= _LONGEST else f"{data[:_LONGEST].decode('utf-8', 'ignore')}-{_hash(name)}"


def stem_of(path: str) -> str:
    """The name of a recording that is known by its path: that of the file, without its ending; `stdin` for `-`."""
    name = path.rstrip("/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return "stdin" if path == "-" else "_".join(stem.split()) or "_"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
