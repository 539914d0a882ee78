"""Praat's TextGrid: interval tiers that cover the whole recording; silence is an interval without a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ds2cli.captions.spans import Span, milliseconds

ENDING = ".TextGrid"


def format_textgrid(tiers: Mapping[str, Sequence[Span]], duration: float = 0.0) -> str:
    """The tiers as a text file of Praat.

    tiers: spans that do not overlap, as `separate` returns them.  duration: of the recording (s); a span may end later.
    """
    end = max([milliseconds(duration), 1, *(spans[-1].end for spans in tiers.values() if spans)])
    return "".join(f"{line}\n" for line in _lines(tiers, end))


def fill(spans: Sequence[Span], end: int) -> Iterator[Span]:
    """The spans, and a span without a text wherever there is none, from 0 to `end` (ms)."""
    time = 0
    for span in spans:
        if span.start > time:
            yield Span("", time, span.start)
        yield span
        time = span.end
    if time < end:
        yield Span("", time, end)


def _lines(tiers: Mapping[str, Sequence[Span]], end: int) -> Iterator[str]:
    yield 'File type = "ooTextFile"'
    yield 'Object class = "TextGrid"'
    yield ""
    yield "xmin = 0"
    yield f"xmax = {_seconds(end)}"
    yield "tiers? <exists>"
    yield f"size = {len(tiers)}"
    yield "item []:"
    for number, (name, spans) in enumerate(tiers.items(), start=1):
        intervals = list(fill(spans, end))
        yield f"    item [{number}]:"
        yield '        class = "IntervalTier"'
        yield f"        name = {_quote(name)}"
        yield "        xmin = 0"
        yield f"        xmax = {_seconds(end)}"
        yield f"        intervals: size = {len(intervals)}"
        for i, span in enumerate(intervals, start=1):
            yield f"        intervals [{i}]:"
            yield f"            xmin = {_seconds(span.start)}"
            yield f"            xmax = {_seconds(span.end)}"
            yield f"            text = {_quote(span.text)}"


def _seconds(time: int) -> str:
    return f"{time // 1000}.{time % 1000:03d}" if time else "0"


def _quote(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
