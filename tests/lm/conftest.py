"""Texts and fixtures shared by the language-model tests."""

import gzip

import pytest

from ds2cli.lm import kneser_ney, lmplz
from ds2cli.lm.text import build_corpus


@pytest.fixture(scope="session")
def librispeech(shared_data):
    """Transcripts as lists of words: (train, dev)."""
    sets = []
    for name in ("train-clean-100", "dev-clean"):
        with gzip.open(shared_data / "text" / f"librispeech-{name}.trans.txt.gz", "rt", encoding="utf-8") as f:
            sets.append([line.lower().split()[1:] for line in f])
    return sets


@pytest.fixture
def needs_lmplz():
    if lmplz.find_program("lmplz") is None:
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")


@pytest.fixture(scope="session")
def estimate_lm():
    """Estimate a model from lines of text with our own estimator."""

    def estimate(text, order, prune=None, in_vocabulary=None):
        corpus = build_corpus(line.split() for line in text.splitlines())
        return kneser_ney.estimate(corpus, order, prune or [0] * order, in_vocabulary)[0]

    return estimate


@pytest.fixture(scope="session")
def listed():
    """A model as one dictionary per order: words → (log10 probability, log10 back-off weight)."""

    def table(model):
        return [
            {
                tuple(model.words[i] for i in ids): (p, b)
                for ids, p, b in zip(s.ids.tolist(), s.log10_prob.tolist(), s.log10_backoff.tolist(), strict=True)
            }
            for s in model.sections
        ]

    return table
