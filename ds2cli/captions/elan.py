"""Text that ELAN imports (File > Import > CSV / Tab-delimited Text File): a header, and one annotation per line.

The times are seconds with milliseconds, which ELAN calls ss.msec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ds2cli.captions.spans import Span

ENDING = ".elan.txt"
HEADER = ("Begin Time", "End Time", "Duration", "Tier", "Annotation")


def format_table(tiers: Mapping[str, Sequence[Span]]) -> str:
    """The annotations of all tiers, one tier after the other. tiers: spans that do not overlap."""
    rows = [HEADER]
    for name, spans in tiers.items():
        rows += [(_seconds(s.start), _seconds(s.end), _seconds(s.end - s.start), name, s.text) for s in spans]
    return "".join("\t".join(row) + "\n" for row in rows)


def _seconds(time: int) -> str:
    return f"{time // 1000}.{time % 1000:03d}"
