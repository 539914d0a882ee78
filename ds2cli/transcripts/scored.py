"""References and hypotheses in any format, as rows with both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import manifest
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.transcripts import ctm, kaldi_text, score_json, stm, trn
from ds2cli.transcripts.detect import Format, Kind, detect
from ds2cli.transcripts.texts import note_markup

DECODED = ("pred_text", "pred_score", "pred_words", "pred_conf", "nbest", "partials", "errors")
"""Fields of a hypothesis; references that are rows of another decoding have them too."""

_TEXT_READERS = {"trn": trn.read, "kaldi": kaldi_text.read}
_NAMES = {"trn": "a trn file", "ctm": "a CTM file", "stm": "an STM file", "kaldi": "Kaldi's text"}


def open_scored(path: str, ref: str | None, format: Format, ledger: Ledger | None) -> Iterator[Row]:
    """Yield rows with `text`, and with `pred_text` where there is a hypothesis, sorted by id.

    path: rows, the JSON file of a score, trn, Kaldi's `text`, or a CTM.  ref: references of these ids, in any of these
    formats but the last; for a CTM also an STM, whose segments are the utterances (`ctm.join_segments`).
    format: of both; ctm leaves that of `ref` to be found. `.gz` and `-` work as for rows.
    ledger: records bad lines of the hypotheses and notes about texts; without it a bad line is a DataError.
    DataError for a bad line of `ref`, a hypothesis without a reference, and formats that do not go together.
    """
    kind = detect(path, format)
    if kind == "stm":
        raise DataError(f"{path}: an STM file has only references: expected a CTM file here, and the STM file as --ref")
    if ref is None:
        if kind not in ("rows", "score"):
            guessed = kind == "kaldi" and format == "auto"
            found = (
                f"not rows (one JSON object per line), so read as {_NAMES[kind]}, which" if guessed else _NAMES[kind]
            )
            raise DataError(f"{path}: {found} has no references (--ref FILE)")
        return _open_rows(path, kind, ("id", "text"), ledger)
    ref_kind = detect(ref, "auto" if format == "ctm" else format)
    if ref_kind == "ctm":
        raise DataError(f"{ref}: a CTM file cannot be the reference, expected an STM file")
    if ref_kind == "stm":
        if kind != "ctm":
            raise DataError(f"{ref}: an STM file can only be the reference of a CTM file, which {path} is not")
        return _open_segments(path, ref, ledger)
    if ref_kind in _TEXT_READERS:
        refs = _TEXT_READERS[ref_kind](ref)
        if ref_kind == "trn" and ledger is not None:
            refs = note_markup(refs, ref, ledger)
    else:
        refs = _open_rows(ref, ref_kind, ("id", "text"), None)
    if kind == "ctm":
        hyps = ctm.as_rows(ctm.read(path, ledger))
    elif kind in _TEXT_READERS:
        hyps = _TEXT_READERS[kind](path, "pred_text", ledger)
    else:
        hyps = _open_rows(path, kind, ("id",), ledger)
    return join_references(hyps, refs, ref)


def join_references(hyps: Iterable[Row], refs: Iterable[Row], ref: str = "--ref") -> Iterator[Row]:
    """Yield each row of `refs` with the `pred_text` of the row in `hyps` with that id, if there is one.

    ref: the file of the references, for the DataError for a row of `hyps` without one.
    """
    for reference, hyp in manifest.join(refs, hyps):
        if reference is None:
            assert hyp is not None
            raise DataError(f"utterance {hyp['id']!r} has no reference: expected its id in {ref}")
        reference = {name: value for name, value in reference.items() if name not in DECODED}
        yield reference if hyp is None else {**hyp, **reference}


def _open_rows(path: str, kind: Kind, needs: tuple[str, ...], ledger: Ledger | None) -> Iterator[Row]:
    return score_json.read(path, needs, ledger) if kind == "score" else manifest.read(path, needs, ledger)


def _open_segments(path: str, ref: str, ledger: Ledger | None) -> Iterator[Row]:
    own = Ledger() if ledger is None else ledger
    segments = stm.read(ref)
    yield from note_markup(ctm.join_segments(ctm.read(path, ledger), segments, ref, own), ref, own)
