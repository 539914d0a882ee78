"""The output symbols of a network, blank first, and the encoding of texts with them."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ds2cli import inputs
from ds2cli.config.units import UnitsConfig
from ds2cli.encoding import code_point, decode
from ds2cli.errors import BadUtterance, DataError
from ds2cli.text.units import (
    Segmenter,
    is_run,
    is_unspaced,
    load_sentencepiece,
    make_longest_match,
    split_bigrams,
    split_runs,
    train_sentencepiece,
)

BLANK = "<blank>"
SPACE = "<space>"
TOKENS = "tokens.txt"
"""The symbols of a network, in its experiment folder."""

PIECES = "pieces.model"
"""The sentencepiece model, next to tokens.txt."""

_MOST_KEPT = 1 << 17
"""Runs of letters whose symbols are remembered: texts repeat their words."""

_ESCAPED = re.compile(r"<U\+([0-9A-F]{4,6})>")


@dataclass(frozen=True)
class Vocab:
    """Symbols by index; index 0 is the CTC blank (paper §3.1: 29 symbols for English).

    pieces: the sentencepiece model that segments runs of letters. If empty, they are segmented into bigrams, or into
    characters when all symbols are single characters; if some are longer, as phonemes may be, into the longest ones.
    A unit that is not a symbol is encoded by its characters, so every text of known characters can be encoded. Each
    word has exactly one encoding. In the training texts it consists of bigrams (the isomorphism of §3.6) unless
    `min_count` excludes some; words outside the training texts may need letters instead of unseen bigrams.
    """

    symbols: tuple[str, ...]
    pieces: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.symbols or self.symbols[0] != BLANK or len(set(self.symbols)) != len(self.symbols):
            found = repr(" ".join(self.symbols)[:30])
            if self.symbols[:1] == (BLANK,):
                repeated = next(s for s, count in Counter(self.symbols).items() if count > 1)
                found = f"{repeated[:30]!r} more than once"
            raise DataError(f"vocabulary: expected {BLANK} first and distinct symbols, got {found}")
        if self.pieces:
            load_sentencepiece(self.pieces)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the fields; cached properties are rebuilt in the receiving process."""
        return type(self), (self.symbols, self.pieces)

    @classmethod
    def from_texts(cls, texts: Iterable[str], units: UnitsConfig | None = None) -> Vocab:
        """The blank, then the units of normalized transcripts in code-point order; characters if `units` is None.

        All characters become symbols, even with longer units; only those of `kind` are subject to `min_count`.
        UsageError when settings contradict each other or the texts.
        """
        units = units or UnitsConfig()
        units.check()
        part_counts = Counter(part for text in texts for part in split_runs(text))
        letters: Counter[str] = Counter()
        bigrams: Counter[str] = Counter()
        for part, count in part_counts.items():
            for c in part:
                letters[c] += count
            for pair in split_bigrams(part) if units.kind == "bigram" else ():
                bigrams[pair] += count
        if units.kind == "char":
            return cls.from_letters(letters, units)
        symbols, model = set(letters), b""
        if units.kind == "bigram":
            symbols |= {pair for pair, count in bigrams.items() if count >= units.min_count}
        else:
            assert units.size is not None
            model = train_sentencepiece({p: n for p, n in part_counts.items() if is_run(p)}, units.kind, units.size)
            symbols |= set(load_sentencepiece(model)[0]) - {BLANK, SPACE}
        return cls((BLANK, *sorted(symbols)), model)

    @classmethod
    def from_letters(cls, letters: Counter[str], units: UnitsConfig) -> Vocab:
        """The blank, then the characters in code-point order that occur often enough in normalized transcripts."""
        units.check()
        return cls((BLANK, *sorted(c for c, count in letters.items() if count >= units.min_count)))

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """Read `tokens.txt`, as `save` writes it, and the sentencepiece model next to it, if any; DataError."""
        try:
            data = inputs.read_bytes(path)
            model = Path(path).with_name(PIECES)
            pieces = model.read_bytes() if model.is_file() else b""
        except OSError as e:
            raise DataError(f"{path}: {inputs.explain_error(e)}") from e
        return cls.parse(data, pieces, str(path))

    @classmethod
    def parse(cls, data: bytes, pieces: bytes, name: str) -> Vocab:
        """The symbols in the content of a `tokens.txt`, and a sentencepiece model, or b""; DataError with `name`."""
        try:
            # not splitlines, which also splits at characters that older versions wrote as symbols
            lines = decode(data, name).removesuffix("\n").split("\n")
        except UnicodeError as e:
            raise DataError(f"{name}: not a list of symbols: {e}") from e
        try:
            if "" in lines[1:]:
                raise DataError(f"line {lines.index('', 1) + 1} is empty, expected one symbol per line")
            return cls(tuple(parse_symbol(line) for line in lines), pieces)
        except DataError as e:
            raise DataError(f"{name}: {e}") from e

    def save(self, path: str | Path) -> None:
        """Write `tokens.txt` and the sentencepiece model next to it; remove an older model if there is none.

        One symbol per line, in index order, as `format_symbol` writes it.
        """
        from ds2cli.io import open_out, open_out_bytes

        model = Path(path).with_name(PIECES)
        if self.pieces:
            with open_out_bytes(str(model)) as b:
                b.write(self.pieces)
        else:
            model.unlink(missing_ok=True)
        with open_out(str(path)) as f:
            f.write(self.format_lines())

    def format_lines(self) -> str:
        """The content of `tokens.txt`."""
        return "".join(f"{symbol}\n" for symbol in (BLANK, *map(format_symbol, self.symbols[1:])))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Vocab:
        """The inverse of `as_json`."""
        return cls(tuple(values["symbols"]), base64.b64decode(values.get("pieces", ""), validate=True))

    def as_json(self) -> dict[str, Any]:
        """The symbols and the sentencepiece model, if any, as plain values."""
        model = {"pieces": base64.b64encode(self.pieces).decode("ascii")} if self.pieces else {}
        return {"symbols": list(self.symbols), **model}

    @cached_property
    def by_character(self) -> bool:
        """Whether every symbol is one character, so that a text has only one symbol sequence."""
        return all(len(s) == 1 for s in self.symbols[1:])

    @cached_property
    def single_words(self) -> bool:
        """Whether every text is one word: there is no space, and the script is one that puts spaces between words."""
        return " " not in self.symbols and not is_unspaced("".join(self.symbols[1:]))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols) if i > 0}

    @cached_property
    def _segment(self) -> Segmenter:
        if self.pieces:
            return load_sentencepiece(self.pieces)[1]
        return make_longest_match(self.symbols[1:]) if max(map(len, self.symbols[1:]), default=0) > 2 else split_bigrams

    @cached_property
    def _encoded(self) -> dict[str, list[int]]:
        """The symbol ids of runs of letters that were encoded."""
        return {}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Symbol ids of a normalized transcript; BadUtterance names the first character without a symbol."""
        try:
            if self.by_character:
                return [self._index[c] for c in text]
            found = self._encoded
            return [i for part in split_runs(text) for i in found.get(part) or self._encode_part(part)]
        except KeyError as e:
            detail = f"{e.args[0]!r} in {text[:40]!r} is not among the network's {len(self)} symbols"
            raise BadUtterance("unspellable", detail) from e

    def _encode_part(self, part: str) -> list[int]:
        index = self._index
        if len(part) == 1:
            return [index[part]]
        units = (([index[unit]] if unit in index else [index[c] for c in unit]) for unit in self._segment(part))
        encoded = [i for unit in units for i in unit]
        if len(self._encoded) < _MOST_KEPT:
            self._encoded[part] = encoded
        return encoded

    def decode(self, ids: Iterable[int]) -> str:
        """The text of symbol ids; blanks are ignored."""
        return "".join(self.symbols[i] for i in ids if i != 0)


def format_symbol(symbol: str) -> str:
    """A symbol as one line of tokens.txt, which shows every character: the space as <space>, others that no one sees
    (controls, line and paragraph separators, zero-width marks) by their code points.

    >>> [format_symbol(symbol) for symbol in (" ", "a", "\\u2028", "<space>")]
    ['<space>', 'a', '<U+2028>', '<U+003C>space>']
    """
    if symbol == " ":
        return SPACE
    if symbol in (SPACE, BLANK):
        return _escape("<") + symbol[1:]
    symbol = _ESCAPED.sub(lambda match: _escape("<") + match[0][1:], symbol)
    return "".join(c if c.isprintable() and c != " " else _escape(c) for c in symbol)


def parse_symbol(line: str) -> str:
    """The inverse of `format_symbol`.

    >>> parse_symbol("<U+2028>") == "\\u2028"
    True
    """
    return " " if line == SPACE else _ESCAPED.sub(_unescape, line)


def _escape(c: str) -> str:
    return f"<{code_point(c)}>"


def _unescape(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF else chr(code)
