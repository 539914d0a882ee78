"""The training set as a table in files: an utterance is an object only while it is used. R utterances.

Ten million utterances are a few hundred bytes each: their ids, references, recordings and texts lie one after another
in a file, and an index of 32 bytes says where. Both are read by `pread`, so that no page of them counts as memory of
this process, and another process of the training gets the names of the files instead of the data. What is small stays
in memory. Labels are not stored: they follow from the text.

The files are in a private folder in $TMPDIR, which is removed with the table; that of a killed process is removed by
the next training of the same user.
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs
from ds2cli.atomic import temporary_folder
from ds2cli.audio.recording import Recording
from ds2cli.errors import DataError
from ds2cli.text.vocab import Vocab
from ds2cli.train.examples import Utterance

IN_MEMORY = 16 << 20
"""Bytes of a store up to which it needs no file."""

INDEX = np.dtype([("at", "<i8"), ("sizes", "<i4", (4,)), ("frames", "<i4"), ("needed", "<i4")])
"""Of each utterance: where its id, reference to features, recording and text begin, and their bytes; its frames, and
those that its labels need."""

_ROWS = 1 << 16


class Space:
    """A private folder that is created when the first file is needed, and removed with this object."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None
        self._close = weakref.finalize(self, self._stack.close)

    def file(self, name: str) -> Path:
        """The path of a file in the folder."""
        if self._folder is None:
            self._folder = self._stack.enter_context(temporary_folder("ds2-rows-"))
        return self._folder / name


