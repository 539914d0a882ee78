"""Fingerprints of files and folders: hashes of what they contain. Times are used only to avoid reading a file again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2cli.errors import DataError
from ds2cli.inputs import explain_error

MAX_HASHED = 16 << 20
"""Files of a folder up to this size (bytes) are hashed as a whole, of larger ones a sample."""

SAMPLE = 256
"""Bytes of a recording that are hashed: reading all of a corpus would take as long as preparing it."""


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was hashed. mtime_ns: time of its last change (ns)."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> FileState | None:
        """The state in a table of a saved record; None if it has none."""
        size, mtime_ns, sha256 = (values.get(name) for name in ("size", "mtime_ns", "sha256"))
        if isinstance(size, int) and isinstance(mtime_ns, int) and isinstance(sha256, str):
            return cls(size, mtime_ns, sha256)
        return None

    def to_saved(self) -> dict[str, Any]:
        """The state as a table of a record."""
        return {"size": self.size, "mtime_ns": self.mtime_ns, "sha256": self.sha256}


def fingerprint(value: Any) -> str:
    """A hash of a value of plain types, 16 hexadecimal digits; the order of the names in a mapping does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_file(path: str, known: Iterable[FileState | None] = ()) -> FileState:
    """The state of a file. known: earlier states; of one with the same size and time, the hash is taken from it.

    DataError if the file cannot be read.
    """
    try:
        with Path(path).open("rb") as f:
            status = os.fstat(f.fileno())
            for state in known:
                if state is not None and (state.size, state.mtime_ns) == (status.st_size, status.st_mtime_ns):
                    return state
            return FileState(status.st_size, status.st_mtime_ns, hashlib.file_digest(f, "sha256").hexdigest())
    except OSError as e:
        raise DataError(f"{path}: {explain_error(e)}") from e


def hash_files(folder: str, names: Iterable[str]) -> str:
    """A hash of the content of some files of a folder, of those that exist."""
    files = ((name, Path(folder) / name) for name in names)
    return fingerprint([[name, hash_file(str(file)).sha256] for name, file in files if file.is_file()])


def hash_folder(folder: str) -> str:
    """A hash of the files below a folder: of recordings and large files a sample, of the others all that they contain.

    The sample is in the middle, where any other recording, also one of the same size, has other bytes.
    Hidden files, and what this program writes next to manifests, are left out. DataError if a file cannot be read.
    """
    from ds2cli.audio.find import walk_files
    from ds2cli.audio.formats import AUDIO_SUFFIXES

    digest = hashlib.sha256()
    for path in walk_files(folder)[0]:
        size = path.stat().st_size if path.exists() else -1
        by_content = 0 <= size <= MAX_HASHED and path.suffix.lower() not in AUDIO_SUFFIXES
        content = hash_file(str(path)).sha256 if by_content else _sample(path, size).hex()
        digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0{size}\0{content}\n"))
    return digest.hexdigest()


def _sample(path: Path, size: int) -> bytes:
    """Some bytes in the middle of a file; none if it cannot be read, which the command that needs it reports."""
    try:
        with path.open("rb", buffering=0) as f:
            f.seek(max(size, 0) // 2)
            return f.read(SAMPLE)
    except OSError:
        return b""
