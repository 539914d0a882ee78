"""Tuning on emissions: independent of the number of threads, effective, and never on a test set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.base import read_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.metrics.alignment import align
from ds2cli.metrics.calibration import Calibration, word_confidences
from ds2cli.metrics.wer import Counts
from ds2cli.recognizer.decoder import build_beam_search, pruning_limits, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.tune import Axis, Trial, TrialHistory, Weights, tune_weights
from ds2cli.stages import decode, tune
from ds2cli.stages.calibrate import fit_confidences
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.3
-1\t</s>
-0.5\tab\t-0.2
-0.7\tba\t-0.2
-0.9\tbé\t-0.2

\\2-grams:
-0.3\t<s> ab
-0.2\tab ba
-0.4\tba ab
-0.3\tbé ab

\\end\\
"""
CHARS = """\\data\\
ngram 1=7

\\1-grams:
-2\t<unk>
0\t<s>
-1\t</s>
-0.6\t<space>
-0.5\ta
-0.5\tb
-1\té

\\end\\
"""


@pytest.fixture
def exp(tmp_path):
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "lm.arpa").write_text(LM, "utf-8")
    (tmp_path / "chars.arpa").write_text(CHARS, "utf-8")
    return str(tmp_path / "exp")


@pytest.fixture
def rows(tmp_path):
    """Sentences of known and unknown words, with uncertain emissions; neither times nor a network are needed."""
    rng = np.random.default_rng(5)
    out = []
    with ArkWriter(tmp_path / "e.ark") as ark:
        for i in range(30):
            text = " ".join(rng.choice(["ab", "ba", "bé", "ab", "aé"], rng.integers(1, 5)))
            path = [s for c in text for s in (VOCAB.symbols.index(c), 0)]
            p = rng.dirichlet(np.full(len(VOCAB), 0.5), len(path)) * 0.65
            p[np.arange(len(path)), path] += 0.35
            ref = ark.write(f"u{i:02d}", np.log(p + 1e-6).astype(np.float32))
            out.append({"id": f"u{i:02d}", "text": text, "emission": ref})
    return out


def run_tuning(rows, exp, tmp_path, model="lm.arpa", **settings):
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / model), **settings), exp)
    experiment, ledger = Experiment(exp), Ledger()
    search = build_beam_search(config, experiment)
    axes = tune.choose_axes(config, search)
    unit = "word" if model == "lm.arpa" else "char"
    with tune.open_trial_runner(rows, ledger, experiment, search, unit, config.nj) as runner:
        history = TrialHistory(runner.try_weights)
        list(tune_weights(axes, tune.start_weights(axes), history))
    return history, axes, ledger


@pytest.mark.long
def test_tuning_helps_and_does_not_depend_on_the_number_of_threads(rows, exp, tmp_path):
    sequential, axes, ledger = run_tuning(rows, exp, tmp_path)
    assert ledger.kept == 30
    best, start = sequential.best()[0], sequential[tune.start_weights(axes)]
    assert 0 < best.counts.errors < start.counts.errors
    assert best.counts.total == sum(len(row["text"].split()) for row in rows)
    assert best.per_utterance.sum(axis=0).tolist() == [best.counts.errors, best.counts.total]
    for nj in (3, 7):
        parallel, _, _ = run_tuning(rows, exp, tmp_path, nj=nj)
        assert parallel.best()[0].weights == best.weights
        assert len(parallel) == len(sequential)
        assert (parallel.best()[0].per_utterance == best.per_utterance).all()


@pytest.mark.long
def test_a_trial_counts_the_errors_of_decoding_with_its_weights(rows, exp, tmp_path):
    from ds2cli.metrics.alignment import count

    history, _, _ = run_tuning(rows, exp, tmp_path, nj=2)
    best = history.best()[0]
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), **vars(best.weights)), exp)
    experiment = Experiment(exp)
    results = list(decode.run(config, rows, Ledger(), experiment, build_beam_search(config, experiment)))
    assert best.char_errors == sum(count(list(r["text"]), list(r["pred_text"])).errors for r in results)
    assert [count(r["text"].split(), r["pred_text"].split()).errors for r in results] == best.per_utterance[
        :, 0
    ].tolist()


def names(axes):
    return [axis.name for axis in axes]


