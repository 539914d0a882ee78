"""Files that are written from scored rows besides the rows: everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, TextIO

from ds2cli.config.score import ScoreConfig
from ds2cli.io import open_out
from ds2cli.manifest import Row
from ds2cli.metrics.alignment import Alignments
from ds2cli.metrics.certificate import Certificate
from ds2cli.metrics.report import Report

_LETTERS = bytes.maketrans(bytes(range(4)), b"CSID")
"""The letter of each step of an alignment, as in Kaldi's per_utt."""


class Sink(Protocol):
    """Something that is made from scored rows."""

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        """Add scored rows with their alignments in each unit."""


class ScoreFiles:
    """The files that the settings ask for, as a context: they are written while rows are added to `sinks`.

    messages: what to show below the report, after the last row.
    """

    def __init__(self, config: ScoreConfig, report: Report, certificate: Certificate) -> None:
        self.config, self.report, self.certificate = config, report, certificate
        self.sinks: list[Sink] = []
        self.messages: list[str] = []
        self._stack = ExitStack()
        self._json: JsonScore | None = None

    def __enter__(self) -> ScoreFiles:
        if self.config.json is not None:
            self._json = JsonScore(self._stack.enter_context(open_out(self.config.json)))
            self.sinks.append(self._json)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is None:
            try:
                self._finish()
            except BaseException as e:
                self._stack.__exit__(type(e), e, e.__traceback__)
                raise
        return self._stack.__exit__(kind, error, traceback)

    def _finish(self) -> None:
        if self._json is not None:
            self._json.finish({"certificate": self.certificate.as_fields(), **self.report.as_fields()})


class JsonScore:
    """Writes one JSON object to `f`: `utterances`, one per line, then the fields of `finish`.

    An utterance has `id`, `text`, `pred_text` if there is one, and for each unit the steps of its alignment, such as
    `"word":"CCSDI"` (C correct, S substitution, I insertion, D deletion).
    """

    def __init__(self, f: TextIO) -> None:
        self.f = f
        self.before = '{"utterances":[\n'

    def add(self, rows: Sequence[Row], aligned: Mapping[str, Alignments]) -> None:
        """Write scored rows."""
        steps = {unit: a.steps.tobytes().translate(_LETTERS).decode("ascii") for unit, a in aligned.items()}
        for k, row in enumerate(rows):
            fields: dict[str, Any] = {name: row[name] for name in ("id", "text", "pred_text") if name in row}
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
