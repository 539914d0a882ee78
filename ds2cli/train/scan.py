"""The rows of a training set: read, their texts checked and cleaned, and kept as bytes. Nothing is a Python object
but the rows that kernels leave to Python.

Candidates are the rows that can be read; whether they can be used is decided by table_builder.py, when the symbols are
known.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import io, manifest
from ds2cli.audio.recording import Recording, parse_recording
from ds2cli.drops import Ledger
from ds2cli.encoding import MARK, error_handler
from ds2cli.errors import BadUtterance, DataError
from ds2cli.json_lines import explain_document, starts_document
from ds2cli.kernels import row_json, row_scan
from ds2cli.manifest import FIELDS, Row
from ds2cli.text.characters import INVISIBLE
from ds2cli.text.normalize import APOSTROPHES
from ds2cli.text.units import is_unspaced
from ds2cli.train.lint import TextLint, clean_text
from ds2cli.train.table import Space, Store, join_parts, split_parts

CHUNK = 4 << 20
"""Bytes of a manifest that are read at a time; a longer line is read by Python."""

ROWS = 1 << 16
"""Rows that are checked at a time."""

POINTS = 1 << 16
"""Code points below this are counted by the kernel; texts with others are read by Python."""

_ROLES = {
    "id": row_json.ID, "text": row_json.TEXT, "feats": row_json.FEATS, "audio_filepath": row_json.AUDIO,
    "offset": row_json.OFFSET, "duration": row_json.DURATION, "speed": row_json.SPEED, "sample_rate": row_json.RATE,
    "channel": row_json.CHANNEL,
}  # fmt: skip
_SAME_KIND = {
    "speaker": row_json.STRING, "emission": row_json.PATH, "recording": row_json.NAME, "pred_score": row_json.NUMBER,
    "hits": row_json.COUNT, "step_s": row_json.SECONDS, "speed": row_json.FACTOR,
}  # fmt: skip
"""A field of each kind whose values the kernel checks."""


class ManifestRows:
    """The rows of a manifest as `manifest.read` yields them, or without Python objects where `collect` reads them."""

    def __init__(self, path: str, needs: tuple[str, ...], ledger: Ledger | None = None) -> None:
        self.path, self.needs, self.ledger = path, needs, ledger

    def __iter__(self) -> Iterator[Row]:
        return manifest.read(self.path, self.needs, self.ledger)


@dataclass
class Candidate:
    """A row that can be read, with a clean text."""

    id: str
    feats: str
    recording: Recording | None
    text: str

    def as_row(self) -> Row:
        """The row, without the fields that training does not use."""
        r = self.recording
        row: Row = {"id": self.id, "feats": self.feats, "text": self.text}
        if r is not None:
            known = {"offset": r.offset_s, "duration": r.duration_s, "sample_rate": r.rate, "channel": r.channel}
            row |= {"audio_filepath": r.path, "speed": r.speed, **{n: v for n, v in known.items() if v is not None}}
        return row


class Candidates:
    """The rows that can be read, one after another in a pool; sizes: (R, 4) int32, bytes of the parts of each.

    letters: how often each character occurs in the texts.
    """

    def __init__(self) -> None:
        self.space = Space()
        self.pool, self.sizes = Store(self.space, "pool"), Store(self.space, "sizes")
        self.letters: Counter[str] = Counter()

    def __len__(self) -> int:
        return self.sizes.size // 16

    def add(self, row: Row, text: str) -> None:
        """Append one row with its clean text."""
        data, sizes = join_parts(row["id"], row.get("feats") or "", parse_recording(row), text)
        self.pool.append(data)
        self.sizes.append(np.array(sizes, np.int32))
        self.letters.update(text)

    def chunks(self) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int32]]]:
        """The rows, many at a time: where they begin in the pool, their bytes, and their sizes (R, 4)."""
        at = 0
        for begin in range(0, self.sizes.size, 16 * ROWS):
            data = self.sizes.read(begin, min(16 * ROWS, self.sizes.size - begin))
            sizes = np.frombuffer(data, np.int32).reshape(-1, 4)
            size = int(sizes.sum(dtype=np.int64))
            yield at, np.frombuffer(self.pool.read(at, size), np.uint8), sizes
            at += size

    def texts(self) -> Iterator[str]:
        """The text of each row."""
        for _, pool, sizes in self.chunks():
            ends, data = np.cumsum(sizes.sum(axis=1, dtype=np.int64)), pool.tobytes()
            for end, size in zip(ends.tolist(), sizes[:, 3].tolist(), strict=True):
                yield data[end - size : end].decode("utf-8", "surrogatepass")


def read_candidate(data: bytes, sizes: Iterable[int]) -> Candidate:
    """The row whose bytes are `data`."""
    return Candidate(*split_parts(data, [int(size) for size in sizes]))


def collect(rows: Iterable[Row] | ManifestRows, ledger: Ledger, warn: Callable[[str], None]) -> Candidates:
    """Read the rows; drop those that cannot be read or whose text is damaged, then report the findings on the texts."""
    found, lint = Candidates(), TextLint()
    scan = _Scan(rows, found, lint, ledger) if isinstance(rows, ManifestRows) else None
    if scan is None or not scan.run():
        for row in rows:
            _add_clean(row, found, lint, ledger)
    for finding in lint.findings("training"):
        warn(f"train: {finding}")
    return found


def _add_clean(row: Row, found: Candidates, lint: TextLint, ledger: Ledger) -> None:
    lint.add(row["text"])
    try:
        found.add(row, clean_text(row["text"]))
    except BadUtterance as e:
        ledger.drop_error(row["id"], e)


class _Scan:
    """One pass over a manifest file."""

    def __init__(self, rows: ManifestRows, found: Candidates, lint: TextLint, ledger: Ledger) -> None:
        self.path, self.found, self.lint, self.ledger = rows.path, found, lint, ledger
        self.reader = manifest.Reader(rows.path, rows.needs, rows.ledger)
        folder = manifest.base_folder(rows.path)
        self.rebase = folder != ""
        # what comes before a relative path without parts such as . and ..
        prefix = manifest.rebase_path(folder, "x")[:-1] if folder else ""
        self.prefix = np.frombuffer(prefix.encode("utf-8", "surrogateescape"), np.uint8)
        self.classes, self.letters = _ascii_classes(), np.zeros(POINTS, np.int64)
        self.last, self.state = np.zeros(1 << 10, np.uint8), np.zeros(7, np.int64)
        self.pool, self.sizes = np.empty(2 * CHUNK, np.uint8), np.empty((ROWS, 4), np.int32)
        self.keys = field_table()
        self.scratch = new_scratch(len(self.keys[1]))
        self.is_first = True

    def run(self) -> bool:
        """Read the file; False, and nothing is read, if it has to be read as a text."""
        with io.open_utf8(self.path) as stream:
            if stream is None:
                return False
            buffer, used = bytearray(CHUNK), 0
            while True:
                size = stream.readinto(memoryview(buffer)[used:])
                used += size or 0
                if not size and used and buffer[used - 1] != 10:
                    # the last line of a file may have no end
                    if used == len(buffer):
                        buffer.append(10)
                    buffer[used] = 10
                    used += 1
                end = buffer.rfind(b"\n", 0, used) + 1
                self._scan_lines(buffer, end)
                rest = buffer[end:used]
                if not size:
                    break
                if len(rest) == len(buffer):
                    # a line that is longer than the buffer
                    buffer = bytearray(2 * len(buffer))
                buffer[: len(rest)] = rest
                used = len(rest)
        self._flush()
        counts = self.letters.nonzero()[0]
        self.found.letters.update({chr(n): int(self.letters[n]) for n in counts})
        self.lint.texts += int(self.state[row_scan.TEXTS])
        self.lint.several_words += int(self.state[row_scan.SEVERAL])
        if apostrophes := int(self.state[row_scan.APOSTROPHES]):
            self.lint.apostrophes["'"] += apostrophes
        return True

    def _scan_lines(self, buffer: bytearray, end: int) -> None:
        """Read the lines of a buffer up to `end`, where the last of them ends."""
        data, at = np.frombuffer(buffer, np.uint8), 0
        while at < end:
            before = int(self.state[row_scan.ROWS])
            at, why = row_scan.scan_rows(
                data, at, end, self.keys, self.rebase, self.prefix, self.classes, self.last, self.state, self.letters,
                self.pool, self.sizes, self.scratch,
            )  # fmt: skip
            self.is_first &= int(self.state[row_scan.ROWS]) == before
            if why == row_scan.FULL and self.state[row_scan.POOL]:
                self._flush()
            elif why != row_scan.END:
                # a row that does not fit into an empty pool is left to Python, too
                stop = buffer.find(b"\n", at, end)
                self._read_line(bytes(data[at:stop]))
                at = stop + 1

    def _read_line(self, data: bytes) -> None:
        """Read one line as `manifest.read` does."""
        self._flush()
        self.state[row_scan.LINES] += 1
        line = data.decode("utf-8", error_handler("utf-8")).rstrip("\r\n").removeprefix(MARK)
        if not line.strip():
            return
        location = f"{self.path}:{self.state[row_scan.LINES]}"
        if self.is_first and starts_document(line):
            raise DataError(f"{location}: {explain_document(self.path)}")
        self.is_first = False
        if not line.isascii():
            self.classes = character_classes()
        self.reader.last = self.last[: self.state[row_scan.LAST]].tobytes().decode("utf-8", "surrogatepass")
        row = self.reader.read(location, line)
        last = self.reader.last.encode("utf-8", "surrogatepass")
        if len(last) > len(self.last):
            self.last = np.zeros(2 * len(last), np.uint8)
        self.last[: len(last)] = np.frombuffer(last, np.uint8)
        self.state[row_scan.LAST] = len(last)
        if row is not None:
            _add_clean(row, self.found, self.lint, self.ledger)

    def _flush(self) -> None:
        """Move the rows that the kernel has read to the candidates."""
        rows, size = int(self.state[row_scan.ROWS]), int(self.state[row_scan.POOL])
        if rows:
            self.found.pool.append(self.pool[:size])
            self.found.sizes.append(self.sizes[:rows])
        self.state[row_scan.ROWS] = self.state[row_scan.POOL] = 0


@cache
def field_table() -> tuple[NDArray[Any], ...]:
    """The fields that `row_scan.scan_rows` checks: see there."""
    kinds = {FIELDS[name]: role for name, role in _SAME_KIND.items()}
    names = list(FIELDS)
    roles = [_ROLES.get(name, kinds.get(FIELDS[name], row_json.SLOW)) for name in names]
    hashes = [row_json.hash_name(name.encode()) for name in names]
    table = np.full(4 << len(names).bit_length(), -1, np.int32)
    for k, digest in enumerate(hashes):
        slot = next(s for n in itertools.count() if table[s := (digest + n) % len(table)] < 0)
        table[slot] = k
    ends = np.cumsum([len(name) for name in names])
    text = np.frombuffer("".join(names).encode(), np.uint8)
    return table, np.array(hashes, np.uint64), text, ends, np.array(roles, np.int64)


def new_scratch(fields: int) -> tuple[NDArray[Any], ...]:
    """The arrays that `row_scan.scan_rows` works with."""
    spans = np.empty((row_json.CHANNEL - row_json.ID + 1, 2), np.int64)
    return spans, np.empty(fields, np.bool_), np.empty(32, np.uint64), np.empty(3, np.int64)


def _ascii_classes() -> NDArray[np.uint8]:
    classes = np.zeros(POINTS, np.uint8)
    classes[33:127] = row_scan.PLAIN
    classes[32], classes[ord("'")] = row_scan.SPACE, row_scan.APOSTROPHE
    return classes


@cache
def character_classes() -> NDArray[np.uint8]:
    """How the kernel reads each code point: those outside of ASCII that no check of texts can object to are plain."""
    import unicodedata

    classes = _ascii_classes()
    for point in itertools.chain(range(0xA1, 0x1100), range(0x1200, 0xD7B0), range(0xE000, POINTS)):
        c = chr(point)
        # without marks, letters in Unicode form NFC stay so when they are joined; but for parts of Korean syllables
        if unicodedata.category(c)[0] in "LNPS" and unicodedata.is_normalized("NFC", c) and c.isprintable():
            classes[point] = row_scan.UNSPACED if is_unspaced(c) else row_scan.PLAIN
    for c in APOSTROPHES + "\ufffd":
        classes[ord(c)] *= c == "'"
    invisible = [ord(c) for c in map(chr, range(128, POINTS)) if INVISIBLE.match(c)]
    classes[invisible] = 0
    return classes
