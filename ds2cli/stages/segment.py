"""Cut aligned recordings into segments at pauses: rows that point into the recording; no audio is cut."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ds2cli.config.segment import SegmentConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import MAX_SECONDS, Row
from ds2cli.search.segment import TOO_LONG, Segment, Span, cut
from ds2cli.text.spacing import find_spaces, join_words

_COMPUTED = ("feats", "num_frames", "emission", "num_steps", "step_s", "align_logprob", "ctc_cost", "gaps", "chars")
_SCORED = ("filter_score", "nbest", "partials", "hits", "subs", "ins", "dels", "errors")
OF_THE_WHOLE = frozenset((*_COMPUTED, *_SCORED))
"""Fields, besides those that begin with `pred_`, that say something about the whole recording: segments lack them."""

SLACK_MS = 500
"""Words may end this much after the recording (ms): the last step of a network reaches beyond it."""


@dataclass
class Tally:
    """Counts of a run. Speech is the sum of the lengths of words, not of the pauses between them.

    recordings: rows with words; `empty` of them have no segment.  durations: of the segments (ms).
    speech: that is in segments, under "", and that is dropped, by the reason (ms).
    """

    recordings: int = 0
    empty: int = 0
    durations: list[int] = field(default_factory=list)
    speech: Counter[str] = field(default_factory=Counter)

    def describe(self) -> Iterator[str]:
        """The sentences for the log."""
        ms, total = self.durations, self.speech.total()
        if not ms:
            return
        yield (
            f"{len(ms)} segments ({sum(ms) / 3.6e6:.2f} h) from {self.recordings - self.empty} of {self.recordings} "
            f"recordings; length {sum(ms) / len(ms) / 1000:.1f} s on average, {min(ms) / 1000:.1f} to "
            f"{max(ms) / 1000:.1f} s"
        )
        lost = [f"{ms / 1000:.1f} s {reason}" for reason, ms in sorted(self.speech.items()) if reason and ms]
        share = f"{100 * self.speech[''] / total:.1f} %" if total else "none"
        yield (
            f"{share} of {total / 3.6e6:.2f} h of speech kept"
            + (f"; dropped: {', '.join(lost)}" if lost else "")
            + (" (a shorter --min-pause cuts more)" if self.speech[TOO_LONG] else "")
        )


def run(config: SegmentConfig, rows: Iterable[Row], ledger: Ledger, tally: Tally | None = None) -> Iterator[Row]:
    """Yield the segments of each row, sorted by id; what is dropped, rows and segments, is in the ledger.

    The id of a segment is that of its row and the segment's start and end in the row's audio (ms).
    tally: receives the counts.
    Ds2Error if more than `config.max_bad` percent of the rows are bad; the caller compares them with the segments.
    """
    tally = tally if tally is not None else Tally()
    usable = 0
    # The id of every later segment begins with that of its row, so it comes after the row that is read next. Ids of
    # segments may come after that row too: those of "a" are "a-…", and "a!" is between them.
    pending: list[tuple[str, Row]] = []
    for row in rows:
        while pending and pending[0][0] < row["id"]:
            yield heapq.heappop(pending)[1]
        try:
            segments = _segment(config, row, ledger, tally)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        usable += 1
        for segment in segments:
            heapq.heappush(pending, (segment["id"], segment))
    while pending:
        yield heapq.heappop(pending)[1]
    ledger.enforce_max_bad("segment", config.max_bad, usable)


def _segment(config: SegmentConfig, row: Row, ledger: Ledger, tally: Tally) -> list[Row]:
    """The segments of a row that are kept; the others are in the ledger, as is a row without words.

    BadUtterance "not-aligned", "wrong-type", "unsorted-words", "words-after-end" and "words-in-gap".
    """
    if "words" not in row:
        raise BadUtterance("not-aligned", "the row has no words with times (ds2 align writes them)")
    duration, words = _read_words(row)
    gaps = [_read_span(gap, "gaps") for gap in row.get("gaps", ())]
    segments = cut(words, [(min(start, duration), min(end, duration)) for start, end in gaps], duration, config)
    if not words:
        ledger.drop(row["id"], "no-words", "no word of the text was aligned", bad=False)
        return []
    if not row.get("offset", 0.0) + duration / 1000 * row.get("speed", 1.0) <= MAX_SECONDS:
        raise BadUtterance("wrong-type", f"the recording would end later than {MAX_SECONDS:g} s in its file")
    spaces = _find_spaces(row, words, gaps)
    digits = max(8, len(str(duration)))
    tally.recordings += 1
    kept = []
    for segment in segments:
        tally.speech[segment.reason] += sum(end - start for start, end in words[segment.first : segment.last])
        name = f"{row['id']}-{segment.start:0{digits}d}-{segment.end:0{digits}d}"
        if segment.reason:
            ledger.drop(name, segment.reason, _explain(segment, config), bad=False)
        else:
            tally.durations.append(segment.end - segment.start)
            kept.append(_as_row(row, name, segment, words, spaces))
    tally.empty += not kept
    return kept


def _as_row(row: Row, name: str, segment: Segment, times: list[Span], spaces: list[str]) -> Row:
    """The row of a segment."""
    inside = slice(segment.first, segment.last)
    fields = {n: v for n, v in row.items() if n not in OF_THE_WHOLE and not n.startswith("pred_")}
    words = [
        {**word, "start": (start - segment.start) / 1000, "end": (end - segment.start) / 1000}
        for word, (start, end) in zip(row["words"][inside], times[inside], strict=True)
    ]
    # the times of a copy at another speed are those of the copy, its offset is in the file
    offset = row.get("offset", 0.0) + segment.start / 1000 * row.get("speed", 1.0)
    return {
        **fields,
        "id": name,
        # of a segment that is cut again, still the recording that `offset` counts from
        "recording": row.get("recording", row["id"]),
        "offset": round(offset, 6),
        "duration": (segment.end - segment.start) / 1000,
        "text": join_words([word["word"] for word in words], spaces[inside]),
        "words": words,
    }


def _read_words(row: Row) -> tuple[int, list[Span]]:
    """The length of a recording and its words, in order (ms)."""
    spans = [_read_span(word, "words") for word in row["words"]]
    for word, (start, end), (next_start, next_end) in zip(row["words"], spans, spans[1:], strict=False):
        if next_start < start or next_end < end:
            raise BadUtterance("unsorted-words", f"the word after {_show(word)} starts or ends before it")
    for word in row["words"]:
        if not isinstance(word.get("word"), str) or word["word"].split() != [word["word"]]:
            raise BadUtterance("wrong-type", f"an element of 'words' must have one word as `word`, got {_show(word)}")
    # without a duration, nothing is known of the recording after the last word
    duration = int(1000 * row["duration"] + 1e-6) if "duration" in row else spans[-1][1] if spans else 0
    if spans and spans[-1][1] > duration + SLACK_MS:
        detail = f"the last word ends at {spans[-1][1] / 1000:g} s, the recording at {duration / 1000:g} s"
        raise BadUtterance("words-after-end", detail)
    return duration, [(min(start, duration), min(end, duration)) for start, end in spans]


def _read_span(item: Mapping[str, Any], name: str) -> Span:
    """The times of a word or a gap (ms)."""
    times = item.get("start"), item.get("end")
    for value in times:
        # also true for NaN
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_SECONDS:
            raise BadUtterance("wrong-type", f"an element of {name!r} must have start and end (s), got {_show(item)}")
    start, end = (round(1000 * float(value)) for value in times if value is not None)
    if end < start:
        raise BadUtterance("wrong-type", f"an element of {name!r} must end after its start, got {_show(item)}")
    return start, end


def _find_spaces(row: Row, words: list[Span], gaps: list[Span]) -> list[str]:
    """What stands before each word in the text of a row, which also has the words that were not said, in gaps."""
    parts = [
        (start + end, 1, i, word["word"])
        for i, ((start, end), word) in enumerate(zip(words, row["words"], strict=True))
    ]
    for (start, end), gap in zip(gaps, row.get("gaps", ()), strict=True):
        if isinstance(gap.get("text"), str) and gap["text"].strip():
            parts.append((start + end, 0, -1, gap["text"]))
    parts.sort()
    spaces = find_spaces([part[3] for part in parts], row.get("text", ""))
    return [space for space, part in zip(spaces, parts, strict=True) if part[2] >= 0]


def _explain(segment: Segment, config: SegmentConfig) -> str:
    """Why a segment is dropped, with its times in the recording."""
    what = f"{segment.start / 1000:.2f} to {segment.end / 1000:.2f} s: {(segment.end - segment.start) / 1000:.2f} s"
    if segment.reason == TOO_LONG:
        limits = f"--min-pause {config.min_pause:g} s, longer than --max-duration {config.max_duration:g} s"
        return f"{what} without a pause of {limits}"
    return f"{what}, shorter than --min-duration {config.min_duration:g} s"


def _show(item: Mapping[str, Any]) -> str:
    return str(dict(item))[:60]
