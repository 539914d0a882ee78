"""Our queries compared with KenLM's: every score, state and back-off weight, bit for bit."""

import ctypes
import random
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from ds2cli.kernels.ngram import ngram_begin, ngram_log10
from ds2cli.lm import arpa, lmplz
from ds2cli.lm.query import NgramLm

pytestmark = pytest.mark.peer
ORDERS = [1, 2, 3, 4, 5, 6]
QUERIES = 100_000
NO_CONTEXT, SENTENCE = -1, -2
"""In place of a word: continue from the empty context, from <s>."""


@pytest.fixture(scope="module")
def kenlm():
    return pytest.importorskip("kenlm")


@pytest.fixture
def build_binary(tmp_path):
    """KenLM's binary of an ARPA file."""
    if lmplz.find_program("build_binary") is None:
        pytest.skip("no build_binary (utils/install_kenlm.sh builds it)")

    def build(path):
        lmplz.build_binary(Path(path), tmp_path / "kenlm.bin")
        return tmp_path / "kenlm.bin"

    return build


@pytest.fixture(scope="module")
def models(librispeech, estimate_lm, tmp_path_factory):
    """order → an ARPA file of that order, estimated from LibriSpeech transcripts."""
    folder = tmp_path_factory.mktemp("agrees")
    text = "\n".join(" ".join(s) for s in librispeech[0][:2500])

    def model(order):
        path = folder / f"{order}.arpa"
        if not path.exists():
            path.write_text("".join(arpa.lines(estimate_lm(text, order, [0, 0, 0, 1, 1, 1][:order]))), "utf-8")
        return str(path)

    return model


def as_bigrams(path):
    """A unigram model as a bigram model without bigrams, which KenLM can load."""
    text = Path(path).read_text("utf-8")
    if "ngram 2=" in text:
        return path
    text = text.replace("\n\n\\1-grams", "\nngram 2=0\n\n\\1-grams", 1).replace("\\end\\", "\\2-grams:\n\n\\end\\")
    copy = Path(path).with_suffix(".2.arpa")
    copy.write_text(text, "utf-8")
    return str(copy)


@numba.njit
def _chain(lm, words, history, backoff, out):
    for i in range(len(words)):
        if words[i] == SENTENCE:
            ngram_begin(lm, history, backoff, i + 1)
        elif words[i] == NO_CONTEXT:
            history[i + 1] = -1
            backoff[i + 1] = 0.0
        else:
            out[i] = ngram_log10(lm, history, backoff, i, words[i], i + 1)


def ours(lm, steps):
    """Our scores (N,) and the states (N, H) after every step. steps: words and markers."""
    ids = iter(lm.lookup([s for s in steps if isinstance(s, str)]).tolist())
    words = np.array([next(ids) if isinstance(s, str) else s for s in steps], dtype=np.int64)
    history, backoff = lm.rows(len(steps) + 1)
    out = np.zeros(len(steps), dtype=np.float32)
    _chain(lm.tables, words, history, backoff, out)
    return out, history[1:], backoff[1:]


def theirs(kenlm, model, steps, width):
    """The same from a kenlm.Model, whose states are read from memory: words, back-off weights, length."""
    slots = (sys.getsizeof(kenlm.State()) - sys.getsizeof(object()) - 4) // 8
    out = np.zeros(len(steps), dtype=np.float32)
    history, backoff = np.full((len(steps), width), -1, np.int32), np.zeros((len(steps), width), np.float32)
    state = kenlm.State()
    model.NullContextWrite(state)
    for i, step in enumerate(steps):
        after = kenlm.State()
        if step == SENTENCE:
            model.BeginSentenceWrite(after)
        elif step == NO_CONTEXT:
            model.NullContextWrite(after)
        else:
            out[i] = model.BaseScore(state, step, after)
        raw = ctypes.string_at(id(after) + sys.getsizeof(object()), 8 * slots + 1)
        length = raw[-1]
        history[i, :length] = np.frombuffer(raw, np.uint32, length)
        backoff[i, :length] = np.frombuffer(raw, np.float32, length, 4 * slots)
        state = after
    return out, history, backoff


