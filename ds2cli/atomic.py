"""Files that appear whole or not at all, and the removal of what killed processes have left.

A file is written under a temporary name next to its own, and is locked while its process lives. The system releases the
lock however that process ends: a temporary file that can be locked belongs to no process, and the next one that writes
to the folder removes it. The same holds for temporary folders. On a file system without locks nothing is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from ds2cli import inputs
from ds2cli.atomic_parts import (
    FolderPart,
    LinkPart,
    ObsoletePart,
    Part,
    WorkspacePart,
    cannot_be_written,
    create_folder,
    create_part,
    remove_if_abandoned,
)
from ds2cli.errors import DataError

on_first: Callable[[], None] | None = None
"""Called once, when this process begins its first output: from then on it has something to complete or to remove."""

_PART = re.compile(r"\.\d+\.part\..+")
_searched: set[Path] = set()
"""Folders in which this process has looked for files of killed processes."""


class _Waiting(list[Part]):
    """The complete files of a `together` block. files: where each is until the end, by the path that it then has."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[Path, Path] = {}

    def append(self, part: Part) -> None:
        """Add a file, folder or removal."""
        super().append(part)
        self.files.setdefault(part.target, part.file)


_waiting: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)


def begin_output() -> None:
    """Call `on_first` unless it was called; files and folders of this module do so themselves."""
    global on_first
    # only there can a signal handler be set
    if threading.current_thread() is threading.main_thread():
        notify, on_first = on_first, None
        if notify is not None:
            notify()


@contextlib.contextmanager
def replacing(path: str) -> Iterator[Path]:
    """The file to write: a temporary sibling that replaces `path` on success, or `path` itself for a pipe or device.

    DataError if it cannot be written. If the reader of another output has left (BrokenPipeError), the error gets a note
    with the name of the file, which then does not appear.
    """
    try:
        target = Path(os.path.realpath(path))
        # only one that leads to itself is left
        if any(part.is_symlink() for part in (target, *target.parents)):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        is_folder, is_stream = target.is_dir(), Path(path).exists() and not Path(path).is_file()
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    if is_folder:
        raise DataError(f"{path}: this is a folder, expected a file name to write to")
    begin_output()
    if is_stream:
        # unresolved: /dev/stdout often links to a pipe, whose target is no path
        yield Path(path)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        exists = isinstance(e, FileExistsError | NotADirectoryError)
        in_file = exists and next((folder for folder in target.parents if folder.is_file()), None)
        reason = f"{os.path.relpath(in_file)} is a file" if in_file else inputs.explain_error(e)
        raise DataError(f"{path}: its folder cannot be created: {reason}") from e
    waiting, part = _waiting.get(), None
    try:
        if target.parent not in _searched:
            _searched.add(target.parent)
            remove_abandoned_files(target.parent)
        part = create_part(path, target)
        yield part.file
        if waiting is None:
            part.replace()
        else:
            os.fsync(part.lock)
            waiting.append(part)
    except BrokenPipeError as e:
        e.add_note(path)
        raise
    except ConnectionError:
        raise
    except OSError as e:
        # an error that names another file was raised by the caller while it produced the content
        if e.filename not in (None, str(part and part.file)) and part is not None:
            raise DataError(f"{e.filename}: {inputs.explain_error(e)}") from e
        raise cannot_be_written(path, e) from e
    finally:
        if part is not None and part not in (waiting or ()):
            part.discard()


def replacing_files(folder: str) -> contextlib.AbstractContextManager[Path]:
    """A temporary folder whose files, of any number, are moved to `folder` on success. DataError if that fails."""
    return _folder_of(FolderPart, folder)


def workspace(folder: str) -> contextlib.AbstractContextManager[Path]:
    """A temporary folder in `folder` for files that get their names by `link_file`; removed once they have them."""
    return _folder_of(WorkspacePart, folder)


