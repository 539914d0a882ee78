"""Fuzz language-model files: ARPA of any shape, damaged ARPA files and KenLM binaries, and texts to score."""

import functools
import gzip
from pathlib import Path

from fuzzing import allowed_errors, ds2, fuzz, in_child
from hypothesis import strategies as st
from inputs import TEXTS, damaged

from ds2cli.errors import DataError
from ds2cli.lm import arpa, kneser_ney
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import build_corpus

WORDS = st.one_of(st.sampled_from(["<s>", "</s>", "<unk>", "<UNK>", "a", "b", "c"]), TEXTS.filter(str.strip))
NUMBERS = st.one_of(
    st.sampled_from(["-1", "-0.5", "0", "1", "nan", "-inf", "1e99", "x", "", "-99"]), st.floats().map(str)
)


@functools.cache
def model():
    """A small model of order 3: its ARPA text, and the bytes of its KenLM binary."""
    corpus = build_corpus(f"{a} {b} {c} a b".split() for a in "abc" for b in "abd" for c in "aé")
    estimated = kneser_ney.estimate(corpus, 3, [0, 0, 0], None)[0]
    NgramLm.from_arpa(estimated).model.write("model.bin")
    binary = Path("model.bin").read_bytes()
    Path("model.bin").unlink()
    return "".join(arpa.lines(estimated)), binary


@st.composite
def arpa_texts(draw):
    """A text with the sections of an ARPA file: counts may be wrong, n-grams missing, numbers any."""
    order = draw(st.integers(1, 3))
    listed = draw(st.lists(WORDS, max_size=6))
    words = ["<s>", "</s>", "a", *listed] if draw(st.booleans()) else listed
    sections = [[[word] for word in words]]
    for n in range(2, order + 1):
        sections.append(draw(st.lists(st.lists(st.sampled_from([*words, "zz"]), min_size=n, max_size=n), max_size=4)))
    lines = ["\\data\\"]
    for n, section in enumerate(sections, start=1):
        lines.append(f"ngram {n}={draw(st.sampled_from([len(section)] * 4 + [0, 1, 10**9, -1]))}")
    for n, section in enumerate(sections, start=1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in section:
            cells = [draw(NUMBERS), " ".join(ngram), *draw(st.lists(NUMBERS, max_size=2))]
            lines.append("\t".join(cells))
    return draw(st.sampled_from(["", "", "\ufeff", "comment\n"])) + "\n".join([*lines, "", "\\end\\", ""])


def use_model(path, texts):
    """Load a model, and score texts with it; what it says must be numbers or an error."""
    with allowed_errors():
        lm = NgramLm.load(path)
        assert len(lm.words) == len(lm.unigrams())
        state = lm.begin
        for text in texts:
            lm.sentence_log10(text)
            for word in text.split():
                state = lm.score(state, lm.id(word))[1]
            lm.end(state)


@fuzz(arpa_texts(), st.lists(TEXTS, max_size=3))
def test_any_arpa_file(text, texts):
    Path("model.arpa").write_bytes(text.encode("utf-8", "surrogateescape" if "\ud800" not in text else "replace"))
    use_model("model.arpa", texts)
    ds2("lm", "info", "model.arpa")


@fuzz(st.data(), st.booleans(), st.lists(TEXTS, max_size=3))
def test_damaged_arpa_files(data, is_packed, texts):
    content = model()[0].encode()
    name = "model.arpa.gz" if is_packed else "model.arpa"
    Path(name).write_bytes(data.draw(damaged(gzip.compress(content, mtime=0) if is_packed else content)))
    use_model(name, texts)
    Path("other.arpa").write_bytes(content)
    run = ds2("lm", "mix", name, "other.arpa", "out.arpa", "--weights", "0.5,0.5")
    assert Path("out.arpa").exists() == (run.status == 0)


@fuzz(st.data(), st.lists(TEXTS, max_size=3))
def test_damaged_kenlm_binaries(data, texts):
    Path("model.bin").write_bytes(data.draw(damaged(model()[1])))
    # compiled code that reads outside of the tables ends its process
    in_child(use_model, "model.bin", ["a b c", "é a", *texts])


def test_the_models_of_the_fuzzers_are_valid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, binary = model()
    Path("model.arpa").write_text(text)
    Path("model.bin").write_bytes(binary)
    assert NgramLm.load("model.arpa").sentence_log10("a b c") == NgramLm.load("model.bin").sentence_log10("a b c")
    Path("cut.bin").write_bytes(binary[:-9])
    try:
        NgramLm.load("cut.bin")
    except DataError as e:
        assert "complete" in str(e)
    else:
        raise AssertionError("a file that was cut must be an error")
