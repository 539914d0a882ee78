"""Fit the filter to emissions that spell known texts, more or less clearly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.metrics.operating_points import Texts
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import filter as apply_stage
from ds2cli.stages.fit_filter import TRUE, Examples, _split_folds, fit, make_examples
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", *"abcdefgh"))
CONFIG = FilterConfig(fit=True)


def emission(text, rng, clarity):
    """(3 steps per character, V): the character, a blank, and noise in both."""
    logits = rng.normal(size=(3 * len(text), len(VOCAB)))
    for i, c in enumerate(text):
        logits[3 * i, VOCAB.symbols.index(c)] += clarity
        logits[3 * i + 1 : 3 * i + 3, 0] += clarity
    return (logits - np.logaddexp.reduce(logits, axis=1)[:, None]).astype(np.float32)


def make_texts(number, seed=0, longest=8):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 6))) for _ in range(60)]
    return [" ".join(rng.choice(words, rng.integers(3, longest))) for _ in range(number)]


@pytest.fixture
def world(tmp_path):
    """A function: texts → rows with emissions that say so, and the experiment."""
    VOCAB.save(tmp_path / "tokens.txt")

    def make(texts, spoken=None, clarity=6.0, seed=1):
        rng = np.random.default_rng(seed)
        with ArkWriter(tmp_path / f"{seed}.ark") as ark:
            rows = [
                {"id": f"u{i:03d}", "text": text, "emission": ark.write(f"u{i:03d}", emission(said, rng, clarity))}
                for i, (text, said) in enumerate(zip(texts, spoken or texts, strict=True))
            ]
        return rows, Experiment(str(tmp_path))

    return make


def examples_of(world, texts, config=CONFIG, ledger=None, **options):
    rows, experiment = world(texts, **options)
    return make_examples(config, rows, ledger or Ledger(), experiment)


def test_the_examples_are_the_true_texts_and_wrong_ones(world):
    texts = make_texts(12)
    ledger = Ledger()
    examples = examples_of(world, texts, replace(CONFIG, copies=2, raw_wer=20.0), ledger)
    true = np.array([kind == TRUE for kind in examples.kinds])
    assert (ledger.kept, ledger.dropped) == (12, 0) and true.sum() == 12
    assert np.bincount(examples.utterances[true]).tolist() == [1] * 12
    assert (examples.texts.errors[true] == 0).all() and (examples.texts.errors[~true] > 0).all()
    lengths = np.array([len(text.split()) for text in texts])
    assert (examples.texts.words == lengths[examples.utterances]).all()
    # together the texts have the rate that was asked for
    assert examples.texts.wer == pytest.approx(20.0)
    assert (examples.texts.weights[true] == 1).all() and len(set(examples.texts.weights[~true])) == 1
    assert np.isfinite(examples.features).all() and examples.features.shape == (len(true), 6)


def test_threads_change_nothing_and_the_seed_does(world):
    texts = make_texts(9)
    one, two, other = (
        examples_of(world, texts, replace(CONFIG, nj=nj, seed=seed)) for nj, seed in ((1, 0), (2, 0), (1, 1))
    )
    assert (one.features == two.features).all() and one.kinds == two.kinds
    assert one.features.shape != other.features.shape or (one.features != other.features).any()


def test_texts_that_the_emission_has_no_steps_for_are_no_examples(world):
    texts = ["abc", *make_texts(8)]
    examples = examples_of(world, texts, spoken=["abc", *texts[1:]])
    # nine steps do not hold another utterance's text
    assert examples.unfit > 0
    first = [kind for kind, u in zip(examples.kinds, examples.utterances, strict=True) if u == 0]
    assert TRUE in first and "other" not in first


def test_clear_speech_is_told_from_wrong_texts(world):
    result = fit(CONFIG, examples_of(world, make_texts(40)))
    best = result.trials[0]
    assert result.auc > 0.97 and best.curve.wer[result.chosen] < 5 and best.curve.recall[result.chosen] > 0.95
    assert result.interval[0] <= best.curve.wer[result.chosen] <= result.interval[1]
    kept = {k.kind: k.kept for k in result.kinds}
    assert kept["true"] > 0.95 and kept["other"] < 0.1
    costs = {use.name: use for use in result.uses}
    assert costs["cost_per_char"].alone > 0.9 > costs["num_words"].alone
    # both meanings of good were tried, and the better one is used
    assert [trial.kept for trial in result.trials] == sorted((t.kept for t in result.trials), reverse=True)
    assert {0.0} < {trial.good_rate for trial in result.trials} and len(result.trials) == 2


def test_noise_without_speech_is_refused(world):
    with pytest.raises(
        Ds2Error, match=r"--fit: no threshold keeps texts with a WER below 0.1 %: the lowest is .* %, of"
    ):
        fit(replace(CONFIG, keep_wer=0.1), examples_of(world, make_texts(30), clarity=0.0))


def test_unseen_speech_is_filtered_as_promised(world):
    rows, experiment = world(make_texts(40))
    result = fit(CONFIG, make_examples(CONFIG, rows, Ledger(), experiment))
    spoken = make_texts(60, seed=7)
    texts = [*spoken[:30], *spoken[31:], spoken[30]]
    unseen, experiment = world(texts, spoken, seed=2)
    ledger = Ledger()
    kept = list(apply_stage.run(FilterConfig(), unseen, ledger, experiment, result.classifier))
    names = {row["id"] for row in kept}
    assert len(names & {f"u{i:03d}" for i in range(30)}) >= 28
    assert len(names - {f"u{i:03d}" for i in range(30)}) <= 2
    assert ledger.dropped == 60 - len(kept) and ledger.bad == 0


def test_all_texts_of_an_utterance_are_in_one_fold(world):
    examples = examples_of(world, make_texts(25))
    folds = _split_folds(examples, 0)
    for u in range(25):
        assert len(set(folds[examples.utterances == u])) == 1
    sizes = np.bincount([folds[examples.utterances == u][0] for u in range(25)])
    assert len(sizes) == 10 and sizes.max() - sizes.min() <= 1
    assert (_split_folds(examples, 1) != folds).any()


def test_a_held_out_utterance_does_not_see_itself(world):
    """The scores would be those of the fitted classifier otherwise."""
    examples = examples_of(world, make_texts(6), clarity=2.0)
    result = fit(replace(CONFIG, keep_wer=16.0), examples)
    fitted = result.classifier.model.probabilities(examples.features)
    assert np.abs(fitted - result.trials[0].scores).max() > 1e-3


@pytest.mark.parametrize(
    ("texts", "reasons"),
    [(["ab cd", "", "ef gh"], ["no-words"]), (["ab cd", "x", "ef gh", "  "], ["unspellable", "no-words"])],
)
def test_rows_without_usable_text_are_dropped(world, texts, reasons):
    ledger = Ledger()
    spoken = [text if text.strip() and "x" not in text else "a" for text in texts]
    examples = examples_of(world, texts, ledger=ledger, spoken=spoken)
    assert [row["reason"] for row in ledger.rows] == reasons and ledger.kept == 2
    assert len(set(examples.utterances.tolist())) == 2
    # nor do they lend their words
    fit(replace(CONFIG, keep_wer=16.0), examples)


@pytest.mark.parametrize("texts", [["ab cd ef"], ["", "ab"], []])
def test_one_utterance_is_too_few(world, texts):
    with pytest.raises(DataError, match="--fit: expected at least two utterances with words and an emission, found"):
        examples_of(world, texts, spoken=[text or "a" for text in texts])


def test_utterances_too_short_for_any_wrong_text(world):
    """Three steps hold `aa` with its blank, and no other text of these words."""
    with pytest.raises(UsageError, match=r"--raw-wer 17: expected less than the WER of the wrong texts, none"):
        examples_of(world, ["aa", "aa", "aa"], spoken=["a"] * 3)


def test_wrong_texts_that_are_not_wrong_enough(world):
    with pytest.raises(UsageError, match=r"--raw-wer 90: expected less than the WER of the wrong texts, \d+\.\d %"):
        examples_of(world, make_texts(10), replace(CONFIG, raw_wer=90.0))


def test_too_few_utterances_for_both_classes_in_every_fold():
    texts = Texts(np.array([0, 0, 1]), np.array([1, 1, 1]), np.array([1.0, 1.0, 1.0]))
    examples = Examples(np.zeros((3, 6)), [TRUE, TRUE, "other"], np.array([0, 1, 1]), texts, ["a", "b"], 0)
    with pytest.raises(DataError, match=r"--fit: too few utterances for a cross-validation: .* there are no bad ones"):
        fit(CONFIG, examples)
