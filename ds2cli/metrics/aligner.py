"""How texts are aligned: the unit of the error rate, the costs, what counts as a character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ds2cli.metrics.alignment import AlignmentRule, Alignments, align_characters, align_units, align_words
from ds2cli.metrics.unit_split import mixed_units
from ds2cli.metrics.wer import EditStep

RATE_NAMES = {"word": "WER", "char": "CER", "mixed": "MER", "token": "TER"}
"""The name of the error rate in each unit; MER counts Chinese characters and other words."""


@dataclass(frozen=True)
class Aligner:
    """Aligns many pairs of texts in any unit.

    rule: costs and ties.  spaces: whether the space between two words is a character.
    tokenize: splits a text into the units "token"; needed for these only.
    """

    rule: AlignmentRule = "kaldi"
    spaces: bool = True
    tokenize: Callable[[str], Sequence[str]] | None = None
    threads: int = 1

    def align(self, unit: str, refs: Sequence[str], hyps: Sequence[str]) -> Alignments:
        """The alignments of P references with P hypotheses."""
        if unit == "word":
            return align_words(refs, hyps, self.rule, self.threads)
        if unit == "char":
            return align_characters(refs, hyps, self.rule, self.threads, spaces=self.spaces)
        split = mixed_units if unit == "mixed" else self.tokenize
        assert split is not None
        return align_units([split(text) for text in refs], [split(text) for text in hyps], self.rule, self.threads)

    def edit_steps(self, unit: str, ref: str, hyp: str) -> list[EditStep]:
        """The alignment of one pair."""
        return self.align(unit, [ref], [hyp]).edit_steps(0)

    def describe(self, units: Sequence[str]) -> str:
        """How errors in these units are counted, for a report: `alignment kaldi, characters with spaces`."""
        spaces = f", characters {'with' if self.spaces else 'without'} spaces" if "char" in units else ""
        return f"alignment {self.rule}{spaces}"