@contextlib.contextmanager
def _folder_of(kind: type[WorkspacePart], folder: str) -> Iterator[Path]:
    begin_output()
    target, waiting = Path(os.path.realpath(folder)), _waiting.get()
    try:
        target.mkdir(parents=True, exist_ok=True)
        remove_abandoned_files(target)
        part = kind(folder, *create_folder(f".{os.getpid()}.part.", target))
    except OSError as e:
        raise cannot_be_written(folder, e) from e
    try:
        yield part.file
        if waiting is None:
            part.replace()
        else:
            waiting.append(part)
    finally:
        if part not in (waiting or ()):
            part.discard()


def link_file(file: Path, path: str) -> None:
    """Let a complete file, which is on disk, also be `path`; at the end of the `together` block, if there is one.

    On a file system without links the file is moved. DataError if that fails.
    """
    _add(LinkPart(path, file, Path(os.path.realpath(path)), -1))


def sync_file(file: Path) -> None:
    """Wait until a file that another process may have written is on disk. DataError if it cannot be written."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as e:
        raise cannot_be_written(str(file), e) from e


def remove_file(path: str) -> None:
    """Remove a file of an earlier run; at the end of the `together` block, if there is one."""
    _add(ObsoletePart(path, Path(path), Path(os.path.realpath(path)), -1))


def _add(part: Part) -> None:
    waiting = _waiting.get()
    if waiting is None:
        part.replace()
    else:
        waiting.append(part)


@contextlib.contextmanager
def extending(path: str, file: Path, position: int = 0) -> Iterator[BinaryIO]:
    """An unfinished file, opened to write from `position` on, where what it has is cut off. The caller syncs it.

    path: what the user calls it.  DataError as of `replacing`.
    """
    begin_output()
    try:
        # another name of it (`link_file`) may be in use already
        if file.exists() and file.stat().st_nlink > 1:
            copy = file.with_name(f"{file.name}.copy")
            shutil.copyfile(file, copy)
            copy.replace(file)
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b") as f:  # noqa: PTH123
            f.truncate(position)
            f.seek(position)
            yield f
    except OSError as e:
        if isinstance(e, ConnectionError):
            raise
        if e.filename not in (None, str(file)):
            raise DataError(f"{e.filename}: {inputs.explain_error(e)}") from e
        raise cannot_be_written(path, e) from e


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that are written in this block appear at its end, and if an error ends it, none of them does.

    Where linked files replace others (`link_file`), the files that may refer to these are removed before.

    A block within another one is part of it.
    """
    if _waiting.get() is not None:
        yield
        return
    token = _waiting.set(parts := _Waiting())
    try:
        yield
        # a kill from here on must not leave the rows of an earlier run beside the archives of this one
        if any(isinstance(part, LinkPart) and part.replaces_another for part in parts):
            # archives, which rows refer to, come before them
            for part in reversed(parts):
                if type(part) is Part and part.target.is_file():
                    part.target.unlink()
        for part in parts:
            part.replace()
    except BrokenPipeError as e:
        for part in parts:
            e.add_note(part.path)
        raise
    finally:
        _waiting.reset(token)
        for part in parts:
            part.discard()


def find_written(path: str) -> Path:
    """The file that will be at `path` at the end of the `together` block around it, or is there already."""
    target = Path(os.path.realpath(path))
    waiting = _waiting.get()
    return target if waiting is None else waiting.files.get(target, target)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Files that are written in this block appear, whatever becomes of the `together` block around it."""
    token = _waiting.set(None)
    try:
        yield
    finally:
        _waiting.reset(token)


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A private folder for temporary files, $TMPDIR/PREFIX…, removed at the end.

    Folders of this prefix that processes of this user left when they were killed are removed, too.
    """
    begin_output()
    for old in (root := Path(tempfile.gettempdir())).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            remove_if_abandoned(old)
    folder, _, lock = create_folder(prefix, root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned_files(folder: Path) -> None:
    """Remove the unfinished files that killed processes of this user have left in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    remove_if_abandoned(Path(entry.path))
