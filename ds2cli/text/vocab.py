"""The output symbols of a network, blank first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ds2cli.errors import BadUtterance, DataError

BLANK = "<blank>"
SPACE = "<space>"


@dataclass(frozen=True)
class Vocab:
    """Symbols in index order; index 0 is the CTC blank (paper §3.1: 29 symbols for English)."""

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols or self.symbols[0] != BLANK or len(set(self.symbols)) != len(self.symbols):
            raise DataError(f"vocabulary: expected {BLANK} first and no symbol twice, got {self.symbols[:8]}")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Vocab:
        """The characters of cleaned transcripts in code-point order, after the blank."""
        return cls((BLANK, *sorted(set().union(*map(set, texts)))))

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """Read `tokens.txt`: one symbol a line, in index order."""
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise DataError(f"{path}: no list of symbols: {e}") from e
        return cls(tuple(" " if s == SPACE else s for s in lines))

    def save(self, path: str | Path) -> None:
        """Write `tokens.txt`."""
        from ds2cli.io import open_out

        with open_out(str(path)) as f:
            f.writelines(f"{SPACE if s == ' ' else s}\n" for s in self.symbols)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Symbol ids of a cleaned transcript; BadUtterance names the first character that cannot be spelled."""
        try:
            return [self._index[c] for c in text]
        except KeyError as e:
            detail = f"{e.args[0]!r} in {text[:40]!r} is not among the {len(self)} symbols"
            raise BadUtterance("unspellable", detail) from e

    def decode(self, ids: Iterable[int]) -> str:
        """The text of symbol ids without blanks."""
        return "".join(self.symbols[i] for i in ids if i != 0)
