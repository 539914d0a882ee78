"""The rule: a pure function of the facts, whose settings `ds2 train` takes; its limits by construction."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ds2cli.config.base import build, parse_toml
from ds2cli.config.train import TrainConfig
from ds2cli.recommend import rule
from ds2cli.recommend.describe import fact_lines, setting_lines, to_toml
from ds2cli.recommend.facts import Facts, Quantiles
from ds2cli.recommend.rule import Start, choose, choose_split

SOME = Quantiles(1.0, 1.0, 2.0, 5.0, 9.0)


def facts(hours=0.5, speakers=1, **more):
    default = {"utterances": max(1, round(hours * 1200)), "seconds": hours * 3600, "speakers": speakers, "bins": 161}
    default |= {"letters": {"a": 900, " ": 100}, "words": 5000, "distinct_words": 900, "distinct_texts": 10**6}
    return Facts(durations=SOME, rates=SOME, **{**default, **more})


def settings_of(*args, **more):
    return {s.name: s.value for s in choose(facts(*args, **more))}


GRID = list(itertools.product((0.002, 0.02, 0.3, 1.0, 4.0, 29.0, 150.0, 2000.0), (0, 1, 2, 80), (13, 80, 161, None)))


@pytest.mark.parametrize(("hours", "speakers", "bins"), GRID)
def test_ds2_train_takes_whatever_is_chosen_and_every_choice_is_in_bounds(hours, speakers, bins):
    found = facts(hours, speakers, bins=bins, no_speaker=0 if speakers else 7)
    chosen = choose(found)
    text = to_toml(chosen, ["a head", "with a line\nfeed"])
    config = build(TrainConfig, ("x", parse_toml(text.encode(), "x")))
    assert config.optim.lr == {s.name: s.value for s in chosen}["optim.lr"] > 0
    steps = config.epochs * hours * 3600 / config.batch_s
    assert steps >= rule.STEPS * 0.99 or config.epochs == rule.EPOCHS[1]
    assert rule.EPOCHS[0] <= config.epochs <= rule.EPOCHS[1] and 5 <= config.batch_s <= 160
    assert rule.WARMUP <= config.optim.warmup <= rule.MAX_WARMUP
    assert config.optim.warmup * steps >= rule.WARMUP_STEPS * 0.9 or config.optim.warmup == rule.MAX_WARMUP
    assert text.startswith("# a head\n# with a linefeed\n") and choose(found) == chosen
    assert list(setting_lines(chosen)) and fact_lines(
        replace(found, letters={"a": 3, "7": 1, "\u200b": 1}, found_in={"a": "u", "7": "u", "\u200b": "u"})
    )


def test_more_speech_gets_a_larger_network_and_no_fewer_regularization_for_several_speakers():
    sizes = [settings_of(hours, 5) for hours in (0.01, 0.5, 10, 100, 1000)]
    weights = [s["model.rnn_layers"] * s["model.rnn_size"] ** 2 for s in sizes]
    assert weights == sorted(weights) and len(set(weights)) == 5
    dropouts = [s["model.dropout"] for s in sizes]
    assert dropouts == sorted(dropouts, reverse=True) and dropouts[0] == rule.DROPOUT["several"] and dropouts[-1] == 0.1


@pytest.mark.parametrize(
    ("hours", "speakers", "no_speaker", "cell"),
    [
        (0.4, 1, 0, "rnn"),
        (0.4, 1, 1, "gru"),
        (0.4, 0, 5, "gru"),
        (0.4, 2, 0, "gru"),
        (3.0, 1, 0, "gru"),
        (0.03, 1, 0, "gru"),
    ],
)
def test_simple_cells_are_for_one_known_speaker_only(hours, speakers, no_speaker, cell):
    found = settings_of(hours, speakers, no_speaker=no_speaker)
    assert (found["model.cell"], found["model.activation"]) == (cell, "relu" if cell == "rnn" else "tanh")


@pytest.mark.parametrize(
    ("unfit", "stride"),
    [
        ({3: 0, 2: 0, 1: 0}, 3),
        ({3: 5, 2: 0, 1: 0}, 3),
        ({3: 6, 2: 5, 1: 0}, 2),
        ({3: 900, 2: 800, 1: 0}, 1),
        # the texts of 300 belong to other recordings: no stride helps them
        ({3: 302, 2: 300, 1: 300}, 3),
    ],
)
def test_the_stride_is_the_largest_that_loses_half_a_percent(unfit, stride):
    assert settings_of(0.5, 1, unfit=unfit, utterances=1000)["model.strides"] == [stride, 1]


def test_cepstra_are_augmented_as_spectra():
    cepstra, mel = settings_of(bins=13), settings_of(bins=26)
    assert cepstra.pop("augment.cepstra") is True
    assert {n: v for n, v in cepstra.items() if n.startswith("augment.")} == {
        n: v for n, v in mel.items() if n.startswith("augment.")
    }
    assert mel["augment.speed"] == 0.1 and "augment.freq_masks" not in mel


def test_the_mean_of_each_utterance_is_subtracted_unless_there_is_one_speaker():
    assert settings_of(speakers=9)["model.input_norm"] == settings_of(speakers=0, no_speaker=5)["model.input_norm"]
    assert settings_of(speakers=9)["model.input_norm"] == "utterance"
    assert "model.input_norm" not in settings_of(speakers=1)


def test_a_training_that_starts_from_a_network_has_its_sizes_and_takes_smaller_steps():
    start = Start("exp/a", {"kind": "ds2", "channels": [32], "kernels": [5], "strides": [2], "rnn_size": 48}, 2)
    without, found = settings_of(), {s.name: s.value for s in choose(facts(), start)}
    assert found["init"] == "exp/a" and found["model.rnn_size"] == 48 and found["model.strides"] == [2]
    assert found["optim.lr"] == without["optim.lr"] / 2 and found["epochs"] == round(without["epochs"] / 2)
    assert build(TrainConfig, ("x", parse_toml(to_toml(choose(facts(), start), []).encode(), "x"))).init == "exp/a"


@pytest.mark.parametrize(
    ("speakers", "no_speaker", "texts", "by", "parts", "said"),
    [
        (5, 0, 900, "speaker", 5, "speakers of their own"),
        (66, 0, 900, "speaker", 10, "66 speakers"),
        (66, 3, 900, "text", 10, "speakers: 66 known, 3 utterances without, so"),
        (4, 0, 900, "text", 10, "speakers: 4, so dev and test have voices of training"),
        (0, 600, 900, "text", 10, "speakers: unknown"),
        (3, 0, 10, "duration", 10, "the same 10 texts are said again and again"),
        (1, 0, 100, "duration", 10, "again and again"),
    ],
)
def test_the_split(speakers, no_speaker, texts, by, parts, said):
    found = choose_split(facts(0.5, speakers, no_speaker=no_speaker, distinct_texts=texts))
    assert (found.by, found.parts) == (by, parts) and said in found.reason
