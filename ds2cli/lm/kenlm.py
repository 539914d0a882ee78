"""KenLM's binary files of type `probing`: header, vocabulary, hash tables and the words, mapped as they are.

    header       88 bytes that name format and byte order, 20 of parameters, a 64-bit count for each order; padded to 8
    vocabulary   version and V (32 bits each), then hash table: 64-bit hash of a word, its number (32)
    1-grams      log10 probability and backoff (float32) of word 0, 1, …, room for one word more than counted
    n-grams      a hash table for each order: 64-bit key, probability, backoff; the highest order has no backoff
    words        as many as there are, each with a zero byte behind it, <unk> first

Tables have `multiplier` buckets an entry. Source: lm/binary_format, lm/vocab and lm/search_hashed of KenLM (version 5).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli import io
from ds2cli.errors import DataError
from ds2cli.kernels.ngram import VOCABULARY, NgramTables
from ds2cli.kernels.ngram_words import ENTRY, find_words
from ds2cli.lm.arpa import BOS, EOS, UNK

START = b"mmap lm http://kheafield.com/code"
_FORMAT = START + b" format version "
_MAGIC = _FORMAT + b"5\n"
_SANITY = struct.pack("<56s3f3IQ", _MAGIC, 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
_PARAMETERS = struct.Struct("<B3xfI?3xI")
_TYPES = (
    "probing",
    "probing with rest costs",
    "trie",
    "quantised trie",
    "trie with compressed pointers",
    "quantised trie with compressed pointers",
)
BLOCK = 1 << 16
"""Buckets that are looked through at a time for an empty one, of which a table has a third."""
MULTIPLIER = 1.5
"""Buckets an entry, build_binary's choice."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of a file of these counts are, in words of 32 bits. starts, buckets: as in NgramTables."""

    counts: tuple[int, ...]
    multiplier: float
    starts: tuple[int, ...]
    buckets: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, counts: Sequence[int], multiplier: float = MULTIPLIER) -> Layout:
        """The layout of a model of two orders or more."""

        def table(entries: int) -> int:
            # in float32, as KenLM does: the number of buckets must be the same
            return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))

        order = len(counts)
        header = -(-(len(_SANITY) + _PARAMETERS.size + 8 * order) // 8) * 2
        buckets = [table(counts[0]), counts[0] + 1, *(table(n) for n in counts[1:])]
        sizes = [ENTRY, 2, *[4] * (order - 2), 3]
        starts = [header + 2]
        for size, room in zip(sizes, buckets, strict=True):
            starts.append(starts[-1] + size * room)
        return cls(tuple(counts), multiplier, tuple(starts[:-1]), tuple(buckets), starts[-1])

    def header(self) -> bytes:
        """The bytes before the vocabulary."""
        parameters = _PARAMETERS.pack(len(self.counts), self.multiplier, 0, True, 0)
        pack_words = _SANITY + parameters + struct.pack(f"<{len(self.counts)}Q", *self.counts)
        return pack_words.ljust(-(-len(pack_words) // 8) * 8, b"\0")


@dataclass(frozen=True)
class ProbingModel:
    """A model in the layout of the file. spelled: (B,) uint8, its words in UTF-8, each with a zero byte behind it."""

    layout: Layout
    tables: NgramTables
    spelled: NDArray[np.uint8]

    @classmethod
    def over(cls, layout: Layout, data: NDArray[np.uint32], spelled: NDArray[np.uint8]) -> ProbingModel:
        """The model whose header and tables are `data` (D,); DataError when a sentence has no marks in it."""
        data = data.view()
        data.flags.writeable = False
        starts, buckets = np.array(layout.starts, dtype=np.int64), np.array(layout.buckets, dtype=np.uint64)
        for array in (starts, buckets):
            array.flags.writeable = False
        tables = NgramTables(data, data.view(np.float32), starts, buckets, len(layout.counts), 0, 0, 0)
        marks = np.empty(2, dtype=np.int32)
        find_words(tables, *pack_words([BOS, EOS]), marks)
        for mark, number in zip((BOS, EOS), marks, strict=True):
            if number == tables.unk:
                raise DataError(f"no 1-gram {mark}, expected a model of whole sentences")
        return cls(layout, tables._replace(bos=int(marks[0]), eos=int(marks[1])), spelled)

    @property
    def size(self) -> int:
        """V, <unk> included."""
        return int(self.tables.data[self.layout.starts[VOCABULARY] - 1])

    def words(self) -> list[str]:
        """The words by their numbers."""
        # a word that is no UTF-8 keeps its place; no alphabet spells it
        return self.spelled[:-1].tobytes().decode("utf-8", "surrogateescape").split("\0")

    def write(self, path: str) -> None:
        """Write the binary file, which KenLM loads too."""
        with io.open_out_bytes(path) as f:
            f.write(self.tables.data.data)
            f.write(self.spelled.data)


def pack_words(words: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 bytes (B,) of words one after the other, and (L,) where each ends."""
    # a word that is no Unicode is looked for and not found
    encoded = [w.encode("utf-8", "surrogatepass") for w in words]
    ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def is_binary(path: str) -> bool:
    """Whether a file says it is one of KenLM's, of whatever type. A pipe is not: it cannot be mapped."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as f:
            return f.read(len(START)) == START
    except OSError:
        return False


def open_binary(path: str) -> ProbingModel:
    """Map a binary file for reading; DataError when it is broken or of another type, with the command that helps."""
    try:
        with Path(path).open("rb") as f:
            mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be mapped ({e})") from e
    if hasattr(mmap, "MADV_WILLNEED"):
        # queries jump about: read the file once in its order, in the background, instead of page by page
        mapped.madvise(mmap.MADV_WILLNEED)
    layout = _read_header(path, mapped)
    if len(mapped) < 4 * layout.end:
        raise DataError(f"{path}: {len(mapped)} bytes, expected {4 * layout.end} or more (is the file whole?)")
    data = np.frombuffer(mapped, dtype=np.uint32, count=layout.end)
    _check_room(path, layout, data)
    try:
        model = ProbingModel.over(layout, data, np.frombuffer(mapped, dtype=np.uint8, offset=4 * layout.end))
    except DataError as e:
        raise DataError(f"{path}: {e}") from e
    _check_words(path, model)
    return model


def _read_header(path: str, raw: mmap.mmap) -> Layout:
    rebuild = f"(fix: build_binary probing model.arpa {Path(path).name}, from the ARPA file it was made of)"
    head = raw[: len(_SANITY)]
    if len(raw) < len(_SANITY) + _PARAMETERS.size:
        raise DataError(f"{path}: a KenLM binary cut off in its header {rebuild}")
    if head.startswith(_FORMAT) and not head.startswith(_MAGIC):
        version = head[len(_FORMAT) :].split(b"\n")[0].decode(errors="replace")
        raise DataError(f"{path}: a KenLM binary of format version {version}, expected 5 {rebuild}")
    if not head.startswith(_FORMAT):
        raise DataError(f"{path}: a KenLM binary that was never finished {rebuild}")
    if head != _SANITY:
        raise DataError(f"{path}: a KenLM binary of a machine with another byte order {rebuild}")
    order, multiplier, kind, has_words, version = _PARAMETERS.unpack_from(raw, len(_SANITY))
    if kind != 0:
        name = _TYPES[kind] if kind < len(_TYPES) else f"number {kind}"
        raise DataError(f"{path}: a KenLM binary of type {name}, expected probing {rebuild}")
    if version != 0 or order < 2 or not 1.0 <= multiplier < np.inf:
        raise DataError(f"{path}: a KenLM binary with an odd header (order {order}, version {version}) {rebuild}")
    if not has_words:
        raise DataError(f"{path}: a KenLM binary without its words {rebuild}")
    try:
        counts = struct.unpack_from(f"<{order}Q", raw, len(_SANITY) + _PARAMETERS.size)
    except struct.error:
        raise DataError(f"{path}: a KenLM binary cut off in its header {rebuild}") from None
    if max(counts) >= 1 << 48:
        raise DataError(f"{path}: a KenLM binary of {max(counts)} n-grams (is the file whole?) {rebuild}")
    return Layout.of(counts, multiplier)


def _check_room(path: str, layout: Layout, data: NDArray[np.uint32]) -> None:
    """Refuse a file with a table that has no empty bucket: what is not in it would be looked for without an end."""
    order = len(layout.counts)
    for table, size in [(VOCABULARY, ENTRY), *((n, 4 if n < order else 3) for n in range(2, order + 1))]:
        start, buckets = layout.starts[table], layout.buckets[table]
        for at in range(0, buckets, BLOCK):
            block = data[start + size * at : start + size * min(buckets, at + BLOCK)].reshape(-1, size)
            if not (block[:, 0] | block[:, 1]).all():
                break
        else:
            raise DataError(f"{path}: a table of {buckets} entries is full (is the file whole?)")


def _check_words(path: str, model: ProbingModel) -> None:
    """Refuse a file whose words and vocabulary do not agree: numbers past the tables would be read past their end."""
    layout, data, spelled = model.layout, model.tables.data, model.spelled
    at = layout.starts[VOCABULARY]
    highest = int(data[at + 2 : layout.starts[1] : ENTRY].max(initial=0))
    room = layout.buckets[1]
    if data[at - 2] != 0 or model.size > room or highest >= model.size:
        raise DataError(f"{path}: a broken vocabulary, {model.size} words in room for {room} (is the file whole?)")
    words = int(np.count_nonzero(spelled == 0))
    if words != model.size or spelled[-1] != 0 or spelled[:6].tobytes() != f"{UNK}\0".encode():
        raise DataError(f"{path}: {words} words at the end, expected {model.size}, <unk> first (is the file whole?)")
