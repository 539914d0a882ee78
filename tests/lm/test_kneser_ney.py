import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.ngram import ngram_log10
from ds2cli.lm import arpa, lmplz
from ds2cli.lm.kneser_ney import FALLBACK_DISCOUNTS, Discounts, compute_discounts, estimate
from ds2cli.lm.query import NgramLm, State
from ds2cli.lm.text import build_corpus, vocabulary_mask


def random_text(seed, lines=60, words=12):
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(words)]
    weights = [1 / (i + 1) for i in range(words)]
    return "".join(" ".join(rng.choices(vocabulary, weights, k=rng.randint(1, 9))) + "\n" for _ in range(lines))


def test_one_sentence_by_hand(estimate_lm, listed):
    """`a b`: fallback discounts and adjusted counts of 1 give p = 1/2 (1/c + lower order) at every order."""
    unigrams, bigrams = listed(estimate_lm("a b\n", 2))
    uniform = 1 / 4  # <unk> </s> a b
    p1 = 0.5 / 3 + 0.5 * uniform
    assert unigrams[("a",)][0] == pytest.approx(np.log10(p1), abs=1e-6)
    assert unigrams[("<unk>",)][0] == pytest.approx(np.log10(0.5 * uniform), abs=1e-6)
    assert unigrams[("<s>",)] == (0.0, pytest.approx(np.log10(0.5), abs=1e-6))
    assert bigrams == {
        k: (pytest.approx(np.log10(0.5 + 0.5 * p1), abs=1e-6), 0.0) for k in [("<s>", "a"), ("a", "b"), ("b", "</s>")]
    }


def test_frozen_output_of_lmplz(estimate_lm, listed):
    """Output of `lmplz --order 3 --discount_fallback` for the lines `a` and `b`."""
    unigrams, bigrams, trigrams = listed(estimate_lm("a\nb\n", 3))
    assert unigrams == {
        ("<unk>",): (pytest.approx(-0.90309, abs=1e-6), 0.0),
        ("<s>",): (0.0, pytest.approx(-0.30103, abs=1e-6)),
        ("</s>",): (pytest.approx(-0.42596874, abs=1e-6), 0.0),
        ("a",): (pytest.approx(-0.60206, abs=1e-6), pytest.approx(-0.30103, abs=1e-6)),
        ("b",): (pytest.approx(-0.60206, abs=1e-6), pytest.approx(-0.30103, abs=1e-6)),
    }
    assert bigrams[("<s>", "a")] == (pytest.approx(-0.42596874, abs=1e-6), pytest.approx(-0.30103, abs=1e-6))
    assert bigrams[("a", "</s>")][0] == pytest.approx(-0.1627273, abs=1e-6)
    assert {k: v[0] for k, v in trigrams.items()} == {
        ("<s>", x, "</s>"): pytest.approx(-0.073786214, abs=1e-6) for x in "ab"
    }


def reference(text, order, prune):
    """Modified Kneser-Ney by its definition, with dictionaries: {n-gram: (probability, back-off weight)}."""
    sentences = [["<s>", *line.split(), "</s>"] for line in text.splitlines()]
    counts = [Counter() for _ in range(order + 1)]
    for s in sentences:
        for n in range(1, order + 1):
            counts[n].update(tuple(s[i : i + n]) for i in range(len(s) - n + 1))
    del counts[1][("<s>",)]
    adjusted = [Counter() for _ in range(order + 1)]
    for n in range(1, order + 1):
        for gram, count in counts[n].items():
            left = sum(longer[1:] == gram for longer in counts[n + 1]) if n < order else count
            adjusted[n][gram] = count if gram[0] == "<s>" else left
    discounts = [(0.0, 0.0, 0.0)]
    for n in range(1, order + 1):
        if not adjusted[n]:
            discounts.append(FALLBACK_DISCOUNTS)
            continue
        count_of_counts = Counter(adjusted[n].values())
        discounts.append(
            compute_discounts(n, *_counts_of_counts(count_of_counts, n, order, text, counts, adjusted)).values
        )
    kept = [[], *([g for g in counts[n] if n == 1 or counts[n][g] > prune[n - 1]] for n in range(1, order + 1))]
    vocabulary = [*kept[1], ("<unk>",)]
    p = {(): 1 / len(vocabulary)}
    backoff = {}
    for n in range(1, order + 1):
        total, free = defaultdict(float), defaultdict(float)
        for gram, a in adjusted[n].items():
            d = (0.0, *discounts[n])[min(a, 3)]
            total[gram[:-1]] += a
            free[gram[:-1]] += d if n == 1 or counts[n][gram] > prune[n - 1] else a
        for h in total:
            backoff[h] = free[h] / total[h]
        for gram in kept[n] + ([("<unk>",)] if n == 1 else []):
            a = adjusted[n][gram]
            d = (0.0, *discounts[n])[min(a, 3)]
            p[gram] = (a - d) / total[gram[:-1]] + backoff[gram[:-1]] * p[gram[1:]]
    return {g: (p[g], backoff.get(g, 1.0)) for n in range(1, order + 1) for g in p if len(g) == n}


