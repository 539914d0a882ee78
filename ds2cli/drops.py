"""The ledger of one run: what was kept, and what was left out and why. in = kept + dropped, always."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ds2cli.errors import BadUtterance, Ds2Error


@dataclass
class Ledger:
    """Counts of one run, and a row for each utterance that was left out."""

    kept: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    bad: int = 0

    def drop(self, utterance: str, reason: str, detail: str = "", *, bad: bool = True) -> None:
        """Leave one utterance out; `bad=False` is for what a rule leaves out on purpose, and is not held against it."""
        self.rows.append({"id": utterance, "reason": reason, "detail": detail, "bad": bad})
        self.reasons[reason] += 1
        self.bad += bad

    def drop_error(self, utterance: str, error: BadUtterance, *, bad: bool = True) -> None:
        """Leave one utterance out for the reason its error names."""
        self.drop(utterance, error.reason, error.detail, bad=bad)

    def keep(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Pass rows through and count them as kept."""
        for row in rows:
            self.kept += 1
            yield row

    @property
    def dropped(self) -> int:
        """How many utterances were left out, for whatever reason."""
        return len(self.rows)

    @property
    def bad_percent(self) -> float:
        """The share of bad utterances among all that were not left out on purpose, in percent."""
        return _percent(self.bad, self.kept + self.bad)

    def refuse(self, name: str, max_bad: float, kept: int | None = None) -> None:
        """Ds2Error (exit 1) when more than `max_bad` percent of the utterances are bad.

        name: the stage, for the message.  kept: what a stage has made, where its rows may not have been counted yet.
        """
        kept = self.kept if kept is None else kept
        percent = _percent(self.bad, kept + self.bad)
        if percent > max_bad:
            raise Ds2Error(
                f"{name}: refused, {self.bad} of {kept + self.bad} utterances are bad "
                f"({percent:.1f} %, allowed {max_bad:g} %; --max-bad raises the limit)"
            )

    def summary(self) -> str:
        """`12 in = 10 kept + 2 dropped (1 no-text, 1 truncated-audio)`."""
        text = f"{self.kept + self.dropped} in = {self.kept} kept + {self.dropped} dropped"
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.reasons.items()))
        return f"{text} ({reasons})" if reasons else text

    def lines(self) -> Iterator[str]:
        """The rows of `<OUT>.dropped.jsonl`."""
        for row in self.rows:
            yield json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def _percent(part: int, total: int) -> float:
    return 100.0 * part / total if total else 0.0
