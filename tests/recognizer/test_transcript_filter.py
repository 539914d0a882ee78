"""EXP/filter.toml: what is written is read, and whatever is wrong with it is named."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.errors import DataError, UsageError
from ds2cli.metrics.logistic import LogisticModel
from ds2cli.recognizer.transcript_filter import TranscriptFilter, identify_network, load_filter, save_filter
from ds2cli.search.transcript_features import FEATURES
from ds2cli.text.vocab import BLANK, Vocab


@pytest.fixture
def exp(tmp_path):
    Vocab((BLANK, "a")).save(tmp_path / "tokens.txt")
    return tmp_path


@pytest.fixture
def saved(exp):
    rng = np.random.default_rng(0)
    model = LogisticModel(rng.normal(size=6), rng.normal(size=6), rng.uniform(1, 2, 6), -0.25)
    classifier = TranscriptFilter(model, 0.75)
    save_filter(str(exp), classifier, seed=3)
    return classifier


def test_what_is_written_is_read(exp, saved):
    found = load_filter(str(exp))
    assert found.threshold == 0.75 and found.model.bias == -0.25
    for name in ("weights", "means", "scales"):
        assert (getattr(found.model, name) == getattr(saved.model, name)).all()
    features = [1.0, -2.0, 3.0, 0.5, 4.0, 20.0]
    assert found.score(features) == saved.score(features) == round(found.score(features), 6)
    logit = sum(saved.model.weights * (features - saved.model.means) / saved.model.scales) - 0.25
    assert found.score(features) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    assert "seed = 3" in (exp / "filter.toml").read_text()


def test_without_a_file_the_command_that_makes_it_is_named(exp):
    with pytest.raises(DataError, match=r"filter.toml: no such file: .* is fitted to each \(ds2 filter --fit .* DEV\)"):
        load_filter(str(exp))


def test_the_file_of_another_network(exp, saved, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    Vocab((BLANK, "b")).save(other / "tokens.txt")
    (other / "filter.toml").write_bytes((exp / "filter.toml").read_bytes())
    with pytest.raises(DataError, match=r"filter.toml: fitted to another network than that of .*other"):
        load_filter(str(other))
    # a network that was trained again is another one
    (exp / "best.safetensors").write_bytes(b"weights")
    with pytest.raises(DataError, match="fitted to another network"):
        load_filter(str(exp))


def test_the_identity_is_that_of_the_weights(exp):
    symbols = identify_network(str(exp))
    (exp / "best.safetensors").write_bytes(b"weights")
    weights = identify_network(str(exp))
    assert weights != symbols and len(weights) == 16
    (exp / "tokens.txt").unlink()
    assert identify_network(str(exp)) == weights
    (exp / "best.safetensors").unlink()
    with pytest.raises(DataError, match="expected the folder of an experiment"):
        identify_network(str(exp))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threshold = 0.75", "threshold = 1.75", "threshold: expected 0 to 1, got 1.75"),
        ("threshold = 0.75", "", "threshold: expected a number, got None"),
        ("threshold = 0.75", "threshold = true", "threshold: expected a number, got True"),
        ("bias = -0.25", "bias = nan", "bias: expected a number, got nan"),
        ("bias = -0.25", "bias = -inf", "bias: expected a number, got -inf"),
        ("bias = -0.25", 'bias = "x"', "bias: expected a number, got x"),
        ("[features.num_words]", "[features.words]", f"expected the tables features.NAME of {', '.join(FEATURES)}"),
        ("[features.num_words]\nweight", "[features.num_words]\nw", r"features.num_words.weight: expected a number"),
        ("network = ", "net = ", "fitted to another network"),
        ("[made_by]", "[made]", "fitted to another network"),
    ],
)
def test_damaged_files(exp, saved, old, new, message):
    text = (exp / "filter.toml").read_text()
    assert old in text
    (exp / "filter.toml").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        load_filter(str(exp))


def test_a_scale_is_positive(exp, saved):
    save_filter(str(exp), TranscriptFilter(LogisticModel(np.ones(6), np.ones(6), np.zeros(6), 0.0), 0.5))
    with pytest.raises(DataError, match="scale: expected numbers above 0, got 0"):
        load_filter(str(exp))


def test_not_toml(exp, saved):
    (exp / "filter.toml").write_text("threshold = \n")
    with pytest.raises(UsageError, match=r"filter.toml:1: not valid TOML"):
        load_filter(str(exp))