def steps_for(words, sentences, seed, count):
    """Sentences, random words, repetitions, OOV words and </s>, with and without <s> in front."""
    rng = random.Random(seed)
    steps = []
    while len(steps) < count:
        steps.append(rng.choice([SENTENCE, SENTENCE, NO_CONTEXT]))
        line = list(rng.choice(sentences))
        if rng.random() < 0.3:
            line = rng.choices(words, k=len(line))
        for _ in range(rng.randint(0, 2)):
            line.insert(rng.randint(0, len(line)), rng.choice(["zzz", "<unk>", "", "日本", *rng.choices(words, k=4)]))
        steps += [*line, "</s>"]
    return steps


def same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def compare(kenlm, lm, model, sentences, seed=0, count=QUERIES):
    steps = steps_for(lm.words[1:], sentences, seed, count)
    scores, history, backoff = ours(lm, steps)
    their_scores, their_history, their_backoff = theirs(kenlm, model, steps, lm.tables.width)
    same_bits(scores, their_scores)
    np.testing.assert_array_equal(history, their_history)
    same_bits(backoff, their_backoff)
    return history


@pytest.mark.parametrize("order", ORDERS)
def test_queries(kenlm, models, librispeech, tmp_path, capfd, order):
    path = models(order)
    lm = NgramLm.load(path)
    lm.model.write(str(tmp_path / "x.bin"))
    mapped = NgramLm.load(str(tmp_path / "x.bin"))
    history = compare(kenlm, mapped, kenlm.Model(as_bigrams(path)), librispeech[1], order)
    if order > 1:
        # contexts of every possible length occurred
        assert set(np.count_nonzero(history >= 0, axis=1)) == set(range(order))
    # KenLM loads our file
    compare(kenlm, lm, kenlm.Model(str(tmp_path / "x.bin")), librispeech[1], order + 100, 20_000)


@pytest.mark.parametrize("order", ORDERS)
def test_sentences(kenlm, models, librispeech, capfd, order):
    path = models(order)
    lm, model = NgramLm.load(path), kenlm.Model(as_bigrams(path))
    for sentence in librispeech[1]:
        text = " ".join(sentence)
        assert lm.sentence_log10(text) == model.score(text)
        oov = [unknown for *_, unknown in model.full_scores(text)][:-1]
        assert (lm.lookup(sentence) == lm.tables.unk).tolist() == oov
    assert lm.sentence_log10("") == model.score("")


@pytest.mark.parametrize("order", ORDERS)
def test_binaries_equal_those_of_build_binary(models, build_binary, tmp_path, order):
    """Byte for byte, so an ARPA file and its binary give identical scores."""
    path = models(order)
    NgramLm.load(path).model.write(str(tmp_path / "x.bin"))
    assert (tmp_path / "x.bin").read_bytes() == build_binary(as_bigrams(path)).read_bytes()
    assert NgramLm.load(str(build_binary(as_bigrams(path)))).words == NgramLm.load(path).words


VARIANTS = {
    "no <unk>": lambda lines: [x for x in lines if "<unk>" not in x],
    "<UNK>, last": lambda lines: sorted((x.replace("<unk>", "<UNK>") for x in lines), key=lambda x: "<UNK>" in x),
    "<s> without a backoff": lambda lines: [x.rpartition("\t")[0] if "\t<s>\t" in x else x for x in lines],
    "zero backoffs": lambda lines: [x.rpartition("\t")[0] + "\t0" if x.count("\t") == 2 else x for x in lines],
}


def rewrite(path, change):
    """A copy of an ARPA file with `change` applied to the n-gram lines of each order, and updated counts."""
    _, *sections = Path(path).read_text("utf-8").replace("\\end\\\n", "").split("-grams:\n")
    kept = [change(n, [x for x in s.splitlines() if "\t" in x]) for n, s in enumerate(sections, start=1)]
    out = "\\data\\\n" + "".join(f"ngram {n}={len(k)}\n" for n, k in enumerate(kept, start=1))
    out += "".join(f"\n\\{n}-grams:\n" + "".join(x + "\n" for x in k) for n, k in enumerate(kept, start=1))
    copy = Path(path).with_suffix(".changed.arpa")
    copy.write_text(out + "\n\\end\\\n", "utf-8")
    return str(copy)


