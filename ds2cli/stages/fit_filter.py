"""Fit the classifier of `ds2 filter` to a network, by errors that are planted in the texts of a development set.

Notation: N utterances, M texts of them, true and wrong ones, F features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error, UsageError
from ds2cli.manifest import Row
from ds2cli.metrics import bootstrap
from ds2cli.metrics.alignment import align_words
from ds2cli.metrics.logistic import fit_logistic
from ds2cli.metrics.operating_points import Curve, Texts, draw_curve, largest_good_rate, weighted_auc
from ds2cli.metrics.planted_errors import ErrorPlanter, shuffle_by_id
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.transcript_filter import DECIMALS, TranscriptFilter
from ds2cli.search.ctc_cost import text_cost
from ds2cli.search.transcript_features import FEATURES, transcript_features
from ds2cli.search.trellis import spell

FOLDS = 10
"""Parts of the utterances in the cross-validation."""

TRUE = ""
"""The kind of a text without errors."""


@dataclass(frozen=True)
class Examples:
    """The texts of a development set, true and wrong ones.

    features: (M, F).  kinds: of the planted errors, TRUE for true texts.  utterances: (M,) the utterance of each.
    texts: their errors and weights.  ids: of the utterances.  unfit: wrong texts that no path spells.
    """

    features: NDArray[np.float64]
    kinds: list[str]
    utterances: NDArray[np.int64]
    texts: Texts
    ids: list[str]
    unfit: int


class FeatureUse(NamedTuple):
    """What a feature contributes. weight: per standard deviation.  alone, without: AUC of it alone, and of the rest."""

    name: str
    weight: float
    alone: float
    without: float


class KindResult(NamedTuple):
    """Texts of one kind. number: of them.  wer: of all (percent).  kept: share of them at the operating point."""

    kind: str
    number: int
    wer: float
    kept: float


class Trial(NamedTuple):
    """Scores by cross-validation, if texts up to a word error rate of `good_rate` (percent) are good.

    scores: (M,).  good: (M,).  curve: the operating points.  chosen: an index of `curve`, None if none is good enough.
    """

    good_rate: float
    scores: NDArray[np.float64]
    good: NDArray[np.bool_]
    curve: Curve
    chosen: int | None

    @property
    def kept(self) -> float:
        """The share of the texts that is kept at the operating point; 0 without one."""
        return 0.0 if self.chosen is None else float(self.curve.kept[self.chosen])


@dataclass(frozen=True)
class FilterFit:
    """The classifier and, by cross-validation, what it keeps.

    trials: the one used, and those that keep less.
    interval: of the word error rate of what is kept, in 95 % of the resamplings of the utterances (percent).
    """

    classifier: TranscriptFilter
    trials: list[Trial]
    chosen: int
    interval: tuple[float, float]
    auc: float
    uses: list[FeatureUse]
    kinds: list[KindResult]


def make_examples(
    config: FilterConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    watch: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> Examples:
    """The texts of the rows and wrong ones, with their features.

    The true texts have the weight 1, and the wrong ones the weight with which the word error rate of all is
    `config.raw_wer`. Rows whose text cannot be used are dropped.
    watch: passes on what it is given, an item for each utterance that is done; to show progress.
    DataError if fewer than two utterances are left. UsageError if the wrong texts cannot have such a rate.
    """
    rows = list(_usable(rows, ledger, experiment))
    ids, true = [row["id"] for row in rows], [row["text"] for row in rows]
    planter, place_of = ErrorPlanter(ids, true, config.seed), {name: i for i, name in enumerate(ids)}

    def measure(item: Emission, text: str) -> list[float]:
        cost = text_cost(item.log_probs, spell(text, experiment.vocab).labels)
        return transcript_features(cost, len(item.log_probs), text)

    def work(item: Emission) -> tuple[int, list[tuple[str, str, list[float]]], int]:
        place = place_of[item.row["id"]]
        found = [(TRUE, true[place], measure(item, true[place]))]
        planted = planter.plant(place, config.copies)
        for kind, text in planted:
            # `ds2 filter` drops a text that does not fit without a classifier
            with contextlib.suppress(BadUtterance):
                found.append((kind, text, measure(item, text)))
        return place, found, 1 + len(planted) - len(found)

    chunks = load_emissions(rows, ledger, experiment, needs_step_s=False)
    results = map_emissions(work, chunks, ledger, config.nj, "the CTC costs")
    parts = list(watch(results) if watch else results)
    ledger.kept += len(parts)
    if len(parts) < 2:
        raise DataError(f"--fit: expected at least two utterances with words and an emission, found {len(parts)}")
    utterances = np.array([place for place, found, _ in parts for _ in found])
    kinds, texts, features = zip(*(text for _, found, _ in parts for text in found), strict=True)
    counts = align_words([true[i] for i in utterances], texts).counts
    unweighted = Texts(counts[:, 1:].sum(axis=1), counts[:, [0, 1, 3]].sum(axis=1), np.ones(len(texts)))
    weights = _weigh(unweighted, np.array([kind == TRUE for kind in kinds]), config.raw_wer)
    weighted = Texts(unweighted.errors, unweighted.words, weights)
    return Examples(np.array(features), list(kinds), utterances, weighted, ids, sum(unfit for *_, unfit in parts))


def fit(config: FilterConfig, examples: Examples) -> FilterFit:
    """Fit the classifier, and find its operating point by cross-validation.

    A text is good up to a word error rate: either the largest with which all good ones together are below
    `config.keep_wer`, as in the paper, or 0; that which keeps more is used.
    Ds2Error if neither keeps texts with a word error rate below `config.keep_wer`, DataError for too few utterances.
    """
    texts, folds = examples.texts, _split_folds(examples, config.seed)
    trials = []
    for rate in dict.fromkeys((largest_good_rate(texts, config.keep_wer), 0.0)):
        try:
            trials.append(_try(rate, config.keep_wer, examples, folds))
        except DataError as e:
            # few of the texts are worse than the largest rate
            if not rate and not trials:
                raise DataError(f"--fit: too few utterances for a cross-validation: {e}") from e
    trials.sort(key=lambda trial: -trial.kept)
    best = trials[0]
    if best.chosen is None:
        curve = min((trial.curve for trial in trials), key=lambda c: float(c.wer.min()))
        lowest = int(curve.wer.argmin())
        raise Ds2Error(
            f"--fit: no threshold keeps texts with a WER below {config.keep_wer:g} %: the lowest is "
            f"{curve.wer[lowest]:.1f} %, of {100 * curve.kept[lowest]:.1f} % of the texts (--keep-wer allows more)"
        )
    model = fit_logistic(examples.features, best.good, texts.weights)
    threshold = float(best.curve.thresholds[best.chosen])
    kept = best.scores >= threshold

    def auc(columns: NDArray[np.float64]) -> float:
        scores = _cross_validate(columns, best.good, texts.weights, folds)
        return weighted_auc(scores, best.good, texts.weights)

    uses = [
        FeatureUse(name, float(model.weights[i]), auc(examples.features[:, [i]]), auc(_without(examples.features, i)))
        for i, name in enumerate(FEATURES)
    ]
    return FilterFit(
        TranscriptFilter(model, threshold),
        trials,
        best.chosen,
        _interval(examples, kept, config.seed),
        weighted_auc(best.scores, best.good, texts.weights),
        uses,
        list(_by_kind(examples, kept)),
    )


def _try(rate: float, keep_wer: float, examples: Examples, folds: NDArray[np.int64]) -> Trial:
    good = examples.texts.rates <= rate
    scores = _cross_validate(examples.features, good, examples.texts.weights, folds)
    curve = draw_curve(scores, good, examples.texts)
    return Trial(rate, scores, good, curve, curve.most_below(keep_wer))


def _without(features: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    return np.delete(features, column, axis=1)


def _usable(rows: Iterable[Row], ledger: Ledger, experiment: Experiment) -> Iterable[Row]:
    """The rows whose texts have words, some of which the network can spell: others get no errors, and lend no words."""
    for row in rows:
        try:
            if not spell(row["text"], experiment.vocab).labels:
                raise BadUtterance("no-words", "the text is empty")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        yield row


def _weigh(texts: Texts, is_true: NDArray[np.bool_], raw_wer: float) -> NDArray[np.float64]:
    """Weights (M,): 1 of true texts, the same of all wrong ones, so that all have this error rate (percent)."""
    errors, words = texts.errors.sum(), texts.words[~is_true].sum()
    rate = raw_wer / 100
    if errors <= rate * words:
        found = f"{100 * errors / words:.1f} %" if words else "none"
        raise UsageError(f"--raw-wer {raw_wer:g}: expected less than the WER of the wrong texts, {found}")
    weight = rate * texts.words[is_true].sum() / (errors - rate * words)
    return np.where(is_true, 1.0, weight)


def _split_folds(examples: Examples, seed: int) -> NDArray[np.int64]:
    """The fold of each text (M,): all texts of an utterance are in the same one."""
    present = np.unique(examples.utterances)
    order = shuffle_by_id([examples.ids[i] for i in present], seed)
    fold = np.zeros(len(examples.ids), np.int64)
    fold[present[order]] = np.arange(len(present)) % FOLDS
    return fold[examples.utterances]


def _cross_validate(
    features: NDArray[np.float64], good: NDArray[np.bool_], weights: NDArray[np.float64], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The score of each text (M,), by a classifier that was fitted to the other folds; DataError as `fit_logistic`."""
    scores = np.empty(len(features))
    for fold in np.unique(folds):
        held_out = folds == fold
        model = fit_logistic(features[~held_out], good[~held_out], weights[~held_out])
        scores[held_out] = model.probabilities(features[held_out])
    return np.round(scores, DECIMALS)


def _interval(examples: Examples, kept: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of the word error rate of what is kept (percent)."""
    texts, number = examples.texts, len(examples.ids)
    is_true = np.array([kind == TRUE for kind in examples.kinds])
    columns = [
        np.bincount(examples.utterances, values * chosen, number)
        for values, chosen in ((texts.words, kept & is_true), (texts.words, kept & ~is_true), (texts.errors, kept))
    ]
    counts = np.rint(np.column_stack(columns)[np.unique(examples.utterances)]).astype(np.int64)
    true_words, words, errors = bootstrap.draw_totals(counts, seed, bootstrap.DRAWS).T
    weight = texts.weights[~is_true][0]
    return bootstrap.interval(100.0 * weight * errors / np.maximum(true_words + weight * words, 1e-12))


def _by_kind(examples: Examples, kept: NDArray[np.bool_]) -> Iterable[KindResult]:
    texts, kinds = examples.texts, np.array(examples.kinds)
    for kind in dict.fromkeys(examples.kinds):
        chosen = kinds == kind
        wer = 100.0 * texts.errors[chosen].sum() / texts.words[chosen].sum()
        yield KindResult(kind or "true", int(chosen.sum()), float(wer), float(kept[chosen].mean()))
