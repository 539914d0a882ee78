"""Find the cause of each error of decoded rows: score references and hypotheses by the search that chose the latter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import islice

from ds2cli.config.base import MADE_BY, build, read_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.score import SEARCH_SETTINGS, ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.kernels.prefix import WORD_LM
from ds2cli.lm.query import NgramLm
from ds2cli.manifest import Row
from ds2cli.metrics.wer import UNITS
from ds2cli.recognizer.decoder import build_beam_search, resolve_settings
from ds2cli.recognizer.emissions import CHUNK, Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.attribute import attribute, errors_as_fields, unexplained_errors
from ds2cli.search.text_score import ExactScorer

MAX_SCORE_ABOVE, MAX_SCORE_BELOW = 0.01, 1.0
"""How far (nats) the `pred_score` of a row may lie above the score computed here, by rounding, and below it, by paths
that were pruned (one row in fifty lost more). Rows outside were probably decoded with other settings."""


def find_settings(config: ScoreConfig, path: str) -> tuple[DecodeConfig, str | None]:
    """The settings that the rows of `path` were decoded with, and the file that records them.

    They are taken from options and --config, else from PATH.config.toml as written by `ds2 decode`, else they are
    those that `ds2 decode` would use (and the file is None).
    """
    assert config.why is not None
    given = {name: getattr(config, name) for name in SEARCH_SETTINGS if getattr(config, name) is not None}
    saved_path = f"{path}.config.toml"
    if path != "-" and os.path.isfile(saved_path):
        saved = read_toml(saved_path)
        # other stages save their settings under such names too
        if {f.name for f in fields(DecodeConfig)} >= saved.keys() - {MADE_BY} and "greedy" in saved:
            settings = replace(build(DecodeConfig, (saved_path, saved)), **given)
            return resolve_settings(settings, config.why, is_own_lm_default=False), saved_path
    return resolve_settings(DecodeConfig(**given), config.why), None


def build_text_score(settings: DecodeConfig, experiment: Experiment) -> ExactScorer:
    """The score of texts under these settings; DataError if the language model cannot be opened."""
    lm = None if settings.lm is None else NgramLm.load(settings.lm)
    return ExactScorer(build_beam_search(replace(settings, greedy=False), experiment, lm=lm), lm)


@dataclass
class Explainer:
    """Adds `errors` to rows, and counts the rows that it could not explain.

    score: under the settings that the rows were decoded with.  unit: "word" or "char", the unit of an error.
    greedy: whether the rows were decoded greedily; `pred_score` is then the score of a path, not of a text.
    unexplained: utterances without an emission, without a hypothesis, or with one outside the vocabulary.
    scored, mismatched: utterances that were scored, and those of them whose `pred_score` does not match.
    """

    experiment: Experiment
    score: ExactScorer
    unit: str = "word"
    nj: int = 1
    greedy: bool = False
    unexplained: Ledger = field(default_factory=Ledger)
    scored: int = 0
    mismatched: int = 0

    def __post_init__(self) -> None:
        if self.unit == "char" and self.score.search.lexicon.kind == WORD_LM:
            raise UsageError("--why: with a language model of words the errors must be words too (--unit word)")

    def run(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield every row, in order, with `errors`; only rows with errors need an emission."""
        split = UNITS[self.unit]
        source = iter(rows)
        while chunk := list(islice(source, CHUNK)):
            wrong = [row for row in chunk if split(row["text"]) != split(row.get("pred_text") or "")]
            explained = {row["id"]: row for row in self._explain_rows(wrong)}
            for row in wrong:
                if row["id"] not in explained:
                    errors = unexplained_errors(row["text"], row.get("pred_text") or "", self.unit)
                    explained[row["id"]] = {**row, "errors": errors_as_fields(errors)}
            for row in chunk:
                yield explained.get(row["id"]) or {**row, "errors": []}

    def _explain_rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        chunks = load_emissions(self._drop_undecoded(rows), self.unexplained, self.experiment, needs_step_s=False)
        for row, is_mismatch in map_emissions(self._explain, chunks, self.unexplained, self.nj):
            self.scored += 1
            self.mismatched += is_mismatch
            yield row

    def _drop_undecoded(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            if row.get("pred_text") is None:
                self.unexplained.drop(row["id"], "no-pred-text", "the utterance was not decoded")
            else:
                yield row

    def _explain(self, item: Emission) -> tuple[Row, bool]:
        row = item.row
        attribution = attribute(item.log_probs, row["text"], row["pred_text"], self.score, self.unit)
        pred_score = row.get("pred_score")
        lost = 0.0 if pred_score is None or self.greedy else attribution.hypothesis.score - float(pred_score)
        is_mismatch = not -MAX_SCORE_ABOVE <= lost <= MAX_SCORE_BELOW
        return {**row, "errors": errors_as_fields(attribution.errors)}, is_mismatch


def open_explainer(config: ScoreConfig, path: str) -> tuple[Explainer, DecodeConfig, str | None]:
    """The explainer for the rows of `path`, the settings it uses, and the file that records them."""
    assert config.why is not None
    settings, source = find_settings(config, path)
    experiment = Experiment(config.why)
    try:
        score = build_text_score(settings, experiment)
    except DataError as e:
        is_saved = source is not None and config.lm is None
        if is_saved and settings.lm is not None and str(e).startswith(settings.lm):
            raise DataError(f"{e}; {source} names this model (--lm FILE overrides it)") from e
        raise
    unit = "char" if config.unit == "char" else "word"
    return Explainer(experiment, score, unit, config.nj, settings.greedy), settings, source
