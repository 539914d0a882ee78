"""Texts with times in milliseconds, as tiers of annotations and subtitles have them: in order, and none overlaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Span:
    """A text and its times (ms)."""

    text: str
    start: int
    end: int


def milliseconds(seconds: float) -> int:
    """A time as a whole number of milliseconds."""
    return round(1000 * seconds)


def spans_of(items: Iterable[Mapping[str, Any]], field: str) -> list[Span]:
    """The elements of a row's `words` (field "word") or `chars` ("char") as spans that do not overlap."""
    return separate(Span(clean(i[field]), milliseconds(i["start"]), milliseconds(i["end"])) for i in items)


def separate(spans: Iterable[Span]) -> list[Span]:
    """The spans with times that rise: each lasts 1 ms or more, and ends where the next one begins or earlier.

    Starts are kept where they rise; a span that overlaps the next one is shortened.
    """
    found: list[Span] = []
    for span in spans:
        start = max(span.start, found[-1].start + 1 if found else 0)
        if found and found[-1].end > start:
            found[-1] = replace(found[-1], end=start)
        found.append(Span(span.text, start, max(span.end, start + 1)))
    return found


def tiers_of(row: Mapping[str, Any], words: Sequence[Mapping[str, Any]]) -> dict[str, list[Span]]:
    """The tiers of a recording by name: its words; its characters and what does not align, if the row has them."""
    tiers = {"words": spans_of(words, "word")}
    if "chars" in row:
        tiers["characters"] = spans_of((c for c in row["chars"] if c["char"].strip()), "char")
    if row.get("gaps"):
        tiers["gaps"] = spans_of(({**gap, "label": describe_gap(gap)} for gap in row["gaps"]), "label")
    return tiers


def describe_gap(gap: Mapping[str, Any]) -> str:
    """What does not align, in one line: `text: WORDS` that were not said, `heard: WORDS` that are not in the text."""
    parts = [f"{name}: {clean(gap[name])}" for name in ("text", "heard") if gap.get(name)]
    return "; ".join(parts) or "silence"


def clean(text: str) -> str:
    """The text with U+FFFD for each control character and lone surrogate, which no reader of text files expects."""
    return text if text.isprintable() else _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)
