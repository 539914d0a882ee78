"""The classifier of transcripts that `ds2 filter --fit` saves in an experiment, for its network alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ds2cli import __version__
from ds2cli.config.base import MADE_BY
from ds2cli.errors import DataError
from ds2cli.experiment_files import open_files
from ds2cli.io import open_out
from ds2cli.metrics.logistic import LogisticModel
from ds2cli.recognizer.vocabulary import WEIGHTS
from ds2cli.search.transcript_features import FEATURES
from ds2cli.text.vocab import TOKENS

FILTER_FILE = "filter.toml"
"""File of an experiment with the classifier and its operating point."""

DECIMALS = 6
"""Scores are rounded to this, so that a row's score and the threshold compare as they are written."""

_NUMBERS = ("weight", "mean", "scale")


@dataclass(frozen=True)
class TranscriptFilter:
    """model: of the numbers in FEATURES.  threshold: the score from which a transcript is kept."""

    model: LogisticModel
    threshold: float

    def score(self, features: list[float]) -> float:
        """The probability that a transcript with these features is good."""
        return round(float(self.model.probabilities(np.array([features]))[0]), DECIMALS)


def save_filter(exp: str, classifier: TranscriptFilter, **made_by: Any) -> None:
    """Write EXP/filter.toml, with a table of its origin."""
    import tomli_w

    model = classifier.model
    columns = zip(model.weights.tolist(), model.means.tolist(), model.scales.tolist(), strict=True)
    features = {name: dict(zip(_NUMBERS, values, strict=True)) for name, values in zip(FEATURES, columns, strict=True)}
    values = {"threshold": classifier.threshold, "bias": model.bias, "features": features}
    origin = {"ds2cli": __version__, "network": identify_network(exp), **made_by}
    with open_out(str(Path(exp) / FILTER_FILE)) as f:
        f.write(tomli_w.dumps({**values, MADE_BY: origin}))


def load_filter(exp: str) -> TranscriptFilter:
    """Read EXP/filter.toml; DataError if there is none, it is damaged, or it belongs to another network."""
    files = open_files(exp)
    # a bundle is not changed: fit to the experiment that it was made of
    path, fix = files.where(FILTER_FILE), f"ds2 filter --fit {'EXP' if files.is_bundle else exp} DEV"
    if not files.has(FILTER_FILE):
        raise DataError(
            f"{path}: no such file: the costs of each network differ, so a filter is fitted to each ({fix})"
        )
    values = files.read_toml(FILTER_FILE)
    made_by = values.get(MADE_BY)
    if not isinstance(made_by, dict) or made_by.get("network") != identify_network(exp):
        raise DataError(f"{path}: fitted to another network than that of {exp} ({fix} fits it to this one)")
    features = values.get("features")
    if not isinstance(features, dict) or features.keys() != set(FEATURES):
        raise DataError(f"{path}: expected the tables features.NAME of {', '.join(FEATURES)} ({fix})")
    table = np.array(
        [[_number(path, features[name], key, f"features.{name}") for key in _NUMBERS] for name in FEATURES]
    )
    threshold, bias = _number(path, values, "threshold"), _number(path, values, "bias")
    if not 0 <= threshold <= 1:
        raise DataError(f"{path}: threshold: expected 0 to 1, got {threshold:g} ({fix})")
    if (table[:, 2] <= 0).any():
        raise DataError(f"{path}: scale: expected numbers above 0, got {table[:, 2].min():g} ({fix})")
    return TranscriptFilter(LogisticModel(table[:, 0], table[:, 1], table[:, 2], bias), threshold)


def identify_network(exp: str) -> str:
    """A short digest of the weights; of the output symbols if the folder has no weights, only emissions made with them.

    DataError if there is neither.
    """
    files = open_files(exp)
    for name in (WEIGHTS, TOKENS):
        if digest := files.sha256(name):
            return digest[:16]
    raise DataError(f"{exp}: no {WEIGHTS}: expected the folder of an experiment (ds2 train)")


def _number(path: str, table: Any, name: str, section: str = "") -> float:
    """A finite number of moderate size, so that no score overflows."""
    value = table.get(name) if isinstance(table, dict) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e100:
        return float(value)
    where = f"{section}.{name}" if section else name
    raise DataError(f"{path}: {where}: expected a number, got {str(value)[:40]} (ds2 filter --fit writes this file)")
