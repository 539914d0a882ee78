"""KenLM's binary files of type `probing`, memory-mapped: header, vocabulary, hash tables and words.

    header       88 bytes identifying format and byte order, 20 of parameters, a 64-bit count per order; padded to 8
    vocabulary   version and V (32 bits each), then a hash table: 64-bit hash of a word, its id (32 bits)
    1-grams      log10 probability and back-off weight (float32) of each word id; one entry more than counted
    n-grams      a hash table per order: 64-bit key, probability, back-off weight (absent in the highest order)
    words        UTF-8, each followed by a zero byte, <unk> first

Tables have `multiplier` buckets per entry. Source: lm/binary_format, lm/vocab and lm/search_hashed of KenLM, version 5.
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
from ds2cli.experiment_files import HASHED_LM, LM, is_bundle, open_files
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
    "quantized trie",
    "trie with compressed pointers",
    "quantized trie with compressed pointers",
)
BLOCK = 1 << 16
"""Buckets searched at a time for an empty one; a third of a table is empty."""
MULTIPLIER = 1.5
"""Buckets per entry; the default of build_binary."""


@dataclass(frozen=True)
class Layout:
    """Offsets of the parts of a file with these counts, in 32-bit words. starts, buckets: as in NgramTables."""

    counts: tuple[int, ...]
    multiplier: float
    starts: tuple[int, ...]
    buckets: tuple[int, ...]
    end: int

    @classmethod
    def for_counts(cls, counts: Sequence[int], multiplier: float = MULTIPLIER) -> Layout:
        """The layout of a model of order 2 or more."""

        def table(entries: int) -> int:
            # in float32, as in KenLM: the number of buckets must be the same
            return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))

        order = len(counts)
        header = -(-(len(_SANITY) + _PARAMETERS.size + 8 * order) // 8) * 2
        buckets = [table(counts[0]), counts[0] + 1, *(table(n) for n in counts[1:])]
        sizes = [ENTRY, 2, *[4] * (order - 2), 3]
        starts = [header + 2]
        for size, count in zip(sizes, buckets, strict=True):
            starts.append(starts[-1] + size * count)
        return cls(tuple(counts), multiplier, tuple(starts[:-1]), tuple(buckets), starts[-1])

    def header(self) -> bytes:
        """The bytes that precede the vocabulary."""
        parameters = _PARAMETERS.pack(len(self.counts), self.multiplier, 0, True, 0)
        raw = _SANITY + parameters + struct.pack(f"<{len(self.counts)}Q", *self.counts)
        return raw.ljust(-(-len(raw) // 8) * 8, b"\0")


@dataclass(frozen=True)
class ProbingModel:
    """A model in the layout of the file. words_utf8: (B,) uint8, its words, each followed by a zero byte."""

    layout: Layout
    tables: NgramTables
    words_utf8: NDArray[np.uint8]

    @classmethod
    def from_arrays(cls, layout: Layout, data: NDArray[np.uint32], words_utf8: NDArray[np.uint8]) -> ProbingModel:
        """The model whose header and tables are `data` (D,); DataError without <s> or </s>."""
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
                raise DataError(f"no 1-gram {mark}: expected a model estimated from sentences, with <s> and </s>")
        return cls(layout, tables._replace(bos=int(marks[0]), eos=int(marks[1])), words_utf8)

    @property
    def size(self) -> int:
        """Vocabulary size V, including <unk>."""
        return int(self.tables.data[self.layout.starts[VOCABULARY] - 1])

    def words(self) -> list[str]:
        """The words by id."""
        # a word that is not UTF-8 keeps its id; no network can write it
        return self.words_utf8[:-1].tobytes().decode("utf-8", "surrogateescape").split("\0")

    def write(self, path: str) -> None:
        """Write the binary file; KenLM can load it."""
        with io.open_out_bytes(path) as f:
            f.write(self.tables.data.data)
            f.write(self.words_utf8.data)


def pack_words(words: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The concatenated UTF-8 bytes (B,) of words, and the end of each (L,)."""
    # surrogates (undecodable bytes) may be looked up; they are out of vocabulary
    encoded = [w.encode("utf-8", "surrogatepass") for w in words]
    ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def is_binary(path: str) -> bool:
    """Whether a file is a KenLM binary of any type, or a bundle, which has one. A pipe is not: it cannot be mapped."""
    try:
        if is_bundle(path):
            return True
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as f:
            return f.read(len(START)) == START
    except OSError:
        return False


