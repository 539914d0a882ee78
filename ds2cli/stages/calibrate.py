"""Fit the scale of confidences to a development set: a part of `ds2 decode --tune`, after the weights are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.decode import SCALE_WITH_LM
from ds2cli.errors import BadUtterance
from ds2cli.kernels.edit import DEL, HIT
from ds2cli.metrics.alignment import align_units
from ds2cli.metrics.calibration import Calibration, fit_scale
from ds2cli.recognizer.emissions import Emission
from ds2cli.recognizer.results import find_evidence
from ds2cli.search.beam import BeamSearch
from ds2cli.search.confidence import COMPETITORS, Evidence
from ds2cli.stages.tune import TrialRunner


@dataclass(frozen=True)
class ConfidenceFit:
    """scale: the fitted `confidence_scale`, None if all words are right, or all wrong.

    untuned: the calibration with the default scale.  tuned: that with `scale`, on the utterances it was fitted to.
    """

    scale: float | None
    untuned: Calibration
    tuned: Calibration


def fit_confidences(runner: TrialRunner, settings: Mapping[str, float]) -> ConfidenceFit:
    """Search the development set with these weights and limits, and fit the scale to the words found."""
    search = runner.search.with_options(**settings)
    parts = list(runner.pool.map(lambda item: _measure(search, item), runner.items))
    found = [part for part in parts if part is not None]
    if not found:
        return ConfidenceFit(None, Calibration(), Calibration())
    evidence = Evidence(*(np.concatenate([getattr(e, name) for e, _ in found]) for name in ("log_probs", "shares")))
    right = np.concatenate([right for _, right in found])
    scale = fit_scale(evidence.log_probs, right, np.log(evidence.shares))
    return ConfidenceFit(scale, *(_calibration(evidence, right, s) for s in (SCALE_WITH_LM, scale)))


def _measure(search: BeamSearch, item: Emission) -> tuple[Evidence, NDArray[np.bool_]] | None:
    """What speaks for each word found in one utterance, and whether it is right; None if there is no word."""
    hypotheses = search(item.log_probs, COMPETITORS)
    if not hypotheses[0].text or not np.isfinite(hypotheses[0].score):
        return None
    try:
        _, evidence = find_evidence(item, hypotheses, search.vocab)
    except BadUtterance:
        return None
    steps = align_units([item.row["text"].split()], [hypotheses[0].text.split(" ")]).steps
    return evidence, steps[steps != DEL] == HIT


def _calibration(evidence: Evidence, right: NDArray[np.bool_], scale: float | None) -> Calibration:
    calibration = Calibration()
    if scale is not None:
        calibration.add_words(right, evidence.confidences(scale))
    return calibration