@pytest.mark.parametrize("variant", VARIANTS)
def test_models_of_other_tools(kenlm, models, librispeech, capfd, variant):
    path = rewrite(
        models(3), lambda n, lines: VARIANTS[variant](lines) if n == 1 or variant == "zero backoffs" else lines
    )
    compare(kenlm, NgramLm.load(path), kenlm.Model(path), librispeech[1], count=20_000)


def entries(lm, n):
    """The number of entries in the table of order n."""
    start, size = lm.model.layout.starts[n], 4 * lm.model.layout.buckets[n]
    return int(np.count_nonzero(lm.tables.data[start : start + size].reshape(-1, 4)[:, :2].any(axis=1)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("order", [3, 4, 5])
def test_suffixes_that_are_not_listed(kenlm, models, librispeech, capfd, order, seed):
    """SRILM may list `a b c` without `b c`: the missing entries are added as needed."""
    rng = random.Random(seed)
    text = Path(models(order)).read_text("utf-8")
    listed = [s.splitlines() for s in text.split("-grams:\n")[1:]]
    contexts = {tuple(x.split("\t")[1].split()[:-1]) for s in listed for x in s if "\t" in x}

    def prune(n, lines):
        if not 1 < n < order:
            return lines
        return [x for x in lines if tuple(x.split("\t")[1].split()) in contexts or rng.random() < 0.97]

    path = rewrite(models(order), prune)
    lm = NgramLm.load(path)
    assert entries(lm, 2) > lm.counts[1]
    compare(kenlm, lm, kenlm.Model(path), librispeech[1], seed, 20_000)


def test_more_added_entries_than_kenlm_has_buckets_for(tmp_path):
    (tmp_path / "x.arpa").write_text(
        "\\data\\\nngram 1=12\nngram 2=8\nngram 3=8\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\t-0.5\n-1\t</s>\n-1\tx\t-0.25\n"
        + "".join(f"-2\tw{i}\t-0.5\n" for i in range(8))
        + "\n\\2-grams:\n"
        + "".join(f"-0.5\tw{i} x\t-0.125\n" for i in range(8))
        + "\n\\3-grams:\n"
        + "".join(f"-0.25\tw{i} x w{i}\n" for i in range(8))
        + "\n\\end\\\n"
    )
    lm = NgramLm.load(str(tmp_path / "x.arpa"))
    assert lm.model.layout.multiplier > 1.5
    state = lm.score(lm.score(lm.begin, lm.id("w3"))[1], lm.id("x"))[1]
    assert lm.score(state, lm.id("w3"))[0] == pytest.approx(-0.25 * np.log(10))
    assert lm.score(state, lm.id("w4"))[0] == pytest.approx((-2 - 0.25 - 0.125) * np.log(10))
    lm.model.write(str(tmp_path / "x.bin"))
    assert NgramLm.load(str(tmp_path / "x.bin")).sentence_log10("w3 x w3 x") == lm.sentence_log10("w3 x w3 x")


@pytest.mark.parametrize("name", ["word3.bin", "zh3.bin"])
def test_binaries_built_by_kenlm(kenlm, shared_data, capfd, name):
    path = shared_data.parent / "peers" / "data" / name
    if not path.is_file():
        pytest.skip(f"no {name} next to the recordings")
    lm = NgramLm.load(str(path))
    rng = random.Random(3)
    weights = [1 / (i + 10) for i in range(len(lm.words))]
    sentences = [rng.choices(lm.words, weights, k=rng.randint(0, 12)) for _ in range(500)]
    compare(kenlm, lm, kenlm.Model(str(path)), sentences)


def test_an_arpa_and_its_binary(shared_data):
    folder = shared_data.parent / "peers" / "data"
    if not (folder / "word3.arpa.gz").is_file():
        pytest.skip("no word3.arpa.gz next to the recordings")
    text, binary = NgramLm.load(str(folder / "word3.arpa.gz")), NgramLm.load(str(folder / "word3.bin"))
    np.testing.assert_array_equal(text.tables.data, binary.tables.data)
    np.testing.assert_array_equal(text.model.words_utf8, binary.model.words_utf8)
    assert text.counts == binary.counts
