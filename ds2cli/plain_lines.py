"""Lines of a manifest that a kernel reads and copies; see manifest_lines.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import manifest
from ds2cli.kernels import line_scan, row_json
from ds2cli.manifest import FIELDS
from ds2cli.manifest_lines import BadLine, Line, PathChange

LINES = 1 << 14
"""Lines that the kernel reads at a time."""

ReadLine = Callable[[str, int], Line | BadLine | None]
"""Reads a line of this number that is not plain; None if it is empty."""


class PlainLines:
    """Reads lines of a manifest with `kernels/line_scan.py`."""

    def __init__(self, fields: tuple[str, ...], paths: PathChange, chunk: int) -> None:
        wanted = tuple(dict.fromkeys(("id", *fields)))
        self._columns = [wanted.index(name) for name in fields]
        self._keys = field_table(wanted)
        prefix, part = (np.frombuffer(text.encode(), np.uint8) for text in (paths.prefix, paths.part))
        self._paths = prefix, part, not paths.is_kept
        lines = min(LINES, max(chunk >> 6, 1))
        self._bounds = np.empty((lines, 3), np.int64)
        self._spans = np.empty((lines, len(wanted), 2), np.int64)
        self._durations = np.empty(lines, np.float64)
        self._chunk = chunk
        self._scratch = np.empty(len(self._keys[1]), np.bool_), np.empty(32, np.uint64)
        self._out = np.empty(0, np.uint8)

    def read(self, text: str, number: int, read_line: ReadLine) -> Iterator[Line | BadLine]:
        """Each line of a text that is not empty. number: of the first."""
        source = text.encode("utf-8", "surrogatepass")
        data, at = np.frombuffer(source, np.uint8), 0
        while at < len(data):
            rows, at, why = line_scan.scan_lines(
                data, at, self._keys, self._paths, self._out, self._bounds, self._spans, self._durations, self._scratch
            )
            if why == line_scan.FULL and not rows:
                self._grow(source, at)
                continue
            yield from self._lines(rows, number, source, read_line)
            number += rows

    def _grow(self, source: bytes, at: int) -> None:
        """Make space for the next line, and for many of usual size."""
        size = source.find(b"\n", at) - at
        self._out = np.empty(max(self._chunk // 2, size + 3 * len(self._paths[0]) + 64), np.uint8)

    def _lines(self, rows: int, number: int, source: bytes, read_line: ReadLine) -> Iterator[Line | BadLine]:
        bounds = self._bounds[:rows]
        plain = bounds[:, 2] == 1
        used = int(bounds[plain, 1].max(initial=0))
        data = self._out[:used].tobytes()
        text: Any = data.decode("ascii") if data.isascii() else None
        spans = self._spans[:rows].reshape(rows, -1).T.tolist()
        columns = [self._cut(data, text, plain, *spans[2 * k : 2 * k + 2]) for k in self._columns]
        values: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if columns else itertools.repeat((), rows)
        numbers = itertools.count(number)
        begins, stops, _ = bounds.T.tolist()
        durations = self._durations[:rows].tolist()
        for i, begin, stop, is_plain, a, b, duration, found in zip(
            numbers, begins, stops, plain.tolist(), spans[0], spans[1], durations, values, strict=False
        ):
            if is_plain:
                if text is not None:
                    yield Line(text[a:b], i, text[begin:stop], duration, found)
                else:
                    yield Line(data[a:b].decode(), i, data[begin:stop].decode(), duration, found)
                continue
            if (other := read_line(source[begin:stop].decode("utf-8", "surrogatepass"), i)) is not None:
                yield other

    def _cut(
        self, data: bytes, text: str | None, plain: NDArray[np.bool_], begins: list[int], ends: list[int]
    ) -> list[str | None]:
        """The values of one field in each line."""
        if text is not None:
            return [text[a:b] if a >= 0 else None for a, b in zip(begins, ends, strict=True)]
        found = zip(begins, ends, plain.tolist(), strict=True)
        return [data[a:b].decode() if a >= 0 and is_plain else None for a, b, is_plain in found]


@lru_cache(16)
def field_table(wanted: tuple[str, ...]) -> tuple[NDArray[Any], ...]:
    """The fields that `line_scan.scan_lines` knows, see there. wanted: those with a column."""
    kind_of = {
        FIELDS["speaker"][0]: row_json.STRING,
        FIELDS["emission"][0]: row_json.PATH,
        FIELDS["recording"][0]: row_json.NAME,
        FIELDS["pred_score"][0]: row_json.NUMBER,
        FIELDS["hits"][0]: row_json.COUNT,
        FIELDS["step_s"][0]: row_json.SECONDS,
        FIELDS["speed"][0]: row_json.FACTOR,
    }
    names = list(dict.fromkeys([*FIELDS, *wanted]))
    kinds = [kind_of.get(FIELDS[name][0], row_json.SLOW) if name in FIELDS else row_json.OTHER for name in names]
    notes = {"duration": line_scan.DURATION, **dict.fromkeys(manifest.PATH_FIELDS, line_scan.RELATIVE)}
    hashes = [row_json.hash_name(name.encode()) for name in names]
    table = np.full(4 << len(names).bit_length(), -1, np.int32)
    for k, digest in enumerate(hashes):
        slot = next(s for n in itertools.count() if table[s := (digest + n) % len(table)] < 0)
        table[slot] = k
    columns = [wanted.index(name) if name in wanted else -1 for name in names]
    return (
        table,
        np.array(hashes, np.uint64),
        np.frombuffer("".join(names).encode(), np.uint8),
        np.cumsum([len(name.encode()) for name in names]),
        np.array(kinds, np.int64),
        np.array(columns, np.int64),
        np.array([notes.get(name, line_scan.NOTHING) for name in names], np.int64),
    )
