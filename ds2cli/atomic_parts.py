"""Parts of outputs of `atomic.py`: temporary files and folders, and what becomes of them when all parts are complete.

A temporary file is locked while its process lives: one that can be locked is abandoned.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ds2cli import inputs
from ds2cli.errors import DataError


@dataclass
class Part:
    """A file under its temporary name. path: what the user calls it.  lock: a descriptor, open while it is used."""

    path: str
    file: Path
    target: Path
    lock: int
    is_in_place: bool = False

    def replace(self) -> None:
        """Give the file its own name. DataError if it cannot be written."""
        try:
            self._replace()
        except OSError as e:
            raise cannot_be_written(self.path, e) from e

    def _replace(self) -> None:
        os.fsync(self.lock)
        self.file.replace(self.target)
        self.is_in_place = True

    def discard(self) -> None:
        """Remove the file unless it has its own name, and release the lock."""
        # on a read-only file system even removing a missing file fails
        with contextlib.suppress(OSError):
            # another process may have created a file of the temporary name since
            if not self.is_in_place:
                self.file.unlink(missing_ok=True)
        os.close(self.lock)


class WorkspacePart(Part):
    """A temporary folder."""

    def _replace(self) -> None:
        """Keep the folder until other files have their names."""

    def discard(self) -> None:
        """Remove the folder with the files that are left in it, and release the lock."""
        shutil.rmtree(self.file, ignore_errors=True)
        os.close(self.lock)


class FolderPart(WorkspacePart):
    """Files in a temporary folder, which is `file`, that get their names in the folder `target`."""

    def _replace(self) -> None:
        names = sorted(os.listdir(self.file))  # noqa: PTH208
        if any((self.target / name).is_dir() for name in names):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        for name in names:
            with (self.file / name).open("rb") as f:
                os.fsync(f.fileno())
            (self.file / name).replace(self.target / name)


class LinkPart(Part):
    """A complete file that gets another name, and keeps its own."""

    @property
    def replaces_another(self) -> bool:
        """Whether there is another file of that name."""
        return self.target.exists() and not self.target.samefile(self.file)

    def _replace(self) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        link = self.target.with_name(f".{os.getpid()}.part.{secrets.token_hex(4)}.{self.target.name}")
        try:
            os.link(self.file, link)
        except OSError:
            # a file system without links
            self.file.replace(self.target)
            return
        try:
            link.replace(self.target)
        finally:
            # two names of one file stay as they are
            link.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave the file where it is."""


class ObsoletePart(Part):
    """A file that is removed."""

    def _replace(self) -> None:
        self.file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave the file where it is."""


def create_part(path: str, target: Path) -> Part:
    """Create and lock the temporary file. Its name keeps the ending, which some writers look at (gzip, audio files)."""
    distinct = ""
    while True:
        part = target.with_name(f".{os.getpid()}.part.{distinct}{target.name}")
        with contextlib.suppress(FileExistsError):
            lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            if _lock_new(lock, part):
                return Part(path, part, target, lock)
        # a process in another container has the same number, or this one writes the file twice at a time
        distinct = f"{secrets.token_hex(4)}."


def create_folder(prefix: str, parent: Path) -> tuple[Path, Path, int]:
    """Create and lock a folder of a new name; return it, the folder that it is in, and the lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            if _lock_new(lock, folder):
                return folder, parent, lock


def _lock_new(descriptor: int, path: Path) -> bool:
    """Lock what was just created; False, and closed, if another process took it for abandoned before it was locked."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if path.exists():
        return True
    os.close(descriptor)
    return False


def remove_if_abandoned(path: Path) -> None:
    """Remove a file or folder of this user that no process has locked; OSError if there is another one, or no locks."""
    # NFS locks a file only for those that can write it
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another process may have removed it and created a new one
        if not os.path.samestat(found, path.stat()):
            return
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path)
        elif stat.S_ISREG(found.st_mode):
            path.unlink()
    finally:
        os.close(descriptor)


def cannot_be_written(path: str, error: OSError) -> DataError:
    """The error of an output. path: what the user calls it."""
    return DataError(f"{path}: cannot be written: {inputs.explain_error(error)}")
