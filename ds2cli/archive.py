"""Kaldi archives of float or compressed matrices; float matrices are memory-mapped. Notation: T rows, D columns.

An archive is a sequence of `id SPACE \\0B matrix`. A row refers to a matrix as `path:byte`, the position of its `\\0B`,
as Kaldi's scp files do. Kaldi, lhotse, ESPnet and kaldi_native_io read archives written here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs
from ds2cli.archive_compressed import (
    Matrix,
    NotAMatrixError,
    OutOfFileError,
    check_sizes,
    compress_matrix,
    compressed_shape,
    decompress,
    take_array,
)
from ds2cli.atomic import extending
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.io import open_out_bytes

MOST_TOUCHED = 256 << 20
"""Bytes of archives that are read before their pages are given back: those in use are mapped again in no time."""

_FAULT = 64 << 10
"""Bytes that the system maps around one that is read."""


class ArkWriter:
    """Write matrices to an archive, which appears when the `with` block succeeds, and otherwise not at all.

    >>> with ArkWriter("feats.1.ark") as ark:
    ...     row["feats"] = ark.write(row["id"], matrix)

    file: where it is written instead, to get its name later; what it has is kept up to `position`.
    """

    def __init__(
        self, path: str | os.PathLike[str], compress: bool = False, file: Path | None = None, position: int = 0
    ) -> None:
        self.path = os.fspath(path)
        self.compress = compress
        self.file = file
        self.position = position
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ArkWriter:
        opened = open_out_bytes(self.path) if self.file is None else extending(self.path, self.file, self.position)
        self._file = self._stack.enter_context(opened)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, key: str, matrix: NDArray[Any]) -> str:
        """Append one matrix under `key` (no spaces); return its `path:byte`.

        matrix: (T, D) float32; float64 is written as such ("DM") and never compressed.
        """
        head = key.encode() + b" "
        body = _encode(matrix, self.compress)
        start = self.position + len(head)
        for part in (head, b"\0B", *body):
            self.position += self._file.write(part)
        return f"{self.path}:{start}"

    def sync(self) -> int:
        """Write everything to disk; returns the size of the archive (bytes)."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.position


def has_key(file: Path, ref: str, key: str) -> bool:
    """Whether a file has the id of a matrix before the byte of its `path:byte`; cheap, for an unfinished archive."""
    head = key.encode() + b" \0B"
    with file.open("rb") as f:
        f.seek(max(0, int(ref.rpartition(":")[2]) + 2 - len(head)))
        return f.read(len(head)) == head


def archive_stem(stage: str, folder: str | None, out: str, default: str) -> str:
    """Where a stage puts its archives: a path without its ending, named after OUT.

    folder: the value of --dir; None for the folder `default` next to OUT. The stem is named `default` if OUT is a pipe.
    UsageError if OUT is a pipe and no folder was given.

    >>> archive_stem("featurize", None, "data/train.jsonl.gz", "feats")
    'data/feats/train'
    """
    file = Path(out)
    is_pipe = out == "-" or (file.exists() and not file.is_file())
    if folder is None and is_pipe:
        raise UsageError(f"{stage}: OUT is a pipe: give a folder for the archives (--dir {default})")
    name = default if is_pipe else file.name.removesuffix(".gz").removesuffix(".jsonl")
    if folder is not None:
        return os.path.join(folder, name)
    # relative, so that a manifest and its archives can be moved together
    return os.path.relpath(file.parent / default / name)


def read_matrix(ref: str, key: str | None = None) -> Matrix:
    """Read the matrix at `path:byte`.

    ref: such as "feats/train.1.ark:8421".
    key: if given, the id that must precede the matrix; detects a row older than its archive.
    Returns (T, D) float32. A float matrix is a read-only view of the mapped file, not a copy.
    BadUtterance "missing-archive", "truncated-archive", "not-a-matrix", "stale-archive".
    """
    path, colon, byte = ref.rpartition(":")
    if not colon or not (byte.isascii() and byte.isdigit()):
        raise BadUtterance("not-a-matrix", f"expected path:byte, got {ref!r}")
    data, offset = _map(path), int(byte)
    if offset > len(data):
        raise BadUtterance("truncated-archive", f"{path} ends before byte {offset}")
    _check_key(ref, key, data, offset)
    try:
        # what float32 cannot hold becomes infinite, and is refused where the matrix is used
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = _decode(data, offset)
    except OutOfFileError:
        raise BadUtterance("truncated-archive", f"{path} ends within the matrix at byte {offset}") from None
    except NotAMatrixError as e:
        raise BadUtterance("not-a-matrix", f"{ref}: {e}") from None
    _count_touched(matrix.nbytes)
    return matrix


