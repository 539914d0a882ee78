"""Downloads the archives of a corpus: continues where it stopped, verifies checksums, and unpacks whole or not at all.

An archive is downloaded to SRC/NAME.part, and next to it NAME.part.json says what is being downloaded: the next run
requests the rest of it, and starts again if the server has another file now or ignores the request for a part. It is
unpacked into a hidden folder, whose content is then moved to SRC, and removed. One that is in SRC already is used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ds2cli import inputs
from ds2cli.atomic import begin_output, remove_abandoned_files
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.io import FolderLock
from ds2cli.memory import format_size

if TYPE_CHECKING:
    from ds2cli.corpora._http import Part

MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
    "https://openslr.magicdatatech.com/resources",
)
"""Addresses of OpenSLR and its mirrors, in the order in which they are tried."""

_BLOCK = 1 << 20


class Report(Protocol):
    """Shows people what is being done."""

    def update(self, task: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of a task are done."""

    def log(self, message: str) -> None:
        """Show one line."""


class _Silent:
    def update(self, task: str, done: int, total: int | None) -> None:
        pass

    def log(self, message: str) -> None:
        pass


SILENT: Report = _Silent()


@dataclass(frozen=True)
class Archive:
    """An archive at OpenSLR.

    path: below the address of a mirror, such as 12/dev-clean.tar.gz.  md5: its published checksum.
    folder: the folder that it unpacks to.  marker: what lies in that folder, and in SRC once it is unpacked.
    unpacked_ratio: size of the unpacked files relative to that of the archive.
    """

    path: str
    md5: str
    folder: str
    marker: str
    unpacked_ratio: float = 1.1

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rpartition("/")[2]

    def is_unpacked(self, folder: Path) -> bool:
        """Whether its files are in a folder, or the folder is the one that they are in."""
        path = Path(os.path.realpath(folder))
        path = path if path.name == self.marker and path.is_dir() else path / self.marker
        return path.is_dir() and any(path.iterdir())


def fetch_archives(
    source: str,
    archives: Iterable[Archive],
    mirror: str | None,
    report: Report = SILENT,
    prepare: Callable[[Path], None] | None = None,
) -> None:
    """Download and unpack the archives that are not in the folder `source`, which is created if it is missing.

    mirror: address to use in place of MIRRORS.  prepare: what to do with an unpacked folder before it is moved.
    UsageError for a mirror that is no address, or a folder that another process downloads to; DataError if something
    cannot be written, or has another checksum than the published one; Ds2Error if the network fails.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror {mirror}: expected an address, such as {MIRRORS[-2]}")
    folder, mirrors = Path(source), (mirror.rstrip("/"),) if mirror else MIRRORS
    try:
        missing = [archive for archive in archives if not archive.is_unpacked(folder)]
        if not missing:
            return
        for archive in missing:
            if (folder / archive.folder).is_dir():
                raise DataError(
                    f"{source}: expected the folder {archive.folder} itself (pass {folder / archive.folder})"
                )
        begin_output()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(source, "another process is downloading into this folder (wait for it)")
        try:
            for archive in missing:
                _fetch(folder, archive, mirrors, report, prepare)
        finally:
            lock.release()
    except OSError as e:
        raise DataError(f"{e.filename or source}: {inputs.explain_error(e)}") from e


def _fetch(
    folder: Path,
    archive: Archive,
    mirrors: tuple[str, ...],
    report: Report,
    prepare: Callable[[Path], None] | None,
) -> None:
    from ds2cli.corpora._http import Part

    own = folder / archive.name
    if own.is_file():
        if (found := _md5(own, report)) != archive.md5:
            raise DataError(
                f"{own}: its MD5 checksum is {found}, expected {archive.md5} (remove it: it is downloaded again)"
            )
        _unpack(own, folder, archive, report, prepare)
        return
    part = Part.open(own)
    _download(part, folder, archive, mirrors, report)
    _unpack(part.file, folder, archive, report, prepare)
    part.remove()


def _download(part: Part, folder: Path, archive: Archive, mirrors: tuple[str, ...], report: Report) -> None:
    """Download an archive from the first mirror that has it, until its checksum is the published one."""

    # http.client takes longer to import than the help of this command takes
    from ds2cli.corpora._http import TransferError, continue_transfer

    def require_space(size: int | None, done: int) -> None:
        _require_space(folder, archive, size, done)

    failures = []
    for mirror in mirrors:
        url = f"{mirror}/{archive.path}"
        # the beginning may be of another file, and a proxy may change one: once more, from the start
        for _ in range(2):
            was_continued = part.size > 0
            try:
                continue_transfer(part, url, report, require_space)
            except TransferError as e:
                failures.append(f"{url}: {e}")
                report.log(failures[-1])
                break
            except (KeyboardInterrupt, SystemExit):
                report.log(f"{archive.name}: stopped at {format_size(part.size)}: the same command continues")
                raise
            found = _md5(part.file, report)
            if found == archive.md5:
                return
            size = format_size(part.size)
            failures.append(f"{url}: its MD5 checksum is {found} ({size}{_kind(part.file)}), expected {archive.md5}")
            report.log(failures[-1])
            part.reset()
            if not was_continued:
                break
    raise Ds2Error(
        f"{archive.name}: the download failed: {failures[-1]} (try again: it continues, or --mirror ADDRESS)"
    )


def _kind(file: Path) -> str:
    with file.open("rb") as f:
        return ", a web page" if f.read(64).lstrip().lower().startswith((b"<!doctype", b"<html")) else ""


def _require_space(folder: Path, archive: Archive, size: int | None, done: int) -> None:
    """DataError unless the disk has room for the rest of the archive and for its files."""
    if size is None:
        return
    needed, free = size - done + size * archive.unpacked_ratio, shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: {archive.name} needs {format_size(needed)} for itself and its files, "
            f"{format_size(free)} are free (choose a folder on another disk)"
        )


def _md5(file: Path, report: Report) -> str:
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, file.stat().st_size
    with file.open("rb") as f:
        while block := f.read(_BLOCK):
            digest.update(block)
            done += len(block)
            report.update(f"verify {file.name.removesuffix('.part')}", done, total)
    return digest.hexdigest()


def _unpack(file: Path, folder: Path, archive: Archive, report: Report, prepare: Callable[[Path], None] | None) -> None:
    """Unpack an archive into a hidden folder, and move what it has to `folder`, the marker last."""
    from ds2cli.corpora._unpack import unpack

    # walk_files passes over such a name; if this process is killed, the next one removes it
    remove_abandoned_files(folder)
    unfinished = folder / f".{os.getpid()}.part.{archive.marker}"
    lock = FolderLock(str(unfinished), "another process is unpacking into this folder (wait for it)")
    try:
        unpack(file, unfinished, lambda done, total: report.update(f"unpack {archive.name}", done, total))
        top = unfinished / archive.folder
        if not (top / archive.marker).is_dir():
            raise DataError(f"{file}: no folder {archive.folder}/{archive.marker} in this archive")
        if prepare is not None:
            prepare(top)
        os.sync()
        names = sorted(path.name for path in top.iterdir())
        for name in [*(n for n in names if n != archive.marker), archive.marker]:
            target = folder / name
            if name == archive.marker or not target.exists():
                (top / name).rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        lock.release()