def test_only_weights_that_matter_are_tuned(rows, exp, tmp_path):
    assert names(run_tuning(rows[:3], exp, tmp_path)[1]) == ["alpha", "beta", "unknown", "unknown_letter"]
    assert names(run_tuning(rows[:3], exp, tmp_path, closed=True)[1]) == ["alpha", "beta"]
    (tmp_path / "words.txt").write_text("ab\naé\n", "utf-8")
    listed = {"lexicon": str(tmp_path / "words.txt")}
    assert names(run_tuning(rows[:3], exp, tmp_path, **listed)[1]) == ["alpha", "beta", "unknown"]
    assert names(run_tuning(rows[:3], exp, tmp_path, "chars.arpa")[1]) == ["alpha", "beta"]
    with pytest.raises(UsageError, match="betas is empty: expected at least one value"):
        run_tuning(rows[:3], exp, tmp_path, betas=())


def test_each_weight_has_its_values_and_its_bounds(exp, tmp_path):
    values = {"alphas": (0.5,), "betas": (-2.0, 3.0), "unknowns": (-7.0,), "unknown_letters": (0.0, -4.0)}
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), **values), exp)
    axes = [
        Axis("alpha", (0.5,), minimum=0.0),
        Axis("beta", (-2.0, 3.0)),
        Axis("unknown", (-7.0,)),
        Axis("unknown_letter", (0.0, -4.0), maximum=0.0),
    ]
    assert tune.choose_axes(config, build_beam_search(config, Experiment(exp))) == axes
    # a character model without one of the symbols encounters unknown characters, but counts no letters in them
    (tmp_path / "some.arpa").write_text(CHARS.replace("ngram 1=7", "ngram 1=6").replace("-1\té\n", ""), "utf-8")
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "some.arpa"), **values), exp)
    assert tune.choose_axes(config, build_beam_search(config, Experiment(exp))) == axes[:3]


def test_a_closed_search_stays_closed(rows, exp, tmp_path):
    history, _, _ = run_tuning(rows, exp, tmp_path, closed=True)
    unknown = sum(row["text"].split().count("aé") for row in rows)
    assert history.best()[0].counts.errors >= unknown > 0


def test_a_closed_search_writes_no_unknown_word_at_any_point(exp, tmp_path):
    """An open search without a penalty writes the unknown word, which the emission is sure of."""
    path = [VOCAB.symbols.index(c) for c in "aé"]
    certain = np.full((2, len(VOCAB)), np.log(1e-4), np.float32)
    certain[[0, 1], path] = np.log(0.9996)
    with ArkWriter(tmp_path / "certain.ark") as ark:
        given = [{"id": "u", "text": "aé", "emission": ark.write("u", certain), "step_s": 0.02}]
    point = Weights(0.0, 0.0, 0.0, 0.0)
    for closed, errors in ((False, 0), (True, 1)):
        config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), closed=closed), exp)
        search = build_beam_search(config, Experiment(exp))
        with tune.open_trial_runner(given, Ledger(), Experiment(exp), search, "word", 1) as runner:
            (trial,) = runner.try_weights([point])
        assert trial.counts.errors == errors


def test_tuning_starts_from_the_default_weights(exp, tmp_path):
    axes = [Axis("alpha", (0.1, 0.2)), Axis("beta", (3.0,)), Axis("unknown", (-9.0, -8.0))]
    assert tune.start_weights(axes) == Weights(0.8, 3.0, -4.0, 0.0)


def test_limits_are_measured(rows, exp, tmp_path):
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa")), exp)
    experiment = Experiment(exp)
    search = build_beam_search(config, experiment)
    with tune.open_trial_runner(rows, Ledger(), experiment, search, "word", 2) as runner:
        weights = {"alpha": 0.5, "beta": 1.0}
        wide, narrow = runner.try_limits(weights, [{"beam": 64, "beam_gap": 20.0}, {"beam": 1, "prune_top": 1}])
        ((with_large_alpha, _),) = runner.try_limits({"alpha": 4.0}, [{}])
        (trial,) = runner.try_weights([Weights(4.0, 1.0, -4.0, -1.0)])
    assert wide[0].errors < narrow[0].errors
    assert wide[1] > 0 and narrow[1] > 0
    assert with_large_alpha == trial.counts != wide[0]


def test_the_cost_of_limits_is_the_processor_time_per_step(rows, exp, tmp_path, monkeypatch):
    """The clock advances by 1 ms whenever it is read, so each search takes 1 ms."""
    ticks = itertools.count()
    monkeypatch.setattr(tune.time, "thread_time", lambda: 0.001 * next(ticks))
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa")), exp)
    search = build_beam_search(config, Experiment(exp))
    with tune.open_trial_runner(rows[:5], Ledger(), Experiment(exp), search, "word", 1) as runner:
        costs = [cost for _, cost in runner.try_limits({"alpha": 0.5}, [{"beam": 8}, {"beam": 4}])]
    steps = 2 * sum(len(row["text"]) for row in rows[:5])
    assert costs == pytest.approx([5 * 1000 / steps] * 2)


