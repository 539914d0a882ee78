"""Files that are written from scored rows besides the rows: trn, CTM, Kaldi's layout, everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, TextIO

import numpy as np

from ds2cli.config.score import ScoreConfig
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.io import open_out
from ds2cli.kernels.edit import LETTERS
from ds2cli.manifest import Row
from ds2cli.metrics.alignment import Alignments
from ds2cli.metrics.calibration import Calibration, word_confidences
from ds2cli.metrics.calibration_utterances import UtteranceCalibration, utterance_confidence
from ds2cli.metrics.certificate import Certificate
from ds2cli.metrics.kaldi_layout import KaldiLayout
from ds2cli.metrics.report import Report
from ds2cli.stages.sclite import require_program, run_sclite
from ds2cli.transcripts.ctm import CtmWriter
from ds2cli.transcripts.detect import detect
from ds2cli.transcripts.trn import TrnFiles, open_trn

KEPT = ("speaker", "duration", "pred_words", "pred_conf")
"""Fields of a row that another score of the same texts may need."""

_TO_LETTERS = bytes.maketrans(bytes(range(len(LETTERS))), LETTERS.encode())


class Sink(Protocol):
    """Something that is made from scored rows."""

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        """Add scored rows with their alignments in each unit."""


class ScoreFiles:
    """The files that the settings ask for, as a context: they are written while rows are added to `sinks`.

    messages: what to show below the report.  warnings: about the files.  Both are complete after `run_sclite`.
    """

    def __init__(self, config: ScoreConfig, source: str, report: Report, certificate: Certificate) -> None:
        self.config, self.source, self.report, self.certificate = config, source, report, certificate
        self.sinks: list[Sink] = []
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self._stack = ExitStack()
        self._json: JsonScore | None = None
        self._kaldi: KaldiLayout | None = None
        self._confidences: _Confidences | None = None
        if config.kaldi is not None and report.units[0] != "word":
            raise UsageError("--kaldi: Kaldi's layout has words (--unit word or both)")
        if config.calibration and report.units[0] != "word":
            raise UsageError("--calibration: only words have confidences (--unit word or both)")
        # alternatives and optional words of NIST's references are for sclite
        ref_format = "auto" if config.format == "ctm" else config.format
        self._markup = config.ref is not None and detect(config.ref, ref_format) in ("trn", "stm")
        if config.sclite is not None:
            require_program("sclite", "--sclite")

    def __enter__(self) -> ScoreFiles:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        config, unit = self.config, self.report.units[0]
        for prefix in (config.trn, None if config.sclite is None else f"{config.sclite}/score"):
            if prefix is not None:
                self.sinks.append(_Trn(stack.enter_context(open_trn(prefix, markup=self._markup)), unit))
        if config.ctm is not None:
            self.sinks.append(_Ctm(CtmWriter(stack.enter_context(open_out(config.ctm))), config.ctm))
        if config.kaldi is not None:
            layout = KaldiLayout(config.kaldi, self.source, threads=config.nj)
            self._kaldi = stack.enter_context(layout)
            self.sinks.append(_Kaldi(self._kaldi, unit))
        if config.calibration:
            self._confidences = _Confidences()
            self.sinks.append(self._confidences)
        if config.json is not None:
            self._json = JsonScore(stack.enter_context(open_out(config.json)), config.by)
            self.sinks.append(self._json)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with ExitStack() as stack:
            stack.push(self._stack)
            if error is not None:
                raise error
            self._finish()
        return None

    def _finish(self) -> None:
        if self._kaldi is not None:
            self._kaldi.absent = self.report.missing
        fields: dict[str, Any] = {"certificate": self.certificate.as_fields(), **self.report.as_fields()}
        for sink in self.sinks:
            if isinstance(sink, _Ctm):
                self.warnings += sink.finish()
            if isinstance(sink, _Trn):
                self.warnings += filter(None, [sink.files.describe_replaced()])
        if self._confidences is not None:
            self.messages += ["", *self._confidences.lines()]
            self.warnings += self._confidences.warnings()
            fields["calibration"] = self._confidences.as_fields()
        if self._json is not None:
            self._json.finish(fields)

    def run_sclite(self) -> None:
        """Run sclite, if the settings say so, on the files that are complete after the context."""
        folder = self.config.sclite
        if folder is None:
            return
        result = run_sclite(folder, f"{folder}/score.ref.trn", f"{folder}/score.hyp.trn", markup=self._markup)
        agreement = result.describe_agreement(self.report.counts(self.report.units[0]))
        if self.config.alignment == "kaldi" and "the same" not in agreement:
            agreement += " (--alignment sclite counts as sclite does)"
        self.messages += ["", *result.text.splitlines(), "", agreement]


class _Trn:
    def __init__(self, files: TrnFiles, unit: str) -> None:
        self.files, self.unit = files, unit

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        units = aligned[self.unit]
        names = units.names
        for k, row in enumerate(rows):
            refs, hyps = ([names[i] for i in side.ids[side.slice(k)].tolist()] for side in (units.refs, units.hyps))
            self.files.add(row["id"], refs, hyps)


class _Ctm:
    def __init__(self, writer: CtmWriter, path: str) -> None:
        self.writer, self.path = writer, path

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        for row in rows:
            try:
                self.writer.add(row)
            except BadUtterance as e:
                raise DataError(f"--ctm: utterance {row['id']!r}: {e.detail}") from e

    def finish(self) -> Iterator[str]:
        self.writer.finish()
        if self.writer.missing:
            missing = f"utterances without pred_words (ds2 decode --timestamps): {self.writer.missing}"
            yield f"{self.path}: {missing}: their words are left out"
        if not self.writer.is_sorted:
            yield f"{self.path}: the recordings are not in order, which sclite expects (sort -k1,1 -k2,2 -k3n,3)"


class _Kaldi:
    def __init__(self, layout: KaldiLayout, unit: str) -> None:
        self.layout, self.unit = layout, unit

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        self.layout.add([row["id"] for row in rows], [row.get("speaker") for row in rows], aligned[self.unit])


class _Confidences:
    def __init__(self) -> None:
        self.words, self.utterances = Calibration(), UtteranceCalibration()
        self.missing_words = self.missing_utterances = 0

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        words = aligned["word"]
        for k, row in enumerate(rows):
            confidences = word_confidences(row)
            if confidences is None:
                self.missing_words += "pred_text" in row
            else:
                self.words.add(words.steps[words.slice(k)], confidences)
        found = {k: utterance_confidence(row) for k, row in enumerate(rows) if "pred_text" in row}
        kept = {k: confidence for k, confidence in found.items() if confidence is not None}
        self.missing_utterances += len(found) - len(kept)
        self.utterances.add(words.counts[list(kept)], np.array(list(kept.values()), np.float64))

    def lines(self) -> list[str]:
        return [*self.words.lines(), "", *self.utterances.lines()]

    def as_fields(self) -> dict[str, Any]:
        return {**self.words.as_fields(), "per_utterance": self.utterances.as_fields()}

    def warnings(self) -> Iterator[str]:
        if self.missing_words:
            yield (
                "--calibration: utterances without a conf for each word of pred_text (ds2 decode --timestamps; "
                f"--normalizer must not change words): {self.missing_words}: left out of the words"
            )
        if self.missing_utterances:
            yield (
                "--calibration: utterances without pred_conf (ds2 decode --timestamps): "
                f"{self.missing_utterances}: left out of the utterances"
            )


class JsonScore:
    """Writes one JSON object to `f`: `utterances`, one per line, then the fields of `finish`.

    An utterance has those of `id`, `text`, `pred_text`, KEPT and the field `by` that the row has, and for each unit the
    steps of its alignment, such as `"word":"CCSDI"` (C correct, S substitution, I insertion, D deletion).
    """

    def __init__(self, f: TextIO, by: str | None = None) -> None:
        self.f = f
        self.names = dict.fromkeys(("id", "text", "pred_text", *KEPT, *([] if by is None else [by])))
        self.before = '{"utterances":[\n'

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        """Write scored rows."""
        steps = {unit: a.steps.tobytes().translate(_TO_LETTERS).decode("ascii") for unit, a in aligned.items()}
        for k, row in enumerate(rows):
            fields: dict[str, Any] = {name: row[name] for name in self.names if name in row}
            fields |= {unit: steps[unit][a.slice(k)] for unit, a in aligned.items()}
            self.f.write(self.before + _format(fields))
            self.before = ",\n"

    def finish(self, fields: Mapping[str, Any]) -> None:
        """Write the other fields and end the object."""
        begin = "" if self.before == ",\n" else self.before
        rest = "".join(f",\n{json.dumps(name)}:{_format(value)}" for name, value in fields.items())
        self.f.write(f"{begin}\n]{rest}\n}}\n")


def _format(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # half of a surrogate pair cannot be written as UTF-8
    return text.encode("utf-8", "backslashreplace").decode()