def open_binary(path: str) -> ProbingModel:
    """Map a binary file, or the one in a bundle, for reading.

    DataError with the command to run when it is damaged or of another type, or a bundle has none.
    """
    mapped = _map_bundled(path) if is_bundle(path) else _map_file(path)
    layout = _read_header(path, mapped)
    if len(mapped) < 4 * layout.end:
        raise DataError(f"{path}: expected at least {4 * layout.end} bytes, got {len(mapped)} (is the file complete?)")
    data = np.frombuffer(mapped, dtype=np.uint32, count=layout.end)
    _check_empty_buckets(path, layout, data)
    try:
        model = ProbingModel.from_arrays(layout, data, np.frombuffer(mapped, dtype=np.uint8, offset=4 * layout.end))
    except DataError as e:
        raise DataError(f"{path}: {e}") from e
    _check_words(path, model)
    return model


def _map_bundled(path: str) -> memoryview:
    mapped = open_files(path).map(LM, HASHED_LM)
    if mapped is None:
        raise DataError(f"{path}: this bundle has no language model (ds2 export --lm FILE adds one)")
    return mapped


def _map_file(path: str) -> memoryview:
    try:
        with Path(path).open("rb") as f:
            mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be mapped ({e})") from e
    if hasattr(mmap, "MADV_WILLNEED"):
        # queries access pages at random: have the whole file read sequentially in the background first
        mapped.madvise(mmap.MADV_WILLNEED)
    return memoryview(mapped)


def _read_header(path: str, raw: memoryview) -> Layout:
    rebuild = f"(build_binary probing model.arpa {Path(path).name}, from the original ARPA file)"
    head = bytes(raw[: len(_SANITY)])
    if len(raw) < len(_SANITY) + _PARAMETERS.size:
        raise DataError(f"{path}: a KenLM binary truncated in its header {rebuild}")
    if head.startswith(_FORMAT) and not head.startswith(_MAGIC):
        version = head[len(_FORMAT) :].split(b"\n")[0].decode(errors="replace")
        raise DataError(f"{path}: a KenLM binary of another format version: expected 5, got {version} {rebuild}")
    if not head.startswith(_FORMAT):
        raise DataError(f"{path}: a KenLM binary that was not completely written {rebuild}")
    if head != _SANITY:
        raise DataError(f"{path}: a KenLM binary from a machine with another byte order {rebuild}")
    order, multiplier, kind, has_words, version = _PARAMETERS.unpack_from(raw, len(_SANITY))
    if kind != 0:
        name = _TYPES[kind] if kind < len(_TYPES) else str(kind)
        raise DataError(f"{path}: a KenLM binary of another type: expected probing, got {name} {rebuild}")
    if version != 0 or order < 2 or not 1.0 <= multiplier < np.inf:
        raise DataError(f"{path}: a KenLM binary with an invalid header: order {order}, version {version} {rebuild}")
    if not has_words:
        raise DataError(f"{path}: a KenLM binary without its vocabulary strings {rebuild}")
    try:
        counts = struct.unpack_from(f"<{order}Q", raw, len(_SANITY) + _PARAMETERS.size)
    except struct.error:
        raise DataError(f"{path}: a KenLM binary truncated in its header {rebuild}") from None
    if max(counts) >= 1 << 48:
        raise DataError(f"{path}: a KenLM binary with an invalid header: {max(counts)} n-grams {rebuild}")
    return Layout.for_counts(counts, multiplier)


def _check_empty_buckets(path: str, layout: Layout, data: NDArray[np.uint32]) -> None:
    """Refuse a file with a table that has no empty bucket: looking up a missing key would never end."""
    order = len(layout.counts)
    for table, size in [(VOCABULARY, ENTRY), *((n, 4 if n < order else 3) for n in range(2, order + 1))]:
        start, buckets = layout.starts[table], layout.buckets[table]
        for first in range(0, buckets, BLOCK):
            block = data[start + size * first : start + size * min(buckets, first + BLOCK)].reshape(-1, size)
            if not (block[:, 0] | block[:, 1]).all():
                break
        else:
            raise DataError(f"{path}: a hash table of {buckets} buckets has no empty one (is the file complete?)")


def _check_words(path: str, model: ProbingModel) -> None:
    """Refuse a file whose words and vocabulary differ: ids out of range would read past the end of the tables."""
    layout, data, words_utf8 = model.layout, model.tables.data, model.words_utf8
    pos = layout.starts[VOCABULARY]
    highest = int(data[pos + 2 : layout.starts[1] : ENTRY].max(initial=0))
    capacity = layout.buckets[1]
    if data[pos - 2] != 0 or model.size > capacity or highest >= model.size:
        raise DataError(
            f"{path}: invalid vocabulary: {model.size} words, at most {capacity} expected (is the file complete?)"
        )
    words = int(np.count_nonzero(words_utf8 == 0))
    if words != model.size or words_utf8[-1] != 0 or words_utf8[:6].tobytes() != f"{UNK}\0".encode():
        raise DataError(
            f"{path}: expected {model.size} words at the end, <unk> first, got {words} (is the file complete?)"
        )
