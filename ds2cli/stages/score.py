"""Count the errors of decoded rows against their references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ds2cli import manifest
from ds2cli.config.score import ScoreConfig
from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.metrics.report import Report
from ds2cli.metrics.text_form import FormErrors, normalize_or_reduce

DECODED = ("pred_text", "pred_score", "pred_words", "nbest", "partials", "errors")
"""Fields of a hypothesis; references that are rows of another decoding have them too."""


def create_report(config: ScoreConfig) -> Report:
    """An empty report with the parts that the settings select."""
    units = ("word", "char") if config.unit == "both" else (config.unit,)
    return Report(units=units, worst=config.worst, confusions=config.confusions, why=config.why is not None)


def create_form_errors(config: ScoreConfig) -> FormErrors:
    """Empty counts of errors of form, in the unit of `create_report`."""
    return FormErrors("char" if config.unit == "char" else "word")


def run(config: ScoreConfig, rows: Iterable[Row], report: Report, form: FormErrors | None = None) -> Iterator[Row]:
    """Yield each row with `hits`, `subs`, `ins` and `dels` in the report's first unit, and add it to the report.

    For a row without `pred_text` all of `text` counts as deleted. With `config.why` the rows must have `errors`.
    form: also counts the errors that are differences of writing.
    """
    for row in rows:
        if form is not None and row.get("pred_text") is not None:
            form.add(row["id"], row["text"], row["pred_text"], row.get("lang", config.lang))
        counts = report.add(
            row["id"],
            row["text"],
            row.get("pred_text"),
            None if config.by is None else group_name(config.by, row.get(config.by)),
            nbest=[h["text"] for h in row.get("nbest", []) if isinstance(h.get("text"), str)],
            errors=row["errors"] if config.why is not None else None,
        )
        yield {**row, "hits": counts.hits, "subs": counts.subs, "ins": counts.ins, "dels": counts.dels}


def group_name(field: str, value: Any) -> str:
    """How the report names the utterances with this value of a field: `speaker=anna`."""
    return f"{field}={value}"


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


def normalize_texts(rows: Iterable[Row], lang: str, unreadable: list[str]) -> Iterator[Row]:
    """Yield each row with its texts normalized: `text`, `pred_text` and those of `nbest`.

    lang: of rows without `lang`.  unreadable: receives the ids of rows with a text that cannot be normalized, such as
    one with a sign that is read as a word; of these, case, punctuation and the like are removed.
    """
    for row in rows:
        complete = True

        def clean(text: str, lang: str = row.get("lang", lang)) -> str:
            nonlocal complete
            text, normalized = normalize_or_reduce(text, lang)
            complete = complete and normalized
            return text

        row = {**row, **{name: clean(row[name]) for name in ("text", "pred_text") if name in row}}
        if not complete:
            unreadable.append(row["id"])
        if "nbest" in row:
            row["nbest"] = [
                {**h, "text": clean(h["text"])} if isinstance(h.get("text"), str) else h for h in row["nbest"]
            ]
        yield row