class Store:
    """Bytes that are appended, and read at any place; in memory up to IN_MEMORY, then in a file."""

    def __init__(self, space: Space | None, name: str) -> None:
        self.size = 0
        self._space, self._name = space, name
        self._bytes = bytearray()
        self._path: Path | None = None
        self._descriptor = -1

    def append(self, data: Any) -> None:
        """Append bytes, or the bytes of an array. DataError if the disk does not hold them."""
        data = memoryview(data).cast("B")
        self.size += len(data)
        if self._path is None and self.size <= IN_MEMORY:
            self._bytes += data
            return
        try:
            self._write(data)
        except OSError as e:
            place = self._path or "a folder for temporary files"
            reason = inputs.explain_error(e)
            raise DataError(f"train: {place}: cannot be written: {reason} (set TMPDIR to a folder with space)") from e

    def _write(self, data: memoryview) -> None:
        if self._path is None:
            assert self._space is not None
            self._path = self._space.file(self._name)
            self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
            data = memoryview(bytes(self._bytes) + bytes(data))
            self._bytes = bytearray()
        while len(data):
            data = data[os.write(self._descriptor, data) :]

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from `at` on."""
        if self._path is None:
            return bytes(self._bytes[at : at + size])
        if self._descriptor < 0:
            self._open(os.O_RDONLY)
        # a read returns at most 2 GiB
        parts = []
        while size and (part := os.pread(self._descriptor, size, at)):
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _open(self, flags: int) -> None:
        assert self._path is not None
        self._descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, self._descriptor)

    def __getstate__(self) -> dict[str, Any]:
        """In another process the file is opened when it is read; this process removes it."""
        return {**self.__dict__, "_space": None, "_descriptor": -1}


@dataclass(frozen=True, eq=False)
class UtteranceTable(Sequence[Utterance]):
    """The utterances of a training set, in the order of its manifest.

    pool: the bytes of all of them.  rows: INDEX of each.  fingerprint: what `examples.fingerprint` computes of them.
    """

    pool: Store
    rows: Store
    vocab: Vocab
    fingerprint: str
    space: Space | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.rows.size // INDEX.itemsize

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> list[Utterance]: ...
    def __getitem__(self, place: int | slice) -> Utterance | list[Utterance]:
        rows = range(len(self))[place]
        return self._utterance(rows) if isinstance(rows, int) else [self._utterance(row) for row in rows]

    def __iter__(self) -> Iterator[Utterance]:
        return map(self._utterance, range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Another process has the files, but does not remove them; it counts the frames itself."""
        return {**{name: getattr(self, name) for name in ("pool", "rows", "vocab", "fingerprint")}, "space": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def num_frames(self) -> NDArray[np.int32]:
        """Frames of each utterance, (R,)."""
        return self._column("frames")

    @property
    def min_frames(self) -> NDArray[np.int32]:
        """Frames that the labels of each utterance need, (R,)."""
        return self._column("needed")

    def read_id(self, place: int) -> str:
        """The id of an utterance, without the rest of it."""
        (entry,) = np.frombuffer(self.rows.read(place * INDEX.itemsize, INDEX.itemsize), INDEX)
        return _decode(self.pool.read(int(entry["at"]), int(entry["sizes"][0])))

    def read_ids(self) -> Iterator[list[str]]:
        """The ids, many at a time."""
        for entries in self._read_index():
            begin = int(entries["at"][0])
            end = int(entries["at"][-1]) + int(entries["sizes"][-1].sum())
            data = self.pool.read(begin, end - begin)
            spans = zip((entries["at"] - begin).tolist(), entries["sizes"][:, 0].tolist(), strict=True)
            yield [_decode(data[at : at + size]) for at, size in spans]

    def read_recordings(self, places: NDArray[np.int64]) -> list[Recording | None]:
        """The recordings of the utterances at ascending places, which are near to each other."""
        first, last = int(places[0]), int(places[-1]) + 1
        data = self.rows.read(first * INDEX.itemsize, (last - first) * INDEX.itemsize)
        entries = np.frombuffer(data, INDEX)[places - first]
        begin, sizes = int(entries["at"][0]), entries["sizes"]
        pool = self.pool.read(begin, int(entries["at"][-1]) + int(sizes[-1].sum()) - begin)
        starts = entries["at"] - begin + sizes[:, 0] + sizes[:, 1]
        spans = zip(starts.tolist(), sizes[:, 2].tolist(), strict=True)
        values = json.loads(b"[" + b",".join(pool[at : at + size] or b"null" for at, size in spans) + b"]")
        return [value and Recording(*value) for value in values]

    def _column(self, name: str) -> NDArray[np.int32]:
        column = np.empty(len(self), np.int32)
        for n, entries in enumerate(self._read_index()):
            column[n * _ROWS : n * _ROWS + len(entries)] = entries[name]
        return column

    def _read_index(self) -> Iterator[NDArray[Any]]:
        for begin in range(0, len(self), _ROWS):
            size = min(_ROWS, len(self) - begin)
            yield np.frombuffer(self.rows.read(begin * INDEX.itemsize, size * INDEX.itemsize), INDEX)

    def _utterance(self, row: int) -> Utterance:
        (entry,) = np.frombuffer(self.rows.read(row * INDEX.itemsize, INDEX.itemsize), INDEX).tolist()
        at, sizes, frames, needed = entry
        sizes = [int(size) for size in sizes]
        name, feats, recording, text = split_parts(self.pool.read(at, sum(sizes)), sizes)
        labels = np.array(self.vocab.encode(text), np.int32)
        return Utterance(name, feats, frames, labels, text, needed, recording)


def split_parts(data: bytes, sizes: Sequence[int]) -> tuple[str, str, Recording | None, str]:
    """Id, reference to features, recording and text of an utterance in a pool."""
    a, b, c = sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]
    recording = Recording(*json.loads(data[b:c])) if c > b else None
    return _decode(data[:a]), _decode(data[a:b]), recording, _decode(data[c:])


def join_parts(name: str, feats: str, recording: Recording | None, text: str) -> tuple[bytes, list[int]]:
    """The bytes of an utterance in a pool, and those of each part; the inverse of `split_parts`."""
    shown = b""
    if recording is not None:
        r = recording
        values = r.path, r.offset_s, r.duration_s, r.speed, r.rate, r.channel
        shown = json.dumps(values, separators=(",", ":")).encode()
    parts = [_encode(name), _encode(feats), shown, _encode(text)]
    return b"".join(parts), [len(part) for part in parts]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
