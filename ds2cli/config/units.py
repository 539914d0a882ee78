"""Settings of the output units, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class UnitsConfig(Config):
    """What the network writes: characters, pairs of them, or pieces of words that sentencepiece learns."""

    kind: Literal["char", "bigram", "bpe", "unigram"] = setting(
        "char",
        help="Characters, the paper's pairs within words (§3.6), or pieces learned by one of sentencepiece's ways.",
    )
    size: int | None = setting(
        None, help="Pieces to learn, single letters included; fewer where the texts give no more (bpe, unigram).", min=2
    )
    min_count: int = setting(
        1,
        help="A character or bigram seen less often is no symbol: the bigram is written as two letters, an utterance "
        "with such a character is dropped (char, bigram).",
        min=1,
    )

    def check(self) -> None:
        """UsageError when a setting is missing, or would have no effect."""
        learned = self.kind in ("bpe", "unigram")
        if learned and self.size is None:
            raise UsageError(f"units.size: {self.kind} needs the number of its pieces (--set units.size=500)")
        if not learned and self.size is not None:
            raise UsageError(f"units.size: {self.kind} has as many symbols as the texts, expected bpe or unigram")
        if learned and self.min_count > 1:
            raise UsageError(f"units.min_count: {self.kind} chooses its pieces by units.size, expected char or bigram")
