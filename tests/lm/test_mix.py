import math
import random

import numpy as np
import pytest

from ds2cli.kernels.ngram import ngram_log10_ref
from ds2cli.lm.arpa import Arpa, Section
from ds2cli.lm.mix import estimate_weights, mix, perplexities, score_tokens, unk_class_sizes
from ds2cli.lm.perplexity import measure
from ds2cli.lm.query import NgramLm


def text(seed, words, lines=60):
    rng = random.Random(seed)
    weights = [1 / (i + 1) for i in range(len(words))]
    return "".join(" ".join(rng.choices(words, weights, k=rng.randint(1, 8))) + "\n" for _ in range(lines))


@pytest.fixture
def models(estimate_lm):
    """A 3-gram and a 2-gram model with overlapping vocabularies."""
    return [estimate_lm(text(1, list("abcdef")), 3, [0, 0, 0]), estimate_lm(text(2, list("fedxyz")), 2, [0, 0])]


def table(model):
    return {
        tuple(model.words[i] for i in ids): (p, b)
        for s in model.sections
        for ids, p, b in zip(s.ids.tolist(), s.log10_prob.tolist(), s.log10_backoff.tolist(), strict=True)
    }


def extended(model, unk_class_size):
    """log10 p(word | history) of one model over the joint vocabulary, by the definition."""
    listed, known = table(model), set(model.words) - {"<unk>"}

    def p(history, word):
        history = [w if w in known else "<unk>" for w in history]
        if word in known:
            return ngram_log10_ref(listed, history, word)
        return ngram_log10_ref(listed, history, "<unk>") - math.log10(unk_class_size)

    return p


def context_sums(model):
    """For each listed context, the sum of p over all words except <s>."""
    listed = table(model)
    contexts = {gram for gram in listed if len(gram) < model.order and gram[-1] != "</s>"} | {()}
    return {h: sum(10 ** ngram_log10_ref(listed, h, w) for w in model.words if w != "<s>") for h in contexts}


@pytest.mark.parametrize("weights", [(0.3, 0.7), (1.0, 0.0), (0.0, 1.0), (0.999, 0.001)])
def test_the_probabilities_after_every_context_sum_to_one(models, weights):
    mixed = mix(models, np.array(weights))
    assert mixed.order == 3
    for context, total in context_sums(mixed).items():
        assert total == pytest.approx(1, abs=2e-5), context


def test_listed_ngrams_are_the_weighted_mean(models):
    mixed = mix(models, np.array([0.3, 0.7]))
    first, second = (
        extended(m, size) for m, size in zip(models, unk_class_sizes([m.words for m in models]), strict=True)
    )
    listed = table(mixed)
    assert set(listed) == set(table(models[0])) | set(table(models[1]))
    assert mixed.words[:3] == ["<unk>", "<s>", "</s>"] and listed[("<s>",)][0] == 0.0
    for *history, word in listed:
        if word != "<s>":
            expected = 0.3 * 10 ** first(history, word) + 0.7 * 10 ** second(history, word)
            assert 10 ** listed[(*history, word)][0] == pytest.approx(expected, rel=1e-5)


def test_a_single_model_is_unchanged(models):
    (before, after) = (table(m) for m in (models[0], mix(models[:1], np.ones(1))))
    assert set(before) == set(after)
    for gram, (p, b) in before.items():
        assert after[gram] == (pytest.approx(p, abs=1e-5), pytest.approx(b, abs=2e-4))


def test_words_missing_in_one_model_share_its_unk_probability(models):
    assert unk_class_sizes([m.words for m in models]) == [4, 4]
    assert unk_class_sizes([["a", "b", "<unk>"], ["b"]]) == [1, 2]
    lms = [NgramLm.from_arpa(m) for m in models]
    scores = score_tokens(lms, [["x", "never"]])
    assert scores.shape == (3, 2)
    assert scores[0, 0] == pytest.approx(lms[0].word_log10(["x"])[0] - math.log10(4), abs=1e-6)
    assert scores[0, 1] == pytest.approx(lms[1].word_log10(["x"])[0], abs=1e-6)
    assert scores[1] == pytest.approx([lm.word_log10(["x", "never"])[1] - math.log10(4) for lm in lms], abs=1e-6)