def test_tightened_limits_make_no_more_errors(rows, exp, tmp_path):
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa")), exp)
    experiment, weights = Experiment(exp), {"alpha": 0.5, "beta": 1.0}
    search = build_beam_search(config, experiment)
    with tune.open_trial_runner(rows, Ledger(), experiment, search, "word", 1) as runner:
        limits, trials = tune.tighten_limits(runner, weights, pruning_limits(config))
        ((counts, _),) = runner.try_limits(weights, [limits])
    assert trials[0].limit is None and trials[0].values == pruning_limits(config)
    assert counts.errors <= trials[0].counts.errors
    assert limits["beam"] < 64 and isinstance(limits["beam"], int)
    assert {trial.limit: trial.values[trial.limit] for trial in trials[1:] if trial.accepted}.items() <= limits.items()


def test_the_summary_compares_the_best_trial_with_the_start(rows, exp, tmp_path):
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), betas=(1.0,), unknowns=(-2.0,)), exp)
    experiment = Experiment(exp)
    search = build_beam_search(config, experiment)
    axes = tune.choose_axes(config, search)
    start = tune.start_weights(axes)
    with tune.open_trial_runner(rows, Ledger(), experiment, search, "word", 1) as runner:
        history = TrialHistory(runner.try_weights)
        list(tune_weights(axes, start, history))
        summary = tune.summarize(axes, start, history, seed=0)
        with_another_seed = tune.summarize(axes, start, history, seed=1)
    assert summary.best is history.best()[0] and summary.untuned is history[start]
    assert summary.best.counts.errors < summary.untuned.counts.errors
    assert summary.better > 50 and summary.draws == 1000
    assert (with_another_seed.interval, with_another_seed.better) != (summary.interval, summary.better)
    assert summary.weights == {axis.name: getattr(summary.best.weights, axis.name) for axis in axes}
    assert summary.interval[0] <= summary.best.counts.rate <= summary.interval[1]
    assert [(panel.row_name, panel.column_name) for panel in summary.panels] == [
        ("alpha", "beta"),
        ("unknown", "unknown_letter"),
    ]
    for panel in summary.panels:
        assert panel.rates[panel.best] == summary.best.counts.rate == panel.rates.min()


