"""Align several recordings with one text, such as the files of an audiobook with the book."""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from ds2cli import memory
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import load_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.timing import timing_of
from ds2cli.search.align import Alignment, Gap, Word, align_columns, hear
from ds2cli.search.trellis import Columns, GapCosts, spell
from ds2cli.stages.align import GapTally, finish_row
from ds2cli.text.spacing import find_spaces, join_words
from ds2cli.text.vocab import Vocab


def run(
    config: AlignConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    text: str,
    tally: GapTally | None = None,
    report: Callable[[str, float], None] = lambda name, share: None,
) -> Iterator[Row]:
    """Yield each row with its part of the text as `text`, and the fields of `stages/align.run`.

    text: normalized; the recordings of the rows, in their order, are taken for one.  report: called with the name of
    the book and the share of its alignment that is done.
    Rows in which none of the text was found are dropped ("unaligned"). Ds2Error if more than `max_unaligned` percent of
    the text were not found, or if it does not fit in memory; DataError if the rows have steps of different lengths.
    """
    vocab, tally = experiment.vocab, tally if tally is not None else GapTally()
    try:
        spelling = spell(text, vocab)
    except BadUtterance as e:
        raise DataError(f"{config.book}: {e.detail}") from e
    kept: list[Row] = []
    parts: list[Columns] = []
    step_s = 0.0
    with contextlib.closing(load_emissions(rows, ledger, experiment)) as chunks:
        for item in itertools.chain.from_iterable(chunks):
            if kept and item.step_s != step_s:
                raise DataError(
                    f"{item.row['id']}: a step has {item.step_s:g} s, that of {kept[0]['id']} {step_s:g} s: expected "
                    "emissions of one network (ds2 emit)"
                )
            step_s = item.step_s
            kept.append(item.row)
            parts.append(Columns.select(item.log_probs, spelling, gaps=True))
    if not kept:
        return
    with memory.required(f"align: {config.book}: the text with its recordings", "align fewer files at a time"):
        columns = Columns.join(parts)
        edges = [0, *itertools.accumulate(len(part.top) for part in parts)]
        parts.clear()
        costs = GapCosts(config.gap_cost, config.skip_cost)
        check = partial(report, str(config.book))
        found = align_columns(columns, spelling, vocab, step_s, costs, chars=config.chars, check=check)
    _refuse_unaligned(config, found, len(spelling.words))
    # what is missing may be of the recording before
    config = replace(config, max_unaligned=100.0)
    spaces = iter(_spaces_of(found, [word for _, word in spelling.words], text))
    for i, (row, part) in enumerate(zip(kept, _split(found, columns, edges, step_s, vocab), strict=True)):
        part = timing_of(config).correct(part, (edges[i + 1] - edges[i]) * step_s)
        before = [next(spaces) for _ in part.words]
        row = {**row, "text": join_words([word.word for word in part.words], before)}
        try:
            if not part.words:
                raise BadUtterance("unaligned", f"nothing of {config.book} was found in it")
            row, words = finish_row(config, row, part)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        tally.add(row, words)
        yield row
    ledger.notes.extend(tally.notes())


def _refuse_unaligned(config: AlignConfig, found: Alignment, words: int) -> None:
    missing = words - len(found.words)
    if missing > config.max_unaligned / 100 * words:
        raise Ds2Error(
            f"align: {config.book}: {missing} of its {words} words were not found in the recordings "
            f"({100 * missing / words:.0f} %, allowed {config.max_unaligned:g} %; --max-unaligned raises the limit)"
        )


def _spaces_of(found: Alignment, words: list[str], text: str) -> Iterator[str]:
    """What stands before each word that was found.  words: all words of the text."""
    remaining = zip(words, find_spaces(words, text), strict=True)
    for word in found.words:
        yield next(space for other, space in remaining if other == word.word)


def _split(found: Alignment, columns: Columns, edges: list[int], step_s: float, vocab: Vocab) -> Iterator[Alignment]:
    """The part of an alignment in each recording, with its own times.  edges: the first step of each, and the end."""
    ends = [edge * step_s for edge in edges[1:]]
    words: list[list[Word]] = [[] for _ in ends]
    chars: list[list[Word]] = [[] for _ in ends]
    gaps: list[list[Gap]] = [[] for _ in ends]

    def shift(word: Word) -> tuple[int, Word]:
        # a word over an edge belongs where its greater part is
        i = min(bisect.bisect_right(ends, (word.start + word.end) / 2), len(ends) - 1)
        begin = edges[i] * step_s
        return i, replace(word, start=max(word.start, begin) - begin, end=min(word.end, ends[i]) - begin)

    for source, parts in ((found.words, words), (found.chars, chars)):
        for word in source:
            i, shifted = shift(word)
            parts[i].append(shifted)
    for gap in found.gaps:
        for i, piece in _split_gap(gap, columns, edges, step_s, vocab):
            gaps[i].append(piece)
    for its_words, its_chars, its_gaps in zip(words, chars, gaps, strict=True):
        yield Alignment(its_words, None, None, [], its_chars, its_gaps)


def _split_gap(gap: Gap, columns: Columns, edges: list[int], step_s: float, vocab: Vocab) -> Iterator[tuple[int, Gap]]:
    """The number of each recording that a gap touches, and its part there; the longest one has the text."""
    begin, end = round(gap.start / step_s), round(gap.end / step_s)
    first = min(bisect.bisect_right(edges, begin), len(edges) - 1) - 1
    last = max(first, bisect.bisect_left(edges, end) - 1)
    cuts = [(i, max(begin, edges[i]), min(end, edges[i + 1])) for i in range(first, last + 1)]
    longest = max(cuts, key=lambda cut: cut[2] - cut[1])[0]
    for i, start, stop in cuts:
        heard = hear(columns, start, stop, vocab)
        text = gap.text if i == longest else ""
        if heard or text:
            yield i, Gap((start - edges[i]) * step_s, (stop - edges[i]) * step_s, text, heard)
