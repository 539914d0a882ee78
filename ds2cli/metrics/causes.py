"""A table of the causes of errors, as search/attribute.py finds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOTHING = "***"
"""Kaldi's mark for the empty side of an insertion or a deletion."""

EXAMPLES = 3
"""Examples per cause, the most frequent ones."""


@dataclass
class Causes:
    """Error counts by cause over a set; `add` the `errors` of one utterance at a time."""

    totals: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """Count the errors of an utterance: `ref`, `hyp`, `kind` and `cause` of each."""
        for e in errors:
            cause = e["cause"]
            self.totals[cause] += 1
            self.kinds[cause, e["kind"]] += 1
            self.examples.setdefault(cause, Counter())[f"{format_unit(e['ref'])} -> {format_unit(e['hyp'])}"] += 1

    def lines(self) -> Iterator[str]:
        """One line per cause, the most frequent first: count, share (percent), count of each kind, examples."""
        if not self.totals:
            return
        width = max(map(len, ["cause", *self.totals]))
        yield f"{'cause':<{width}}  errors   share     sub     ins     del  commonest"
        for cause, n in sorted(self.totals.items(), key=lambda c: (-c[1], c[0])):
            kinds = "  ".join(f"{self.kinds[cause, kind]:6d}" for kind in ("sub", "ins", "del"))
            frequent = sorted(self.examples[cause].items(), key=lambda m: (-m[1], m[0]))[:EXAMPLES]
            examples = ", ".join(f"{example} ({times})" if times > 1 else example for example, times in frequent)
            yield f"{cause:<{width}}  {n:6d}  {100 * n / self.totals.total():5.1f}%  {kinds}  {examples}"


def format_unit(unit: str | None) -> str:
    """One side of an error; white space is quoted."""
    return NOTHING if unit is None else repr(unit) if unit.isspace() else unit
