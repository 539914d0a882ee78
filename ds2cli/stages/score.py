"""Count the errors of decoded rows against their references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ds2cli.config.score import ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row
from ds2cli.metrics.aligner import Aligner
from ds2cli.metrics.certificate import Certificate
from ds2cli.metrics.groups import group_name, sort_key
from ds2cli.metrics.normalizers import Normalizer
from ds2cli.metrics.report import Report, Utterance
from ds2cli.metrics.text_form import FormErrors, Texts
from ds2cli.metrics.unit_split import token_units
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.stages.score_files import Sink
from ds2cli.transcripts.scored import open_scored

CHUNK = 4096
"""Utterances that are aligned at once; the memory that scoring takes grows with it."""

MAX_CHARACTERS = 4_000_000
"""Characters of these utterances, without n-best lists, from which on fewer are aligned at once."""


def create_report(config: ScoreConfig) -> Report:
    """An empty report with the parts that the settings select; DataError if the tokenizer cannot be opened."""
    return Report(
        units=("word", "char") if config.unit == "both" else (config.unit,),
        worst=config.worst,
        confusions=config.confusions,
        context=config.context,
        why=config.why is not None,
        aligner=create_aligner(config),
        group_key=sort_key,
    )


def create_aligner(config: ScoreConfig) -> Aligner:
    """How the settings align texts; DataError if the tokenizer cannot be opened."""
    if config.unit == "token" and config.tokenizer is None:
        raise UsageError("--unit token: expected --tokenizer, an experiment or a SentencePiece model (.model)")
    tokenize = None if config.tokenizer is None else token_units(config.tokenizer, open_vocab)
    return Aligner(config.alignment, config.char_spaces, tokenize, config.nj)


def create_form_errors(report: Report) -> FormErrors:
    """Empty counts of errors of form, in the first unit of a report."""
    return FormErrors(report.units[0], report.aligner)


def create_certificate(config: ScoreConfig, normalizer: Normalizer, version: str, command: str) -> Certificate:
    """An empty certificate of a score that is counted with these settings."""
    settings = {
        "normalizer": normalizer.description,
        "normalizer_hash": normalizer.identity,
        "alignment": config.alignment,
        "unit": config.unit,
        "char_spaces": str(config.char_spaces).lower(),
        **({} if config.tokenizer is None else {"tokenizer": config.tokenizer}),
        "mode": config.mode,
        "ds2cli": version,
        "command": command,
    }
    return Certificate(settings)


def run(
    config: ScoreConfig,
    rows: Iterable[Row],
    report: Report,
    form: FormErrors | None = None,
    sinks: Sequence[Sink] = (),
    certificate: Certificate | None = None,
) -> Iterator[Row]:
    """Yield each row with `hits`, `subs`, `ins` and `dels` in the report's first unit, and add it to the report.

    For a row without `pred_text` all of `text` counts as deleted. With `config.why` the rows must have `errors`.
    form: also counts the errors that are differences of writing.
    """
    for chunk in _cut(rows):
        utterances = [_as_utterance(config, row) for row in chunk]
        aligned = report.add_all(utterances)
        counts = aligned[report.units[0]].counts.tolist()
        if form is not None:
            _compare_form(config, chunk, counts, form)
        if certificate is not None:
            certificate.add([u.name for u in utterances], [u.ref for u in utterances], [u.hyp for u in utterances])
        scored = [
            {**row, "hits": hits, "subs": subs, "ins": ins, "dels": dels}
            for row, (hits, subs, ins, dels) in zip(chunk, counts, strict=True)
        ]
        for sink in sinks:
            sink.add(scored, aligned)
        yield from scored


def _cut(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Lists of at most CHUNK rows and, unless one row has more, MAX_CHARACTERS."""
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        characters += len(row["text"]) + len(row.get("pred_text") or "")
        chunk.append(row)
        if len(chunk) == CHUNK or characters >= MAX_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _as_utterance(config: ScoreConfig, row: Row) -> Utterance:
    return Utterance(
        row["id"],
        row["text"],
        row.get("pred_text"),
        None if config.by is None else group_name(config.by, row, len(row["text"].split())),
        [h["text"] for h in row["nbest"] if isinstance(h.get("text"), str)] if "nbest" in row else (),
        row["errors"] if config.why is not None else None,
    )


def _compare_form(config: ScoreConfig, rows: Sequence[Row], counts: Sequence[Sequence[int]], form: FormErrors) -> None:
    recognized = [(row, sum(count[1:])) for row, count in zip(rows, counts, strict=True) if "pred_text" in row]
    form.count_broken([row[name] for row, _ in recognized for name in ("text", "pred_text")])
    texts = [Texts(row["id"], row["text"], row["pred_text"], row.get("lang", config.lang)) for row, _ in recognized]
    form.add_all(texts, [errors for _, errors in recognized])


def open_rows(config: ScoreConfig, path: str, ledger: Ledger | None = None) -> Iterator[Row]:
    """The rows of a result in any format, with the references of `config.ref` if it is set (see `open_scored`)."""
    return open_scored(path, config.ref, config.format, ledger)


def select_present(rows: Iterable[Row], config: ScoreConfig, ledger: Ledger, report: Report) -> Iterator[Row]:
    """The rows that `config.mode` scores; DataError for one without hypothesis in the mode `strict`."""
    for row in rows:
        if config.mode != "all" and row.get("pred_text") is None:
            if config.mode == "strict":
                raise DataError(f"utterance {row['id']!r} has no pred_text, which --mode strict refuses (--mode all)")
            report.missing += 1
            ledger.unselected["no-pred-text"] += 1
            continue
        yield row


def normalize_texts(rows: Iterable[Row], normalizer: Normalizer, lang: str, unreadable: list[str]) -> Iterator[Row]:
    """Yield each row with its texts normalized: `text`, `pred_text` and those of `nbest`.

    lang: of rows without `lang`.  unreadable: receives the ids of rows with a text that cannot be normalized, such as
    one with a sign that is read as a word; of these, case, punctuation and the like are removed.
    """
    for row in rows:
        complete = True

        def clean(text: str, lang: str = row.get("lang", lang)) -> str:
            nonlocal complete
            text, normalized = normalizer.normalize(text, lang)
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
