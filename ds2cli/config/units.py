"""Settings of the output units, a section of the settings of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class UnitsConfig(Config):
    """Output units of the network: characters, bigrams, or subwords (pieces) learned by sentencepiece."""

    kind: Literal["char", "bigram", "bpe", "unigram"] = setting(
        "char",
        help="Characters, bigrams within words (paper §3.6), or pieces learned by sentencepiece (bpe, unigram).",
    )
    size: int | None = setting(
        None,
        help="Number of pieces, single letters included (bpe and unigram need it); small texts may give fewer.",
        min=2,
    )
    min_count: int = setting(
        1,
        help="Minimum count of a symbol: rarer bigrams become two letters, rarer characters drop the utterance.",
        min=1,
    )

    def check(self) -> None:
        """UsageError when a setting is missing or would have no effect."""
        learned = self.kind in ("bpe", "unigram")
        if learned and self.size is None:
            raise UsageError(f"units.size: {self.kind} needs the number of pieces (--set units.size=500)")
        if not learned and self.size is not None:
            raise UsageError(f"units.size: only applies to bpe and unigram, got units.kind {self.kind}")
        if learned and self.min_count > 1:
            raise UsageError(f"units.min_count: only applies to char and bigram, got units.kind {self.kind}")
