"""The output symbols of a network, blank first, and how a text is spelled with them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ds2cli.config.units import UnitsConfig
from ds2cli.errors import BadUtterance, DataError
from ds2cli.text.units import Segmenter, is_run, train_sentencepiece, split_bigrams, split_runs, load_sentencepiece

BLANK = "<blank>"
SPACE = "<space>"
PIECES = "pieces.model"
"""The sentencepiece model, beside tokens.txt."""


@dataclass(frozen=True)
class Vocab:
    """Symbols in index order; index 0 is the CTC blank (paper §3.1: 29 symbols for English).

    pieces: the sentencepiece model that cuts runs of letters, empty where there is none. Then they are cut in pairs,
    and where no symbol has two characters, in characters.
    A unit that is no symbol is spelled with its characters, so any text of known characters can be spelled. The paper's
    isomorphism between words and bigrams (§3.6) holds on the words of the training texts, all of whose bigrams are
    symbols unless `min_count` leaves some out; another word has one spelling too, with letters for bigrams never seen.
    """

    symbols: tuple[str, ...]
    pieces: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.symbols or self.symbols[0] != BLANK or len(set(self.symbols)) != len(self.symbols):
            raise DataError(f"vocabulary: expected {BLANK} first and no symbol twice, got {self.symbols[:8]}")
        if self.pieces:
            load_sentencepiece(self.pieces)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process go the symbols; what is made of them is made there."""
        return type(self), (self.symbols, self.pieces)

    @classmethod
    def from_texts(cls, texts: Iterable[str], units: UnitsConfig | None = None) -> Vocab:
        """The units of cleaned transcripts in code-point order, after the blank; without settings their characters.

        All characters are symbols, also where the units are longer; `min_count` limits what `kind` names.
        UsageError when settings contradict each other or the texts.
        """
        units = units or UnitsConfig()
        units.check()
        seen = Counter(part for text in texts for part in split_runs(text))
        letters: Counter[str] = Counter()
        bigrams: Counter[str] = Counter()
        for part, count in seen.items():
            for c in part:
                letters[c] += count
            for pair in split_bigrams(part) if units.kind == "bigram" else ():
                bigrams[pair] += count
        symbols, model = set(letters), b""
        if units.kind == "char":
            symbols = {c for c, count in letters.items() if count >= units.min_count}
        elif units.kind == "bigram":
            symbols |= {pair for pair, count in bigrams.items() if count >= units.min_count}
        else:
            assert units.size is not None
            model = train_sentencepiece({p: n for p, n in seen.items() if is_run(p)}, units.kind, units.size)
            symbols |= set(load_sentencepiece(model)[0]) - {BLANK, SPACE}
        return cls((BLANK, *sorted(symbols)), model)

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """Read `tokens.txt`, one symbol a line, in index order; and the sentencepiece model beside it, where one is."""
        try:
            lines = Path(path).read_text("utf-8").splitlines()
            model = Path(path).with_name(PIECES)
            pieces = model.read_bytes() if model.is_file() else b""
        except (OSError, UnicodeDecodeError) as e:
            raise DataError(f"{path}: no list of symbols: {e}") from e
        return cls(tuple(" " if s == SPACE else s for s in lines), pieces)

    def save(self, path: str | Path) -> None:
        """Write `tokens.txt`, and the sentencepiece model beside it."""
        from ds2cli.io import open_out, open_out_bytes

        model = Path(path).with_name(PIECES)
        if self.pieces:
            with open_out_bytes(str(model)) as b:
                b.write(self.pieces)
        else:
            model.unlink(missing_ok=True)
        with open_out(str(path)) as f:
            f.writelines(f"{SPACE if s == ' ' else s}\n" for s in self.symbols)

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> Vocab:
        """What `as_json` gave."""
        return cls(tuple(about["symbols"]), base64.b64decode(about.get("pieces", ""), validate=True))

    def as_json(self) -> dict[str, Any]:
        """The symbols, and where there is one the sentencepiece model, as plain values."""
        model = {"pieces": base64.b64encode(self.pieces).decode("ascii")} if self.pieces else {}
        return {"symbols": list(self.symbols), **model}

    @cached_property
    def by_character(self) -> bool:
        """Whether every symbol is one character: then no other symbols make the same text."""
        return all(len(s) == 1 for s in self.symbols[1:])

    @cached_property
    def _index(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols) if i > 0}

    @cached_property
    def _cut(self) -> Segmenter:
        return load_sentencepiece(self.pieces)[1] if self.pieces else split_bigrams

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Symbol ids of a cleaned transcript; BadUtterance names the first character that cannot be spelled."""
        try:
            if self.by_character:
                return [self._index[c] for c in text]
            return [i for part in split_runs(text) for i in self._spelled(part)]
        except KeyError as e:
            detail = f"{e.args[0]!r} in {text[:40]!r} is not among the {len(self)} symbols"
            raise BadUtterance("unspellable", detail) from e

    def _spelled(self, part: str) -> list[int]:
        index = self._index
        if len(part) == 1:
            return [index[part]]
        units = (([index[unit]] if unit in index else [index[c] for c in unit]) for unit in self._cut(part))
        return [i for unit in units for i in unit]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of symbol ids without blanks."""
        return "".join(self.symbols[i] for i in ids if i != 0)
