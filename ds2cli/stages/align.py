"""Forced alignment: find the times of the words of known texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.timing import timing_of
from ds2cli.search.align import Alignment, Gap, align, gaps_as_fields, words_as_fields
from ds2cli.search.trellis import GapCosts

ALIGNED = ("words", "chars", "gaps", "align_logprob", "ctc_cost")
"""The fields of an alignment: those of an earlier one are left out."""


@dataclass
class GapTally:
    """What did not align, over all rows: words in gaps and in all, seconds of gaps, and one of them as an example.

    unspelled: words that the network cannot spell, and one of them with its row.
    """

    gaps: int = 0
    unaligned: int = 0
    words: int = 0
    seconds: float = 0.0
    longest: float = -1.0
    example: str = ""
    unspelled: int = 0
    unspelled_example: str = ""

    def add(self, row: Row, words: int) -> None:
        """Count the gaps of a row and its words, those in gaps included."""
        self.words += words
        name = row["id"]
        if unspelled := [word["word"] for word in row["words"] if "conf" not in word]:
            self.unspelled += len(unspelled)
            self.unspelled_example = self.unspelled_example or f"{_shorten(unspelled[0])} in {name}"
        for gap in row.get("gaps", []):
            self.gaps += 1
            self.unaligned += len(gap["text"].split())
            seconds = gap["end"] - gap["start"]
            self.seconds += seconds
            if seconds > self.longest:
                self.longest, self.example = seconds, f"{name} at {gap['start']:.1f} s: {describe_gap(gap)}"

    def notes(self) -> Iterator[str]:
        """A sentence on gaps and one on words that cannot be spelled, if there are any."""
        if self.gaps:
            yield (
                f"{self.unaligned} of {self.words} words did not align, in {self.gaps} gaps of {self.seconds:.1f} s "
                f"together (the longest: {self.example})"
            )
        if self.unspelled:
            yield (
                f"{self.unspelled} of {self.words} words have letters or signs that the network does not know, such as "
                f"{self.unspelled_example}; they have times, but no confidence (ds2 data fix normalizes texts)"
            )


def describe_gap(gap: dict[str, Any]) -> str:
    """`'one two' not said, heard 'three'`, in one line of bounded length."""
    parts = [f"{_shorten(gap['text'])} not said"] if gap["text"] else []
    return ", ".join(parts + ([f"heard {_shorten(gap['heard'])}"] if gap["heard"] else []))


def _ignore(*_: object) -> None:
    pass


def run(
    config: AlignConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    tally: GapTally | None = None,
    report: Callable[[str, float], None] = _ignore,
) -> Iterator[Row]:
    """Yield each row with `words` and `align_logprob`; with `gaps` if there are any, else with `ctc_cost`.

    report: called in any thread with the id of a row and the share of its alignment that is done.
    Dropped are rows whose text is too long for the emission or for the memory, and of whose words more than
    `max_unaligned` percent do not align ("unaligned") or cannot be spelled ("unspellable").
    """
    costs = GapCosts(config.gap_cost, config.skip_cost) if config.gaps else None
    timing = timing_of(config)
    tally = tally if tally is not None else GapTally()
    stop = threading.Event()

    def work(item: Emission) -> tuple[Row, int]:
        def check(share: float) -> None:
            if stop.is_set():
                raise CancelledError
            report(item.row["id"], share)

        text = item.row["text"]
        found = align(item.log_probs, text, experiment.vocab, item.step_s, costs, chars=config.chars, check=check)
        return finish_row(config, item.row, timing.correct(found, len(item.log_probs) * item.step_s))

    chunks = load_emissions(rows, ledger, experiment)
    for row, words in map_emissions(work, chunks, ledger, config.nj, "the alignment", stop):
        tally.add(row, words)
        yield row
    ledger.notes.extend(tally.notes())


def finish_row(config: AlignConfig, row: Row, found: Alignment) -> tuple[Row, int]:
    """The row with the fields of its alignment, and the number of all its words.

    BadUtterance "unaligned" if too many of them are in gaps, "unspellable" if the network cannot spell too many.
    """
    unspelled = [word.word for word in found.words if word.conf is None]
    if len(unspelled) > config.max_unaligned / 100 * len(found.words):
        raise BadUtterance(
            "unspellable",
            f"{len(unspelled)} of {len(found.words)} words have letters or signs that the network does not know, such "
            f"as {_shorten(unspelled[0])} (ds2 data fix normalizes texts)",
        )
    long_words = [word for word in found.words if word.end - word.start > config.max_word]
    gaps = [*found.gaps, *(Gap(word.start, word.end, word.word, "") for word in long_words)]
    fields = gaps_as_fields(sorted(gaps, key=lambda gap: (gap.start, gap.end)))
    kept = [word for word in found.words if word.end - word.start <= config.max_word]
    unaligned = sum(len(gap["text"].split()) for gap in fields)
    if unaligned > config.max_unaligned / 100 * (len(kept) + unaligned):
        worst = max(fields, key=lambda gap: gap["end"] - gap["start"])
        raise BadUtterance(
            "unaligned",
            f"{unaligned} of {len(kept) + unaligned} words do not align, as at {worst['start']:.2f} to "
            f"{worst['end']:.2f} s: {describe_gap(worst)}",
        )
    result = {name: value for name, value in row.items() if name not in ALIGNED} | {"words": words_as_fields(kept)}
    for name, value in (("align_logprob", found.log_prob), ("ctc_cost", found.cost)):
        if value is not None:
            result[name] = round(value, 4)
    if config.chars:
        result["chars"] = words_as_fields(found.chars, "char")
    if fields:
        result["gaps"] = fields
    return result, len(kept) + unaligned


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
