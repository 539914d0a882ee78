"""ARPA files: the text format of backoff n-gram models that KenLM, SRILM and we read and write."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels import ngram_arpa as kernels

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
LOG10_ZERO = -99.0
"""log10 of a probability or a weight of 0, as ARPA files write it."""

_FAULTS = {
    kernels.SHORT_LINE: "expected {n} word(s) after the probability of a {n}-gram",
    kernels.BAD_NUMBER: "not a finite number",
    kernels.POSITIVE: "a positive log10 probability",
    kernels.UNKNOWN_WORD: "a word that is not among the 1-grams",
    kernels.TWICE: "an n-gram that was listed before",
}
_WRITE_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Section:
    """The n-grams of one order. ids: (C, n) int32.  log10_prob, log10_backoff: (C,) float32; no backoff is 0."""

    ids: NDArray[np.int32]
    log10_prob: NDArray[np.float32]
    log10_backoff: NDArray[np.float32]


@dataclass(frozen=True)
class Arpa:
    """A whole model: the words of the 1-grams in order, and a section an order."""

    words: list[str]
    sections: list[Section]

    @property
    def order(self) -> int:
        """The longest n-gram's length."""
        return len(self.sections)

    @property
    def counts(self) -> list[int]:
        """How many n-grams of each order."""
        return [len(s.ids) for s in self.sections]


def read(path: str) -> Arpa:
    """Read an ARPA file (.gz by content); DataError with `path:line` when it is not one."""
    raw = _read_bytes(path)
    text = np.frombuffer(raw, dtype=np.uint8)
    counts, at = _header(path, raw)
    sections: list[Section] = []
    slots = np.full(_power_of_two(2 * counts[0] + 2), -1, dtype=np.int64)
    spans = np.zeros((counts[0], 2), dtype=np.int64)
    for n, count in enumerate(counts, start=1):
        at = _section_start(path, raw, at, n)
        ids = np.empty((count, n), dtype=np.int32)
        probs, backoffs = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
        at, fault = kernels.parse_section(text, at, n, slots, spans, ids, probs, backoffs)
        if fault:
            raise DataError(f"{path}:{_line_number(raw, at)}: {_FAULTS[fault].format(n=n)}, got {_line(raw, at)!r}")
        sections.append(Section(ids, probs, backoffs))
    if not re.match(rb"\s*\\end\\", raw[at : at + 200]):
        raise DataError(
            f"{path}:{_line_number(raw, at)}: expected \\end\\, got {_line(raw, at)!r} (is the file whole?)"
        )
    try:
        words = [raw[start:end].decode() for start, end in spans.tolist()]
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: words are not UTF-8 (fix: iconv -f latin1 -t utf-8): {e}") from e
    return Arpa(words, sections)


def read_counts(path: str) -> list[int]:
    """How many n-grams of each order a plain ARPA file announces."""
    with Path(path).open("rb") as f:
        return _header(path, f.read(4096), whole=False)[0]


def lines(model: Arpa) -> Iterator[str]:
    """The text of an ARPA file in large pieces, n-grams in the order of the sections, seven decimals."""
    yield "\\data\\\n" + "".join(f"ngram {n}={count}\n" for n, count in enumerate(model.counts, start=1))
    encoded = [word.encode() for word in model.words]
    letters = np.frombuffer(b"".join(encoded) or b" ", dtype=np.uint8)
    starts = np.concatenate([[0], np.cumsum([len(w) for w in encoded])]).astype(np.int64)
    longest = max(len(w) for w in encoded) + 1
    for n, section in enumerate(model.sections, start=1):
        yield f"\n\\{n}-grams:\n"
        for low in range(0, len(section.ids), _WRITE_AT_ONCE):
            part = slice(low, low + _WRITE_AT_ONCE)
            ids = section.ids[part]
            backoffs = section.log10_backoff[part] if n < model.order else np.empty(0, dtype=np.float32)
            room = int((starts[ids + 1] - starts[ids]).sum()) + len(ids) * (n + 64) if longest > 64 else 0
            out = np.empty(room or len(ids) * (n * longest + 64), dtype=np.uint8)
            size = kernels.format_section(letters, starts, ids, section.log10_prob[part], backoffs, out)
            yield out[:size].tobytes().decode()
    yield "\n\\end\\\n"


def _read_bytes(path: str) -> bytes:
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except OSError as e:
        raise DataError(f"{path}: {(e.strerror or 'cannot be read').lower()}") from e
    except (EOFError, zlib.error) as e:
        raise DataError(f"{path}: the gzip stream is broken ({e}); make the file again") from e


def _header(path: str, raw: bytes, whole: bool = True) -> tuple[list[int], int]:
    if raw[:5] == b"mmap ":
        raise DataError(
            f"{path}: a KenLM binary, expected ARPA text (a binary is mapped as it is: uncompressed, no pipe)"
        )
    start = re.search(rb"^\\data\\[ \t\r]*$", raw[:100_000], re.MULTILINE)
    if start is None:
        raise DataError(f"{path}:1: not an ARPA file: no line \\data\\, got {_line(raw, 0)!r}")
    announced: list[int] = []
    at = start.end()
    while found := re.compile(rb"\s*ngram[ \t]+(\d+)[ \t]*=[ \t]*(\d+)[ \t\r]*(?=\n)").match(raw, at):
        if int(found[1]) != len(announced) + 1:
            raise DataError(f"{path}:{_line_number(raw, found.start(1))}: expected `ngram {len(announced) + 1}=COUNT`")
        announced.append(int(found[2]))
        at = found.end()
    if not announced or announced[0] == 0:
        raise DataError(f"{path}:{_line_number(raw, at)}: expected lines `ngram 1=COUNT` with a count above 0")
    if whole and sum(announced) > len(raw) // 4:
        raise DataError(f"{path}: {sum(announced)} n-grams announced in {len(raw)} bytes (is the file whole?)")
    return announced, at


def _section_start(path: str, raw: bytes, at: int, n: int) -> int:
    found = re.compile(rb"\s*\\(\d+)-grams:[ \t\r]*\n").match(raw, at)
    if found is None or int(found[1]) != n:
        skip = re.compile(rb"\s*").match(raw, at)
        at = skip.end() if skip else at
        raise DataError(
            f"{path}:{_line_number(raw, at)}: expected \\{n}-grams:, got {_line(raw, at)!r} (is the file whole?)"
        )
    return found.end()


def _line_number(raw: bytes, at: int) -> int:
    return raw.count(b"\n", 0, at) + 1


def _line(raw: bytes, at: int) -> str:
    end = raw.find(b"\n", at)
    return raw[at : end if end >= 0 else len(raw)][:60].decode(errors="replace").strip("\r")


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 1).bit_length()