def _counts_of_counts(count_of_counts, n, order, text, counts, adjusted):
    """As in lmplz, which enters the last n-gram of a lower order (in suffix order) with its plain count."""
    rank = {w: i for i, w in enumerate(dict.fromkeys(["<s>", "</s>", *text.split()]))}
    last = max(adjusted[n], key=lambda g: [rank[w] for w in reversed(g)])
    if n < order and last[0] != "<s>":
        count_of_counts = count_of_counts - Counter([adjusted[n][last]]) + Counter([counts[n][last]])
    return [count_of_counts[j] for j in (1, 2, 3, 4)]


@pytest.mark.parametrize("order, prune", [(1, [0]), (2, [0, 0]), (3, [0, 0, 0]), (3, [0, 0, 1]), (4, [0, 1, 1, 2])])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(estimate_lm, listed, seed, order, prune):
    text = random_text(seed)
    expected = reference(text, order, prune)
    got = {g: v for section in listed(estimate_lm(text, order, prune)) for g, v in section.items() if g != ("<s>",)}
    assert got.keys() == expected.keys()
    for gram, (p, b) in got.items():
        assert 10**p == pytest.approx(expected[gram][0], rel=1e-5), gram
        assert 10**b == pytest.approx(expected[gram][1], rel=1e-5), gram


def total_probability(lm, state):
    words = [i for i, w in enumerate(lm.words) if w != "<s>"]
    rows = lm.rows(1, state)
    return sum(10.0 ** float(ngram_log10(lm.tables, *rows, 0, w, -1)) for w in words)


@pytest.mark.parametrize("prune", [[0, 0, 0], [0, 0, 1], [0, 2, 2]])
@pytest.mark.parametrize("limited", [False, True])
def test_every_context_sums_to_one(estimate_lm, prune, limited):
    text = random_text(7, lines=200)
    mask = vocabulary_mask(build_corpus(line.split() for line in text.splitlines()), 5) if limited else None
    lm = NgramLm.from_arpa(estimate_lm(text, 3, prune, mask))
    states = {lm.begin, State()}
    for line in text.splitlines():
        state = lm.begin
        for word in line.split():
            state = lm.score(state, lm.id(word))[1]
            states.add(state)
    assert len(states) > 5
    for state in states:
        assert total_probability(lm, state) == pytest.approx(1.0, abs=1e-5)


def test_repeated_lines_count(estimate_lm, listed):
    once, thrice = estimate_lm("a b\na c\n", 2), estimate_lm("a b\na b\na b\na c\n", 2)
    assert listed(thrice)[1][("a", "b")][0] > listed(once)[1][("a", "b")][0]


def test_an_order_longer_than_every_sentence_is_empty(estimate_lm):
    model = estimate_lm("a\nb\na\n", 5)
    assert model.counts == [5, 4, 2, 0, 0]
    assert NgramLm.from_arpa(model).sentence_log10("a") < 0


def test_with_a_limited_vocabulary_probabilities_sum_to_one(estimate_lm, listed):
    text = random_text(3, lines=200)
    corpus = build_corpus(line.split() for line in text.splitlines())
    model = estimate_lm(text, 2, in_vocabulary=vocabulary_mask(corpus, 4))
    assert sorted(model.words) == ["</s>", "<s>", "<unk>", "w0", "w1", "w2", "w3"]
    assert sum(10**p for (w,), (p, _) in listed(model)[0].items() if w != "<s>") == pytest.approx(1.0, abs=1e-5)


def test_a_discount_of_zero_leaves_no_back_off_mass(estimate_lm, listed):
    """Two bigrams occur once, two twice and four three times, so D2 is 0; those that start with b occur twice."""
    assert estimate(build_corpus([["a"], *[["b"]] * 2, *[["c"]] * 3, *[["d"]] * 3]), 2, [0, 0])[1][1].values[1] == 0.0
    unigrams, bigrams = listed(estimate_lm("a\nb\nb\nc\nc\nc\nd\nd\nd\n", 2))
    assert unigrams[("b",)][1] == -99.0
    assert bigrams[("b", "</s>")][0] == 0.0


