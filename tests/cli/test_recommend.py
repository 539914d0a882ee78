"""`ds2 recommend`: the report, the settings that `ds2 train` takes, and where each goes."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

from ds2cli.cli.main import app
from ds2cli.errors import DataError, Ds2Error


def run(*words):
    done = CliRunner().invoke(app, ["recommend", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def digits(jsonl, tmp_path):
    """Twenty recordings of 8 kHz of each of two speakers and ten words."""
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    rows = [
        {
            "id": f"{w}-{s}-{i}",
            "audio_filepath": f"{w}.wav",
            "duration": 0.5,
            "text": w,
            "speaker": s,
            "sample_rate": 8000,
        }
        for w in words
        for s in ("ann", "ben")
        for i in range(20)
    ]
    return jsonl(tmp_path / "rows.jsonl", sorted(rows, key=lambda row: row["id"]))


def test_the_report_and_the_settings(digits, tmp_path):
    done = run(digits, tmp_path / "train.toml")
    sections = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert sections == ["data", "settings", "what to expect"]
    for part in (
        "3.3 minutes (0.06 h) in 400 utterances",
        "8000 Hz (400)",
        "10 different texts in 400 utterances; a closed",
    ):
        assert part in done.stdout
    assert (
        "--by duration --parts 10" in done.stdout
        and "8000 Hz of the features (ds2 featurize --sample-rate)" in done.stdout
    )
    text = (tmp_path / "train.toml").read_text()
    settings = tomllib.loads(text)
    assert settings["model"]["cell"] == "gru" and settings["units"] == {"kind": "char"}
    assert (
        text.startswith("# Settings for ds2 train, chosen by ds2 recommend ") and "# 3.3 minutes of 2 speakers" in text
    )


def test_a_dash_writes_the_settings_to_standard_output_and_the_report_to_people(digits):
    done = run(digits, "-")
    assert "epochs" in tomllib.loads(done.stdout) and "what to expect" in done.stderr


def test_one_json_object_for_programs(digits):
    found = json.loads(run(digits, "--json").stdout)
    assert sorted(found) == ["expect", "facts", "features", "sample_rate", "settings", "split"]
    assert found["facts"]["is_closed"] is True and found["facts"]["speakers"] == 2 and found["sample_rate"] == 8000
    assert found["features"] == {"sample_rate": 8000}
    assert found["split"]["by"] == "duration" and found["settings"]["model.cell"] == "gru"


def test_a_network_to_start_from_must_exist(digits):
    with pytest.raises(DataError, match="no trained network found"):
        run(digits, "--init", "nowhere")


def test_the_features_are_those_of_the_network_to_start_from(digits, tmp_path):
    from ds2cli.config.features import FeatureConfig
    from ds2cli.config.model import ModelConfig
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.text.vocab import BLANK, Vocab

    config = ModelConfig(channels=(4,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=4)
    model, vocab = DeepSpeech2(config, 3, 40), Vocab((BLANK, "a", "b"))
    features = FeatureConfig.from_saved({"kind": "fbank", "num_mels": 40, "sample_rate": 16000}, "x").features()
    (tmp_path / "net.safetensors").write_bytes(dump_model(model.state_dict(), config, vocab, features, {}))
    found = json.loads(run(digits, "--init", tmp_path / "net.safetensors", "--json").stdout)
    # recordings of 8 kHz notwithstanding
    assert found["features"] == {"kind": "fbank", "num_mels": 40} and found["sample_rate"] == 16000
    assert found["facts"]["bins"] == 40 and found["settings"]["model.rnn_size"] == 4


def test_rows_that_cannot_be_trained_on_are_refused(jsonl, tmp_path):
    with pytest.raises(Ds2Error, match=r"no-text.jsonl: no utterance has a text"):
        run(jsonl(tmp_path / "no-text.jsonl", [{"id": "a", "audio_filepath": "a.wav", "duration": 1.0}]))
    with pytest.raises(DataError, match=r"empty.jsonl: no utterances"):
        run(jsonl(tmp_path / "empty.jsonl", []))
