"""Labels and steps, against the rule that training drops utterances by."""

import json
from itertools import pairwise

import numpy as np
import pytest

from ds2cli.audio.recording import parse_recording
from ds2cli.checks.feasibility import Feasibility
from ds2cli.checks.network import NetworkFacts, parse_speeds, read_facts
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.config.units import UnitsConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.text.vocab import Vocab
from ds2cli.train.augmenter import count_frames
from ds2cli.train.data import _train_utterance

FEATURES = FeatureConfig()


def row_of(text, frames):
    """A row whose recording has this number of frames, of 20 ms every 10 ms."""
    return {"id": "u", "audio_filepath": "a.wav", "text": text, "duration": 0.02 + 0.01 * (frames - 1)}


def kinds(check, row, num_frames=None):
    return [kind for kind, _ in check(row["id"], row["text"], num_frames, parse_recording(row))]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("text", ["abc", "aabb", "aaaa", "a b", "x"])
def test_it_agrees_with_training_at_every_length(text, stride):
    vocab = Vocab.from_texts([text])
    config = build(TrainConfig, ("t", {"model": {"strides": [stride, 1]}}))
    check = Feasibility(None, stride, FEATURES)
    for frames in range(1, 40):
        row = row_of(text, frames)
        assert count_frames(parse_recording(row), FEATURES) == frames
        try:
            _train_utterance(row, frames, vocab, config)
            expected = []
        except BadUtterance as e:
            expected = [e.reason]
        assert kinds(check, row) == expected, frames
        assert kinds(check, {"id": "u", "text": text}, frames) == expected


def test_the_report_has_need_have_margin_and_advice():
    ((kind, detail),) = Feasibility(None, 3, FEATURES)("u", "aab" * 4, None, parse_recording(row_of("", 30)))
    assert (kind, detail) == (
        "label-too-long",
        "16 steps needed, 30 frames give 10 (stride 3), 6 too few: a stride of 1 fits, or longer units",
    )
    ((_, detail),) = Feasibility(None, 3, FEATURES)("u", "abc " * 30, 60, None)
    assert "119 steps needed, 60 frames give 20 (stride 3), 99 too few: 198 characters per second, the text" in detail


def test_every_speed_is_checked():
    check = Feasibility(None, 1, FEATURES, (0.9, 1.0, 1.1, 1.5))
    assert kinds(check, row_of("abcdefghij", 20)) == []
    ((kind, detail),) = check("u", "abcdefghij", None, parse_recording(row_of("", 11)))
    assert kind == "label-too-long-at-speed" and detail.startswith("at speed 1.1, 10 steps needed, 9 frames give 9")
    assert "up to a speed of 1.09," in detail
    assert kinds(check, row_of("abcdefghij", 9)) == ["label-too-long"]
    # frames of features without a duration are estimated
    assert kinds(check, {"id": "u", "text": "abcdefghij"}, 12) == ["label-too-long-at-speed"]


def test_the_tightest_row_is_remembered():
    check = Feasibility(None, 1, FEATURES)
    assert check.describe() == ""
    for name, frames in (("a", 300), ("b", 12), ("c", 50), ("d", 5)):
        check(name, "abcdefghij", frames, None)
    assert check.describe() == "the tightest row that fits is b: 10 of 12 steps needed, 2 to spare"


def test_rows_without_a_duration_or_text_are_not_judged_and_short_ones_are():
    check = Feasibility(None, 2, FEATURES)
    assert kinds(check, {"id": "u", "text": "abc"}) == [] and kinds(check, row_of(" ", 5)) == []
    assert kinds(check, {**row_of("abc", 1), "duration": 0.01}) == ["too-short"]


def test_units_of_several_letters_need_fewer_steps():
    vocab = Vocab.from_texts(["abcdefgh"], UnitsConfig(kind="bigram"))
    assert kinds(Feasibility(vocab, 1, FEATURES), {"id": "u", "text": "abcdefgh"}, 4) == []
    assert kinds(Feasibility(None, 1, FEATURES), {"id": "u", "text": "abcdefgh"}, 4) == ["label-too-long"]
    assert kinds(Feasibility(vocab, 1, FEATURES), {"id": "u", "text": "xyz"}, 1) == []


def test_random_rows_agree_with_the_exact_count():
    """Most rows are not counted exactly, because a bound decides."""
    rng = np.random.default_rng(1)
    check = Feasibility(None, 2, FEATURES)
    tightest = np.inf
    for i in range(2000):
        text = "".join(rng.choice(list("ab"), rng.integers(1, 30)))
        frames = int(rng.integers(1, 120))
        need = len(text) + sum(a == b for a, b in pairwise(text))
        spare = -(-frames // 2) - need
        found = check(str(i), text, frames, None)
        assert [kind for kind, _ in found] == (["label-too-long"] if spare < 0 else [])
        tightest = min(tightest, spare) if spare >= 0 else tightest
        assert check.tightest is None or check.tightest[0] == tightest


def test_facts_come_from_a_training_config(tmp_path):
    config = tmp_path / "t.toml"
    config.write_text("[model]\nstrides = [2, 2]\n[augment]\nspeeds = [0.9, 1.0, 1.1]\nspeed = 0.2\n")
    assert read_facts(None, None, str(config), list) == NetworkFacts(None, 4, None, (0.9, 1.0, 1.1, 1.2))
    config.write_text("[units]\nkind = 'bigram'\n")
    facts = read_facts(None, None, str(config), lambda: ["ab  cd"])
    assert facts.vocab.symbols == ("<blank>", " ", "a", "ab", "b", "c", "cd", "d")
    assert read_facts(None, None, None, list) == NetworkFacts()
    (tmp_path / "tokens.txt").write_text("<blank>\na\n")
    assert read_facts(None, str(tmp_path / "tokens.txt"), None, list).vocab.symbols == ("<blank>", "a")
    with pytest.raises(UsageError, match="exclude each other"):
        read_facts("exp", None, str(config), list)
    with pytest.raises(UsageError, match="unknown setting"):
        config.write_text("nonsense = 1\n")
        read_facts(None, None, str(config), list)


def test_facts_come_from_a_network(shipped):
    facts = read_facts(str(shipped / "exp"), None, None, list)
    assert facts.vocab.symbols == ("<blank>", " ", "a", "b", "é")
    assert (facts.stride, facts.features["sample_rate"]) == (2, 8000)


@pytest.mark.parametrize("text", ["", "fast", "0.1", "1.0 3"])
def test_speeds_are_numbers_from_a_half_to_two(text):
    assert parse_speeds("1.1, 0.9 1") == (0.9, 1.0, 1.1)
    with pytest.raises(UsageError, match=r"^--speeds .* expected numbers from 0\.5 to 2") as e:
        parse_speeds(text)
    assert json.dumps(text)[1:-1] in str(e.value)
