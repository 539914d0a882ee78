"""Count the errors of what was decoded against what was said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import manifest
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.metrics.report import Report


def report_for(config: ScoreConfig) -> Report:
    """An empty report of what the settings ask for."""
    units = ("word", "char") if config.unit == "both" else (config.unit,)
    return Report(units=units, worst=config.worst, confusions=config.confusions, why=config.why is not None)


def run(config: ScoreConfig, rows: Iterable[Row], report: Report) -> Iterator[Row]:
    """Yield each row with `hits`, `subs`, `ins` and `dels` of the first unit, and add it to the report.

    A row without `pred_text` has all of its text deleted. Where the settings ask why, rows come with their `errors`.
    """
    for row in rows:
        counts = report.add(
            row["id"],
            row["text"],
            row.get("pred_text"),
            None if config.by is None else f"{config.by}={row.get(config.by)}",
            nbest=[h["text"] for h in row.get("nbest", []) if isinstance(h.get("text"), str)],
            errors=row["errors"] if config.why is not None else None,
        )
        yield {**row, "hits": counts.hits, "subs": counts.subs, "ins": counts.ins, "dels": counts.dels}


def with_references(hyps: Iterable[Row], refs: Iterable[Row]) -> Iterator[Row]:
    """Every row of `refs`, with the `pred_text` that `hyps` has for it, if any; DataError for a stranger in `hyps`."""
    for ref, hyp in manifest.join(refs, hyps):
        if ref is None:
            assert hyp is not None
            raise DataError(f"utterance {hyp['id']!r} is not among the references")
        yield ref if hyp is None else {**hyp, **ref, "pred_text": hyp.get("pred_text")}