def matrix_shape(ref: str, key: str | None = None) -> tuple[int, int]:
    """Rows and columns of the matrix at `path:byte`, without decompressing it. BadUtterance as in `read_matrix`."""
    path, _, byte = ref.rpartition(":")
    if byte.isdecimal():
        data, offset = _map(path), int(byte)
        token = bytes(data[offset + 2 : offset + 6]).partition(b" ")[0]
        if token in (b"CM", b"CM2", b"CM3") and bytes(data[offset : offset + 2]) == b"\0B":
            _check_key(ref, key, data, offset)
            try:
                return compressed_shape(data, offset + 3 + len(token), token)
            except (OutOfFileError, NotAMatrixError):
                pass
    rows, columns = read_matrix(ref, key).shape
    return rows, columns


def map_archive(path: str) -> memoryview:
    """The bytes of an archive, mapped. BadUtterance "missing-archive", "unreadable-archive"."""
    return _map(path)


def forget_pages() -> None:
    """Give the memory of all mapped archives back to the system, which may keep it as a cache of the files.

    Otherwise every page that was ever read counts as memory of this process, in an epoch those of all archives.
    """
    global _touched
    _touched = 0
    for mapped in list(_maps):
        # macOS, where a page in use can be taken back, does without
        if sys.platform == "linux":
            mapped.madvise(mmap.MADV_DONTNEED)


def list_matrices(path: str) -> Iterator[tuple[str, str]]:
    """The id and the `path:byte` of each matrix of an archive, in order. BadUtterance as in `read_matrix`."""
    data, offset = _map(path), 0
    while offset < len(data):
        key = bytes(data[offset : offset + 4096]).partition(b" ")[0]
        offset += len(key) + 1
        rows, columns = matrix_shape(f"{path}:{offset}")
        yield key.decode(errors="replace"), f"{path}:{offset}"
        token, count = bytes(data[offset + 2 : offset + 6]).partition(b" ")[0], rows * columns
        sizes = {b"FM": 15 + 4 * count, b"DM": 15 + 8 * count, b"CM": 21 + 8 * columns + count}
        offset += {**sizes, b"CM2": 22 + 2 * count, b"CM3": 22 + count}[token]


def _check_key(ref: str, key: str | None, data: memoryview, offset: int) -> None:
    if key is None:
        return
    head = key.encode() + b" "
    if bytes(data[max(0, offset - len(head)) : offset]) != head:
        raise BadUtterance(
            "stale-archive", f"{ref}: this is not the matrix of {key!r}: the archive is newer than this row"
        )


_maps: WeakSet[mmap.mmap] = WeakSet()
"""The archives that are mapped."""
_touched = 0
"""Bytes of their pages that may be in memory, at most; those of matrix headers are not counted."""


def _count_touched(size: int) -> None:
    global _touched
    _touched += size + _FAULT
    if _touched > MOST_TOUCHED:
        forget_pages()


def _map(path: str) -> memoryview:
    try:
        inputs.require_file(path)
        stat = Path(path).stat()
        return _mapped(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    except OSError as e:
        reason = "missing-archive" if isinstance(e, FileNotFoundError) else "unreadable-archive"
        raise BadUtterance(reason, f"{path}: {inputs.explain_error(e)}") from e
    # NUL characters and lone surrogates
    except ValueError as e:
        raise BadUtterance("missing-archive", f"{path!r}: not a file name: {e}") from e


@lru_cache(maxsize=256)
def _mapped(path: str, _inode: int, size: int, _mtime_ns: int) -> memoryview:
    """One map per version of an archive; views keep their map alive after it leaves the cache."""
    if size == 0:
        return memoryview(b"")
    with Path(path).open("rb") as f:
        mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.add(mapped)
    return memoryview(mapped)


def _decode(data: memoryview, offset: int) -> Matrix:
    if offset + 5 > len(data):
        raise OutOfFileError
    if bytes(data[offset : offset + 2]) != b"\0B":
        raise NotAMatrixError("no binary matrix starts at this byte")
    token = bytes(data[offset + 2 : offset + 6]).partition(b" ")[0]
    offset += 3 + len(token)
    if token in (b"FM", b"DM"):
        sizes = take_array(data, "u1", offset, 10)
        if sizes[0] != 4 or sizes[5] != 4:
            raise NotAMatrixError("its header does not give the size as two 4-byte integers")
        rows, columns = check_sizes(int(sizes[1:5].view("<i4")[0]), int(sizes[6:10].view("<i4")[0]))
        kind = "<f4" if token == b"FM" else "<f8"
        flat = take_array(data, kind, offset + 10, rows * columns)
        return flat.reshape(rows, columns).astype(np.float32, copy=False)
    if token in (b"CM", b"CM2", b"CM3"):
        return decompress(data, offset, token)
    raise NotAMatrixError(f"expected a matrix, found a Kaldi object of type {token!r}")


def _encode(matrix: NDArray[Any], compress: bool) -> list[Any]:
    rows, columns = matrix.shape
    if compress and matrix.dtype != np.float64 and matrix.size:
        return compress_matrix(np.asarray(matrix, np.float32))
    double = matrix.dtype == np.float64
    body = np.ascontiguousarray(matrix, "<f8" if double else "<f4")
    return [(b"DM " if double else b"FM ") + struct.pack("<bibi", 4, rows, 4, columns), body.data if body.size else b""]
