"""Rank utterances by how likely their transcript is wrong, with the evidence.

Evidence, each as far as it is known:

    loss    CTC loss per character (nats), averaged over the epochs of training after the first: networks learn wrong
            texts later than right ones
    cost    CTC cost per character (nats) of the trained network (ds2 align, ds2 filter)
    rate    characters per second, slower or faster than others
    cer     character error rate of the hypothesis (percent)

Each is measured in robust standard deviations from the median of all utterances (1.4826 times the median absolute
deviation), 0 if it is on the unsuspicious side. The score is their sum. N utterances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.manifest import Row
from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import characters
from ds2cli.provenance import read_inputs, read_record
from ds2cli.train.losses import Losses

EVIDENCE = ("loss", "cost", "rate", "cer")
MORE_CHARACTERS = 3
"""Added to the length of a text, per character of which a loss is: a single letter costs more than one in a sentence.

Chosen with egs/asterisk/suspects.sh: of the wrong texts, 0 finds half, 3 nine in ten, 8 a little less.
"""

MAX_DEVIATIONS = 20.0
"""One kind of evidence counts up to this many deviations."""

MIN_COMPARED = 10
"""Utterances with a value from which on the others are compared with their median."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Suspect:
    """An utterance with its score. evidence: values by name.  deviations: what each adds to the score."""

    id: str
    score: float
    evidence: Mapping[str, float]
    deviations: Mapping[str, float]
    text: str
    row: Row


def rank(rows: Iterable[Row], results: Sequence[Iterable[Row]], losses: Losses | None) -> list[Suspect]:
    """All utterances of the training set, the most suspicious one first.

    rows: of the training set.  results: further rows of the same utterances with `ctc_cost` or `pred_text`.
    DataError if there is no evidence, or no utterance.
    """
    known = {row["id"]: row for row in rows}
    if not known:
        raise DataError("suspects: the training set has no utterances")
    for result in results:
        for row in result:
            if row["id"] in known:
                known[row["id"]] = {**known[row["id"]], **row}
    ids, table = list(known), list(known.values())
    values = {
        "loss": _losses(ids, [row.get("text") or "" for row in table], losses),
        "cost": np.array([_cost(row) for row in table]),
        "rate": np.array([_rate(row) for row in table]),
        "cer": np.array([_cer(row) for row in table]),
    }
    deviations = {name: deviate(x, both=name == "rate") for name, x in values.items()}
    if not any(d.any() for d in deviations.values()) and all(np.isnan(x).all() for x in values.values()):
        raise DataError("suspects: no evidence: no losses in EXP, and no duration, ctc_cost or pred_text in the rows")
    score = np.sum([*deviations.values()], axis=0)
    order = np.lexsort((np.arange(len(ids)), -score))
    return [
        Suspect(
            ids[i],
            round(float(score[i]), 2),
            {name: round(float(x[i]), 3) for name, x in values.items() if np.isfinite(x[i])},
            {name: round(float(d[i]), 2) for name, d in deviations.items() if d[i] > 0},
            str(table[i].get("text", "")),
            table[i],
        )
        for i in order
    ]


def deviate(x: Values, *, both: bool = False) -> Values:
    """Robust deviations (N,) of values (N,) from their median, 0 to MAX_DEVIATIONS; 0 where a value is NaN.

    both: values below the median count, too; of these, logarithms are compared.
    """
    found = np.isfinite(x)
    if found.sum() < MIN_COMPARED:
        return np.zeros_like(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(x) if both else x
        centered = y - np.median(y[found])
        spread = 1.4826 * np.median(np.abs(centered[found]))
        # of values that are mostly equal, any other one is as far away as can be
        scaled = centered / spread if spread > 0 else np.sign(centered) * np.inf
        scaled[centered == 0] = 0.0
        scaled = np.abs(scaled) if both else scaled
    return np.asarray(np.nan_to_num(np.clip(np.where(found, scaled, 0.0), 0.0, MAX_DEVIATIONS)))


def _losses(ids: Sequence[str], texts: Sequence[str], losses: Losses | None) -> Values:
    """(N,) nats per character, averaged over the epochs after the first; of one epoch, its own."""
    if losses is None:
        return np.full(len(ids), np.nan)
    nats = losses.nats[1:] if len(losses.nats) > 1 else losses.nats
    with np.errstate(invalid="ignore"):
        average = np.nansum(nats, axis=0, dtype=np.float64) / np.isfinite(nats).sum(axis=0)
    by_id = dict(zip(losses.ids, average.tolist(), strict=True))
    return np.array(
        [by_id.get(name, np.nan) / (len(text) + MORE_CHARACTERS) for name, text in zip(ids, texts, strict=True)]
    )


def _cost(row: Mapping[str, Any]) -> float:
    text = row.get("text") or ""
    return float(row["ctc_cost"]) / (len(text) + MORE_CHARACTERS) if "ctc_cost" in row else np.nan


def _rate(row: Mapping[str, Any]) -> float:
    text, seconds = row.get("text") or "", row.get("duration") or 0.0
    return len(text) / seconds if text and seconds else np.nan


def _cer(row: Mapping[str, Any]) -> float:
    if "pred_text" not in row or not row.get("text"):
        return np.nan
    return count(characters(row["text"]), characters(row["pred_text"])).rate


def find_training_set(exp: str) -> str:
    """The manifest that EXP was trained on, by its record. DataError if it is not known, or not there."""
    record = read_record(exp)
    if record is None:
        raise DataError(f"{exp}: expected an experiment of ds2 train (of this version), found no record of it")
    for role, path, _ in read_inputs(exp, record):
        if role == "TRAIN":
            if Path(path).is_file():
                return path
            raise DataError(f"{exp}: was trained on {path}, which is not there")
    raise DataError(f"{exp}: its record names no training set")