def test_a_better_point_around_the_best_one_becomes_the_best():
    """The grid has one point; each better one can only be seen from the one before."""
    errors = {(1.5, 3.0): 2, (1.5, 5.0): 3, (3.0, 6.0): 1}

    def evaluate(points):
        for point in points:
            wrong = errors.get((point.alpha, point.beta), 5)
            yield Trial(point, Counts(hits=10 - wrong, subs=wrong), 0, np.array([[wrong, 10]]))

    axes, history = [Axis("alpha", (0.0, 1.0), minimum=0.0), Axis("beta", (0.0, 2.0))], TrialHistory(evaluate)
    list(history.run([Weights(0.0, 0.0)]))
    summary = tune.summarize(axes, Weights(0.0, 0.0), history, seed=0)
    assert (summary.weights, summary.interval) == ({"alpha": 3.0, "beta": 6.0}, (10.0, 10.0))
    (panel,) = summary.panels
    assert panel.rows == [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
    assert panel.columns == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert (panel.best, panel.rates[3, 3], panel.rates[0, 0], panel.rates[0, 2]) == ((3, 3), 10.0, 20.0, 30.0)


def test_decode_uses_the_stored_settings(exp, tmp_path):
    tune.save_settings(exp, {"alpha": 0.5, "beta": 1.25, "beam": 32}, made_on="dev.jsonl", interval=[1.0, 2.0])
    resolved = resolve_settings(DecodeConfig(lm="lm.arpa"), exp)
    assert (resolved.alpha, resolved.beta, resolved.unknown, resolved.beam) == (0.5, 1.25, -4.0, 32)
    assert read_toml(f"{exp}/decode.toml")["made_by"]["made_on"] == "dev.jsonl"


def test_tuning_on_a_test_set_is_refused(rows, exp, tmp_path):
    for name in ("test.jsonl", "data/test-clean.jsonl.gz", "my_test.feats.jsonl", "TEST.jsonl", "test2.jsonl"):
        with pytest.raises(UsageError, match="test set"):
            tune.refuse_test_set(name)
    for name in ("dev.jsonl", "test/dev.jsonl", "latest.jsonl", "contest.jsonl", "-"):
        tune.refuse_test_set(name)
    for name in ("part", "split"):
        with pytest.raises(UsageError, match=f"u00 has {name} 'test-clean'"):
            tune.refuse_test_row({**rows[0], name: "test-clean"})
    numbered = {**rows[0], "part": 2, "split": None}
    assert tune.refuse_test_row(numbered) is numbered


def test_tuning_without_utterances_is_refused(exp, tmp_path):
    with pytest.raises(DataError, match="no utterance"):
        run_tuning([], exp, tmp_path)


def test_tuning_on_empty_texts_is_refused(rows, exp, tmp_path):
    with pytest.raises(DataError, match="the texts of all 30 utterances are empty"):
        run_tuning([{**row, "text": " "} for row in rows], exp, tmp_path)


def test_limits_that_cost_no_errors_are_tightened_to_the_cheapest():
    given = {"beam": 64, "beam_gap": 20.0, "prune_top": 40, "prune_mass": 0.995}

    class Runner:
        """Errors that grow only with a beam of less than 16."""

        def try_limits(self, weights, limits):
            assert weights == {"alpha": 2.0}
            for values in limits:
                yield Counts(hits=9, subs=3 if values["beam"] >= 16 else 4), 1.0

    limits, trials = tune.tighten_limits(Runner(), {"alpha": 2.0}, given)
    assert limits == {name: ladder[0] for name, ladder in tune.LADDERS.items()} | {"beam": 16}
    beams = [(t.values["beam"], t.accepted) for t in trials[1:] if t.limit == "beam"]
    assert beams == [(4, False), (8, False), (16, True)]
    # values that are not tighter than the given ones are not tried
    tight = {name: ladder[0] for name, ladder in tune.LADDERS.items()}
    assert [t.limit for t in tune.tighten_limits(Runner(), {"alpha": 2.0}, tight)[1]] == [None]


def fit(rows, exp, tmp_path, nj=1, **settings):
    config, experiment = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), **settings), exp), Experiment(exp)
    search = build_beam_search(config, experiment)
    with tune.open_trial_runner(rows, Ledger(), experiment, search, "word", nj) as runner:
        return fit_confidences(runner, {"alpha": 1.0, "beam": 8})


def test_the_fitted_scale_gives_the_confidences_of_decoding_with_it(rows, exp, tmp_path):
    found = fit(rows, exp, tmp_path)
    assert 0 < found.tuned.right < found.tuned.words and found.tuned.nce >= found.untuned.nce
    settings = {"alpha": 1.0, "beam": 8, "timestamps": True, "confidence_scale": found.scale}
    config = resolve_settings(DecodeConfig(lm=str(tmp_path / "lm.arpa"), **settings), exp)
    experiment, calibration = Experiment(exp), Calibration()
    given = [{**row, "step_s": 0.02} for row in rows]
    for row in decode.run(config, given, Ledger(), experiment, build_beam_search(config, experiment)):
        calibration.add(align(row["text"].split(), row["pred_text"].split()), word_confidences(row))
    assert (calibration.words, calibration.right) == (found.tuned.words, found.tuned.right)
    assert calibration.mean == pytest.approx(found.tuned.mean, abs=1e-4)
    assert calibration.nce == pytest.approx(found.tuned.nce, abs=0.01)


@pytest.mark.parametrize("nj", [2, 5])
def test_the_fitted_scale_does_not_depend_on_the_number_of_threads(rows, exp, tmp_path, nj):
    assert fit(rows, exp, tmp_path, nj).scale == fit(rows, exp, tmp_path).scale


def test_no_scale_is_fitted_if_no_word_is_found_or_all_are_wrong(rows, exp, tmp_path):
    silent = np.log(np.full((4, len(VOCAB)), 0.01, np.float32))
    silent[:, 0] = np.log(0.96)
    with ArkWriter(tmp_path / "s.ark") as ark:
        empty = [{"id": "s", "text": "ab", "emission": ark.write("s", silent)}]
    found = fit(empty, exp, tmp_path)
    assert (found.scale, found.untuned.words, found.tuned.words) == (None, 0, 0)
    wrong = [{**row, "text": "nothing of it"} for row in rows]
    assert fit(wrong, exp, tmp_path).scale is None
