"""Kinds of features: found by file name, chosen by the setting `kind`, the same in other processes."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ds2cli import plugins
from ds2cli.config.base import as_dict, build, parse_set, setting
from ds2cli.config.effects import refuse_without_effect
from ds2cli.config.features import KINDS, FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig, _with_settings
from ds2cli.errors import UsageError
from ds2cli.feats import fbank, kinds, spectrogram

SAMPLES = np.random.default_rng(0).normal(size=5000).astype(np.float32)


def test_every_kind_is_complete():
    assert KINDS.names() == ["fbank", "spectrogram"]
    for name in KINDS.names():
        config = KINDS.load(name).Config()
        features = kinds.compute(SAMPLES, config)
        assert features.dtype == np.float32
        assert features.shape == (kinds.num_frames(len(SAMPLES), config), kinds.num_bins(config))
        assert kinds.num_frames(0, config) == kinds.num_frames(config.window_samples - 1, config) == 0


def test_the_default_is_the_spectrogram():
    for values in ({}, {"kind": "spectrogram"}):
        config = build(FeatureConfig, ("x", values))
        assert type(config) is FeatureConfig
        np.testing.assert_array_equal(kinds.compute(SAMPLES, config), spectrogram.compute(SAMPLES))
    assert type(build(FeaturizeConfig)) is FeaturizeConfig


@pytest.mark.parametrize(("rate", "ms", "samples"), [(11025, 25.0, 276), (22050, 12.5, 276), (11025, 10.0, 110)])
def test_windows_and_hops_are_rounded_to_the_nearest_sample(rate, ms, samples):
    # 275.6, 275.6 and 110.25 samples
    config = FeatureConfig(sample_rate=rate, window_ms=ms, hop_ms=ms)
    assert (config.window_samples, config.hop_samples) == (samples, samples)


def test_a_kind_adds_its_settings_to_those_of_a_command():
    options = {"kind": "fbank", "low_hz": 100.0}
    sources = ("c.toml", {"num_mels": 40, "nj": 2}), ("--set …", parse_set("low_hz=50")), ("options", options)
    config = build(FeaturizeConfig, *sources)
    assert isinstance(config, FeaturizeConfig) and isinstance(config, fbank.Config)
    assert (config.kind, config.num_mels, config.low_hz, config.nj) == ("fbank", 40, 100, 2)
    assert config == build(FeaturizeConfig, *sources) == replace(config, nj=2)
    np.testing.assert_array_equal(
        kinds.compute(SAMPLES, config), fbank.compute(SAMPLES, fbank.Config(num_mels=40, low_hz=100.0))
    )


@pytest.mark.parametrize("values", [{}, {"kind": "fbank"}, {"kind": "fbank", "high_hz": 4000.0, "hop_ms": 5.0}])
def test_settings_are_stored_and_read_back(values):
    config = build(FeaturizeConfig, ("x", {**values, "nj": 3}))
    stored = config.features()
    assert stored.get("kind", "spectrogram") == config.kind
    assert not {"nj", "dir"} & set(stored)
    own = build(FeatureConfig, ("x", values))
    assert FeatureConfig.from_saved(stored, "x") == FeatureConfig.from_saved(as_dict(config), "x") == own
    assert own.features() == stored


@pytest.mark.parametrize("kind", ["spectrogram", "fbank"])
def test_the_level_of_the_past_is_stored_where_it_is_used(kind):
    """Networks with the level of utterances are stored as before it existed, so that older versions read them."""
    past = {"initial_db", "initial_s", "memory_s", "level_from"}
    config = build(FeaturizeConfig, ("x", {"kind": kind, "level_from": "past", "initial_db": -30.0, "nj": 2}))
    stored = config.features()
    assert past < set(stored) and (stored["level_from"], stored["initial_db"]) == ("past", -30.0)
    again = FeatureConfig.from_saved(stored, "x")
    assert (again.level_from, again.initial_db, again.features()) == ("past", -30.0, stored)
    utterance = build(FeatureConfig, ("x", {"kind": kind, "initial_db": -30.0}))
    assert not past & set(utterance.features())
    assert utterance.features() == build(FeatureConfig, ("x", {"kind": kind})).features()


def test_settings_of_the_past_are_refused_without_it():
    given = {"initial_db": -30.0}
    with pytest.raises(UsageError, match="--initial-db has no effect with --level-from utterance"):
        refuse_without_effect(build(FeaturizeConfig, ("x", given)), given)
    given["level_from"] = "past"
    refuse_without_effect(build(FeaturizeConfig, ("x", given)), given)
    with pytest.raises(UsageError, match="level_from: expected one of utterance, past, got 'future'"):
        build(FeaturizeConfig, ("x", {"level_from": "future"}))


@pytest.mark.parametrize("config_type", [FeatureConfig, FeaturizeConfig])
@pytest.mark.parametrize("kind", ["fbank", "spectrogram"])
def test_configs_reach_other_processes(config_type, kind):
    config = build(config_type, ("x", {"kind": kind, "hop_ms": 5.0}))
    again = pickle.loads(pickle.dumps(config))
    assert again == config and type(again) is type(config)


@pytest.mark.parametrize("kind", ["mfcc", "cmvn", "kinds", "", "../spectrogram", 3, ["fbank"]])
@pytest.mark.parametrize("config_type", [FeatureConfig, FeaturizeConfig])
def test_an_unknown_kind(config_type, kind):
    with pytest.raises(UsageError, match=r"unknown kind of features .*, expected one of fbank, spectrogram"):
        build(config_type, ("x", {"kind": kind}))


def test_a_kind_is_looked_up_once(monkeypatch):
    """Training counts the frames of each utterance: no folder is listed for that."""
    config = fbank.Config()
    expected = kinds.num_frames(5000, config)
    monkeypatch.setattr(plugins, "load_module", None)
    assert kinds.num_frames(5000, config) == expected


def test_settings_of_another_kind_are_unknown():
    with pytest.raises(UsageError, match="x: unknown setting 'num_mels', expected one of"):
        build(FeaturizeConfig, ("x", {"num_mels": 80}))


def test_a_setting_of_the_command_is_not_one_of_the_features():
    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        compress: float = setting(0.3, help="Power of the compression.")

    with pytest.raises(UsageError, match="compress: a setting of ds2 featurize has this name"):
        _with_settings(Config)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("sample_rate", 1000, 192000),
        ("window_ms", 1.0, 200.0),
        ("hop_ms", 1.0, 200.0),
        ("level_db", -100.0, 0.0),
        ("floor", 1e-30, 1.0),
        ("initial_db", -100.0, 0.0),
        ("initial_s", 0.001, 3600.0),
        ("memory_s", 0.1, 1e6),
        ("nj", 1, 1024),
        ("min_duration", 0.0, None),
        ("max_duration", 0.0, None),
    ],
)
def test_the_limits_of_each_setting_are_allowed_and_nothing_beyond_them(name, lowest, highest):
    for limit, beyond in ((lowest, -1), (highest, 1)):
        if limit is not None:
            assert getattr(build(FeaturizeConfig, ("x", {name: limit})), name) == limit
            step = 1 if isinstance(limit, int) else max(abs(limit) / 100, 1e-31)
            with pytest.raises(UsageError, match=f"{name}: expected "):
                build(FeaturizeConfig, ("x", {name: limit + beyond * step}))