def test_an_ngram_whose_suffix_is_not_listed(models):
    """SRILM may list `a b c` without `b c`; the mixture lists both and still sums to one."""
    first = models[0]
    bigrams, trigrams = first.sections[1:]
    removed = trigrams.ids[0, 1:]
    assert removed[0] != first.words.index("<s>")
    keep = ~(bigrams.ids == removed).all(axis=1)
    # an n-gram that is not listed cannot be a context
    keep_trigrams = ~(trigrams.ids[:, :2] == removed).all(axis=1)
    assert keep.sum() == len(keep) - 1
    pruned = Arpa(
        first.words,
        [
            first.sections[0],
            Section(*(a[keep] for a in vars(bigrams).values())),
            Section(*(a[keep_trigrams] for a in vars(trigrams).values())),
        ],
    )
    mixed = mix([pruned, models[1]], np.array([0.5, 0.5]))
    assert tuple(first.words[i] for i in removed) in table(mixed)
    assert all(total == pytest.approx(1, abs=2e-5) for total in context_sums(mixed).values())


def test_a_model_without_unk(models):
    words = ["<s>", "</s>", "a"]
    zero = np.zeros(3, dtype=np.float32)
    without_unk = Arpa(
        words, [Section(np.arange(3, dtype=np.int32)[:, None], np.log10([1, 0.5, 0.5]).astype(np.float32), zero)]
    )
    mixed = mix([without_unk, models[1]], np.array([0.5, 0.5]))
    assert table(mixed)[("a",)][0] == pytest.approx(
        math.log10(0.25 + 0.5 * 10 ** (table(models[1])[("<unk>",)][0]) / 2), abs=1e-5
    )
    assert context_sums(mixed)[()] == pytest.approx(1, abs=1e-5)


def test_weights_of_disjoint_models():
    """If only one model can explain each token, the weights are the relative frequencies."""
    log10 = np.log10([[0.5, 1e-30], [0.25, 1e-30], [0.5, 1e-30], [1e-30, 0.125]])
    np.testing.assert_allclose(estimate_weights(log10), [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(estimate_weights(np.log10([[0.2, 0.2]])), [0.5, 0.5])
    np.testing.assert_allclose(perplexities(log10[:1]), [2, 1e30])


@pytest.mark.parametrize("seed", range(5))
def test_em_agrees_with_a_grid_search(seed):
    rng = np.random.default_rng(seed)
    p = rng.random((50, 2)) ** 3
    grid = np.linspace(0, 1, 2001)
    best = grid[np.argmax([np.log(p @ [w, 1 - w]).sum() for w in grid])]
    assert estimate_weights(np.log10(p))[0] == pytest.approx(best, abs=1e-3)


@pytest.mark.long
def test_the_mixture_is_better_than_each_source(librispeech, estimate_lm, tmp_path):
    """The mixture of models of two halves of a text has a lower perplexity on dev text than either."""
    train, dev = librispeech
    halves = [train[:6000], train[-6000:]]
    sources = [estimate_lm("\n".join(" ".join(s) for s in half), 3, [0, 0, 0]) for half in halves]
    lms = [NgramLm.from_arpa(m) for m in sources]
    log10 = score_tokens(lms, dev[:1000])
    weights = estimate_weights(log10)
    assert weights.sum() == pytest.approx(1)
    mixed = NgramLm.from_arpa(mix(sources, weights))
    result = measure(mixed, dev[:1000])
    dynamic = float(10 ** -np.log10((10.0**log10) @ weights).mean())
    assert dynamic < perplexities(log10).min()
    # backing off in the mixed model is close to interpolating the backed-off probabilities of the sources
    assert result.including_oov == pytest.approx(dynamic, rel=0.03)
    assert result.including_oov < perplexities(log10).min()
    assert result.oov <= min(measure(lm, dev[:1000]).oov for lm in lms)


def test_a_listed_ngram_that_ends_in_unk_is_divided_like_unk_itself(models):
    words = ["<unk>", "<s>", "</s>", "a"]
    unigrams = Section(
        np.arange(4, dtype=np.int32)[:, None],
        np.log10([0.2, 1, 0.5, 0.3]).astype(np.float32),
        np.array([0, 0, 0, math.log10(0.4 / 0.8)], dtype=np.float32),
    )
    # after a: <unk> 0.6, and 0.4 for the others, which have 0.8 of the unigrams
    bigrams = Section(np.array([[3, 0]], dtype=np.int32), np.log10([0.6]).astype(np.float32), np.zeros(1, np.float32))
    with_unk = Arpa(words, [unigrams, bigrams])
    assert context_sums(with_unk)[("a",)] == pytest.approx(1, abs=1e-6)
    mixed = mix([with_unk, models[1]], np.array([0.5, 0.5]))
    # <unk> is shared with d, e, f, x, y, z
    other = extended(models[1], 2)
    assert 10 ** table(mixed)[("a", "<unk>")][0] == pytest.approx(0.5 * 0.6 / 7 + 0.5 * 10 ** other(["a"], "<unk>"))
    for context, total in context_sums(mixed).items():
        assert total == pytest.approx(1, abs=2e-5), context