def test_no_words_is_an_error():
    for empty in ([], [[]]):
        with pytest.raises(DataError, match="no words"):
            estimate(build_corpus(empty), 3, [0, 0, 0])


def test_small_text_is_refused_without_fallback():
    with pytest.raises(DataError, match=r"no 1-gram has adjusted count 2 .*--discount-fallback"):
        estimate(build_corpus([["a", "b"]]), 2, [0, 0], fallback=False)


def test_discounts():
    assert compute_discounts(1, 10, 0, 3, 1) == Discounts(FALLBACK_DISCOUNTS, "no 1-gram has adjusted count 2")
    assert compute_discounts(2, 10, 1, 10, 1) == Discounts(FALLBACK_DISCOUNTS, "D2 of 2-grams would be -23.000")
    y = 100 / (100 + 2 * 40)
    assert compute_discounts(2, 100, 40, 20, 12).values == pytest.approx(
        (1 - 2 * y * 40 / 100, 2 - 3 * y * 20 / 40, 3 - 4 * y * 12 / 20)
    )


def lmplz_model(tmp_path, sentences, order, prune, vocabulary=None):
    text = tmp_path / "text"
    text.write_text("".join(" ".join(s) + "\n" for s in sentences), "utf-8")
    discounts = lmplz.estimate(text, tmp_path / "x.arpa", order, prune, vocabulary, memory="200M")
    return arpa.read(str(tmp_path / "x.arpa")), discounts


def compare(own_model, kenlm_model):
    """The largest difference of log10 probabilities and back-off weights; n-grams and their order must be equal."""
    assert own_model.words == kenlm_model.words
    worst = 0.0
    for a, b in zip(own_model.sections, kenlm_model.sections, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        for x, y in ((a.log10_prob, b.log10_prob), (a.log10_backoff, b.log10_backoff)):
            worst = max(worst, float(np.abs(x - y).max(initial=0.0)))
    return worst


TINY = ["a\n", "a b c\n", "a a a a\n", "x y z\n" * 5, "é ü\nñ é ü\n", "a b\na b\na c\nb c d e\n", "语言 模型\n语言\n"]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("text", TINY)
def test_equals_lmplz_on_tiny_texts(needs_lmplz, tmp_path, estimate_lm, text, order):
    lmplz_ngrams, _ = lmplz_model(tmp_path, [line.split() for line in text.splitlines()], order, [0] * order)
    assert compare(estimate_lm(text, order), lmplz_ngrams) < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_equals_lmplz_on_random_texts(needs_lmplz, tmp_path, seed):
    rng = random.Random(seed)
    sentences = [
        line.split() for line in random_text(seed, rng.choice([2, 20, 300]), rng.choice([3, 12, 60])).splitlines()
    ]
    order = rng.choice([2, 3, 4, 5])
    prune = sorted([0] + [rng.choice([0, 0, 1, 2]) for _ in range(order - 1)])
    corpus = build_corpus(sentences)
    mask = vocabulary_mask(corpus, 4) if seed % 2 else None
    vocabulary = [w for w, i in zip(corpus.words, mask, strict=True) if i] if seed % 2 else None
    model, discounts = estimate(corpus, order, prune, mask)
    lmplz_ngrams, lmplz_discounts = lmplz_model(tmp_path, sentences, order, prune, vocabulary)
    assert compare(model, lmplz_ngrams) < 1e-6
    for a, b in zip(discounts, lmplz_discounts, strict=True):
        assert a.values == pytest.approx(b.values, abs=1e-5)
        assert bool(a.fallback_reason) == bool(b.fallback_reason)


@pytest.mark.parametrize("order, prune, size", [(3, [0, 0, 1], None), (5, [0, 0, 1, 1, 2], 5000)])
def test_equals_lmplz_on_librispeech(needs_lmplz, librispeech, tmp_path, order, prune, size):
    train = librispeech[0]
    corpus = build_corpus(train)
    mask = vocabulary_mask(corpus, size) if size else None
    vocabulary = [w for w, i in zip(corpus.words, mask, strict=True) if i] if size else None
    model, _ = estimate(corpus, order, prune, mask)
    lmplz_ngrams, _ = lmplz_model(tmp_path, train, order, prune, vocabulary)
    assert compare(model, lmplz_ngrams) < 1e-5
