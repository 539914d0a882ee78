"""Find the cause of each error of decoded rows: what they were decoded with is asked what it thinks of the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

from ds2cli.config.base import MADE_BY, build, read_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.score import ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.kernels.prefix import WORD_LM
from ds2cli.lm.query import NgramLm
from ds2cli.manifest import Row
from ds2cli.metrics.wer import UNITS
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.emissions import CHUNK, Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.attribute import as_fields, attribute, unexplained
from ds2cli.search.beam import BeamSearch
from ds2cli.search.text_score import TextScore

ASKED = ("lm", "alpha", "beta", "unknown", "unknown_letter")
"""Settings of a search that may be given again."""

ABOVE, BELOW = 0.01, 1.0
"""Nats that a row's own score may lie above ours (rounding) and below it (paths that were pruned, one row in fifty has
lost more). Rows beyond them were mostly decoded with other settings."""


def settings_of(config: ScoreConfig, rows: str) -> tuple[DecodeConfig, str | None]:
    """What the rows were decoded with, and the file that says so.

    Option and --config, else ROWS.config.toml where `ds2 decode` wrote it, else what `ds2 decode` would take.
    """
    assert config.why is not None
    asked = {name: getattr(config, name) for name in ASKED if getattr(config, name) is not None}
    path = f"{rows}.config.toml"
    if rows != "-" and Path(path).is_file():
        saved = read_toml(path)
        # the settings of other stages lie in files of such names too
        if {f.name for f in fields(DecodeConfig)} >= saved.keys() - {MADE_BY} and "greedy" in saved:
            return resolve_settings(replace(build(DecodeConfig, (path, saved)), **asked), config.why), path
    return resolve_settings(DecodeConfig(**asked), config.why), None


def text_score(settings: DecodeConfig, experiment: Experiment) -> TextScore:
    """The score of texts that these settings decode by; DataError when there is no such model."""
    search = build_search(replace(settings, greedy=False), experiment)
    assert isinstance(search, BeamSearch)
    return TextScore(search, None if settings.lm is None else NgramLm.load(settings.lm))


@dataclass
class Explainer:
    """Adds `errors` to rows, and keeps count of what it could not explain.

    score: of the settings the rows were decoded with.  unit: what an error is counted in.
    unexplained: utterances that have no emission, no hypothesis, or none of this alphabet.
    judged, far: utterances whose score was computed, and those of them whose own `pred_score` is another.
    """

    experiment: Experiment
    score: TextScore
    unit: str = "word"
    nj: int = 1
    greedy: bool = False
    unexplained: Ledger = field(default_factory=Ledger)
    judged: int = 0
    far: int = 0

    def __post_init__(self) -> None:
        if self.unit == "char" and self.score.search.lexicon.kind == WORD_LM:
            raise UsageError("--why: the language model counts words, so do errors with causes (--unit word)")

    def run(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield every row, in order, with `errors`; only those that have some need an emission."""
        split = UNITS[self.unit]
        source = iter(rows)
        while chunk := list(islice(source, CHUNK)):
            wrong = [row for row in chunk if split(row["text"]) != split(row.get("pred_text") or "")]
            found = {row["id"]: row for row in self._explained(wrong)}
            for row in wrong:
                if row["id"] not in found:
                    errors = unexplained(row["text"], row.get("pred_text") or "", self.unit)
                    found[row["id"]] = {**row, "errors": as_fields(errors)}
            for row in chunk:
                yield found.get(row["id"]) or {**row, "errors": []}

    def _explained(self, rows: Iterable[Row]) -> Iterator[Row]:
        chunks = load_emissions(self._decoded(rows), self.unexplained, self.experiment, times=False)
        for row, far in map_emissions(self._explain, chunks, self.unexplained, self.nj):
            self.judged += 1
            self.far += far
            yield row

    def _decoded(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            if row.get("pred_text") is None:
                self.unexplained.drop(row["id"], "no-pred-text", "it was not decoded")
            else:
                yield row

    def _explain(self, item: Emission) -> tuple[Row, bool]:
        row = item.row
        found = attribute(item.log_probs, row["text"], row["pred_text"], self.score, self.unit)
        # that of the best path is the score of a path, not of a text
        own = row.get("pred_score")
        pruned = 0.0 if own is None or self.greedy else found.hypothesis.score - float(own)
        far = not -ABOVE <= pruned <= BELOW
        return {**row, "errors": as_fields(found.errors)}, far


def explainer(config: ScoreConfig, rows: str) -> tuple[Explainer, DecodeConfig, str | None]:
    """All that --why needs: the explainer, the settings it took and the file they come from."""
    assert config.why is not None
    settings, source = settings_of(config, rows)
    experiment = Experiment(config.why)
    try:
        score = text_score(settings, experiment)
    except DataError as e:
        named = source is not None and config.lm is None and settings.lm is not None and str(e).startswith(settings.lm)
        raise DataError(f"{e}, as {source} names it (--lm FILE)" if named else str(e)) from e
    unit = "char" if config.unit == "char" else "word"
    return Explainer(experiment, score, unit, config.nj, settings.greedy), settings, source
