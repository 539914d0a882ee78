"""Reading and writing ARPA files, the text format of back-off n-gram models that KenLM and SRILM use too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli import io
from ds2cli.encoding import explain_undecodable, to_utf8
from ds2cli.errors import DataError
from ds2cli.kernels import ngram_arpa as kernels

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
LOG10_ZERO = -99.0
"""How ARPA files write the logarithm of a probability or back-off weight of 0."""

_FAULTS = {
    kernels.SHORT_LINE: "expected {n} word(s) after the probability of a {n}-gram",
    kernels.BAD_NUMBER: "expected a finite number",
    kernels.POSITIVE: "expected a log10 probability of 0 or less",
    kernels.UNKNOWN_WORD: "a word is not among the 1-grams",
    kernels.DUPLICATE: "this n-gram is listed twice",
}
_CHUNK = 1 << 18
"""N-grams formatted per chunk of text."""


@dataclass(frozen=True)
class Section:
    """The n-grams of one order. ids: (C, n) int32.  log10_prob, log10_backoff: (C,) float32, 0 where not given."""

    ids: NDArray[np.int32]
    log10_prob: NDArray[np.float32]
    log10_backoff: NDArray[np.float32]


@dataclass(frozen=True)
class Arpa:
    """A complete model. words: those of the 1-grams, in order.  sections: one per order."""

    words: list[str]
    sections: list[Section]

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.sections)

    @property
    def counts(self) -> list[int]:
        """Number of n-grams of each order."""
        return [len(s.ids) for s in self.sections]


def read(path: str) -> Arpa:
    """Read an ARPA file, gzipped or not; DataError with `path:line` when it is malformed."""
    raw = to_utf8(io.read_bytes(path))
    text = np.frombuffer(raw, dtype=np.uint8)
    counts, pos = _header(path, raw)
    sections: list[Section] = []
    slots = np.full(_power_of_two(2 * counts[0] + 2), -1, dtype=np.int64)
    spans = np.zeros((counts[0], 2), dtype=np.int64)
    for n, count in enumerate(counts, start=1):
        pos = _section_start(path, raw, pos, n)
        ids = np.empty((count, n), dtype=np.int32)
        probs, backoffs = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
        pos, fault = kernels.parse_section(text, pos, n, slots, spans, ids, probs, backoffs)
        if fault:
            raise DataError(f"{path}:{_line_number(raw, pos)}: {_FAULTS[fault].format(n=n)}, got {_line(raw, pos)!r}")
        sections.append(Section(ids, probs, backoffs))
    if not re.match(rb"\s*\\end\\", raw[pos : pos + 200]):
        raise DataError(
            f"{path}:{_line_number(raw, pos)}: expected \\end\\, got {_line(raw, pos)!r} (is the file complete?)"
        )
    words = [raw[start:end].decode("utf-8", "surrogateescape") for start, end in spans.tolist()]
    for word, start in zip(words, spans[:, 0], strict=True):
        if error := explain_undecodable(word, path):
            raise DataError(f"{path}:{_line_number(raw, start)}: {error}")
    return Arpa(words, sections)


def read_counts(path: str) -> list[int]:
    """Number of n-grams of each order, from the header of an uncompressed ARPA file."""
    with Path(path).open("rb") as f:
        return _header(path, f.read(4096), complete=False)[0]


def lines(model: Arpa) -> Iterator[str]:
    """The text of an ARPA file in large chunks: n-grams in the order of the sections, seven decimals."""
    yield "\\data\\\n" + "".join(f"ngram {n}={count}\n" for n, count in enumerate(model.counts, start=1))
    encoded = [word.encode() for word in model.words]
    letters = np.frombuffer(b"".join(encoded) or b" ", dtype=np.uint8)
    starts = np.concatenate([[0], np.cumsum([len(w) for w in encoded])]).astype(np.int64)
    longest = max(len(w) for w in encoded) + 1
    for n, section in enumerate(model.sections, start=1):
        yield f"\n\\{n}-grams:\n"
        for low in range(0, len(section.ids), _CHUNK):
            part = slice(low, low + _CHUNK)
            ids = section.ids[part]
            backoffs = section.log10_backoff[part] if n < model.order else np.empty(0, dtype=np.float32)
            size = int((starts[ids + 1] - starts[ids]).sum()) + len(ids) * (n + 64) if longest > 64 else 0
            out = np.empty(size or len(ids) * (n * longest + 64), dtype=np.uint8)
            written = kernels.format_section(letters, starts, ids, section.log10_prob[part], backoffs, out)
            yield out[:written].tobytes().decode()
    yield "\n\\end\\\n"


def _header(path: str, raw: bytes, complete: bool = True) -> tuple[list[int], int]:
    if raw[:5] == b"mmap ":
        raise DataError(
            f"{path}: a KenLM binary: expected ARPA text (a binary must be an uncompressed file, not a pipe: "
            "gunzip, or COMMAND > FILE; ds2 lm mix needs ARPA files)"
        )
    start = re.search(rb"^\\data\\[ \t\r]*$", raw[:100_000], re.MULTILINE)
    if start is None:
        raise DataError(
            f"{path}:1: not an ARPA file: expected a line \\data\\, got {_line(raw, 0)!r} (ds2 lm TEXT… OUT writes one)"
        )
    announced: list[int] = []
    pos = start.end()
    while header := re.compile(rb"\s*ngram[ \t]+(\d{1,18})[ \t]*=[ \t]*(\d{1,18})[ \t\r]*(?=\n)").match(raw, pos):
        if int(header[1]) != len(announced) + 1:
            raise DataError(f"{path}:{_line_number(raw, header.start(1))}: expected `ngram {len(announced) + 1}=COUNT`")
        announced.append(int(header[2]))
        pos = header.end()
    if not announced or announced[0] == 0:
        raise DataError(f"{path}:{_line_number(raw, pos)}: expected lines `ngram 1=COUNT` with a count above 0")
    if complete and sum(announced) > len(raw) // 4:
        raise DataError(
            f"{path}: {sum(announced)} n-grams announced in a file of {len(raw)} bytes (is the file complete?)"
        )
    return announced, pos


def _section_start(path: str, raw: bytes, pos: int, n: int) -> int:
    title = re.compile(rb"\s*\\(\d{1,18})-grams:[ \t\r]*\n").match(raw, pos)
    if title is None or int(title[1]) != n:
        skip = re.compile(rb"\s*").match(raw, pos)
        pos = skip.end() if skip else pos
        raise DataError(
            f"{path}:{_line_number(raw, pos)}: expected \\{n}-grams:, got {_line(raw, pos)!r} (is the file complete?)"
        )
    return title.end()


def _line_number(raw: bytes, pos: int) -> int:
    return raw.count(b"\n", 0, pos) + 1


def _line(raw: bytes, pos: int) -> str:
    end = raw.find(b"\n", pos)
    return raw[pos : end if end >= 0 else len(raw)][:60].decode(errors="replace").strip("\r")


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 1).bit_length()
