"""Count the errors of decoded rows against their references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import manifest
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.metrics.report import Report

DECODED = ("pred_text", "pred_score", "pred_words", "nbest", "partials", "errors")
"""Fields of a hypothesis; references that are rows of another decoding have them too."""


def create_report(config: ScoreConfig) -> Report:
    """An empty report with the parts that the settings select."""
    units = ("word", "char") if config.unit == "both" else (config.unit,)
    return Report(units=units, worst=config.worst, confusions=config.confusions, why=config.why is not None)


def run(config: ScoreConfig, rows: Iterable[Row], report: Report) -> Iterator[Row]:
    """Yield each row with `hits`, `subs`, `ins` and `dels` in the report's first unit, and add it to the report.

    For a row without `pred_text` all of `text` counts as deleted. With `config.why` the rows must have `errors`.
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


def join_references(hyps: Iterable[Row], refs: Iterable[Row]) -> Iterator[Row]:
    """Yield each row of `refs` with the `pred_text` of the row in `hyps` with that id, if there is one.

    DataError for a row of `hyps` without a reference.
    """
    for ref, hyp in manifest.join(refs, hyps):
        if ref is None:
            assert hyp is not None
            raise DataError(f"utterance {hyp['id']!r} has no reference: expected a row with this id in --ref")
        ref = {name: value for name, value in ref.items() if name not in DECODED}
        yield ref if hyp is None else {**hyp, **ref}
