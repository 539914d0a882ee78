"""Unpacks tar and ZIP archives; no file leaves the folder that they are unpacked to."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ds2cli import inputs
from ds2cli.errors import DataError

_ZIP = b"PK\x03\x04"
_SHOW_EVERY = 256
"""Files between two calls of `show`."""

Show = Callable[[int, int], None]


def unpack(archive: Path, folder: Path, show: Show = lambda done, total: None) -> None:
    """Unpack an archive into an existing folder.

    show: called with the bytes of the archive that are done, and its size.
    DataError if it is broken, or has a file outside of `folder`, a device, or a link that leads out of it.
    """
    try:
        with archive.open("rb") as f:
            is_zip = f.read(len(_ZIP)) == _ZIP
            f.seek(0)
            (_unpack_zip if is_zip else _unpack_tar)(f, archive.stat().st_size, folder, show)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as e:
        # of a file that is no archive, tarfile has a line for each format
        reason = str(e).partition("\n")[0].rstrip(":")
        raise DataError(f"{archive}: broken archive: {reason} (download it again)") from e
    except OSError as e:
        raise DataError(f"{e.filename or archive}: {inputs.explain_error(e)}") from e


def _unpack_tar(f: BinaryIO, size: int, folder: Path, show: Show) -> None:
    with tarfile.open(fileobj=f, mode="r:*") as tar:
        # Python 3.11.0 to 3.11.3 do not have it
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        for number, member in enumerate(tar):
            _require_inside(f.name, member.name)
            if not (member.isdir() or member.isreg()):
                raise DataError(f"{f.name}: not unpacked, as {member.name!r} is a link or a device, expected a file")
            # of macOS: attributes of the file of that name
            if not Path(member.name).name.startswith("._"):
                tar.extract(member, folder)
            if number % _SHOW_EVERY == 0:
                show(f.tell(), size)


def _unpack_zip(f: BinaryIO, size: int, folder: Path, show: Show) -> None:
    with zipfile.ZipFile(f) as packed:
        for number, member in enumerate(packed.infolist()):
            _require_inside(f.name, member.filename)
            if "__MACOSX" not in Path(member.filename).parts:
                packed.extract(member, folder)
            if number % _SHOW_EVERY == 0:
                show(f.tell(), size)


def _require_inside(archive: str, name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{archive}: not unpacked, as {name!r} is outside of its folder")
