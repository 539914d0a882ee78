from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError
from ds2cli.nn.checkpoint import dump_model, load_model
from ds2cli.nn.infer import BATCH_FRAMES, _group_by_length, compute_emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.runtime.file import BEST, FORMAT, METADATA_KEY
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.resume import LAST, dump_checkpoint, load_checkpoint

VOCAB = Vocab((BLANK, " ", "a", "é"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
STATE = {"model": {}, "optimizer": {}, "average": None, "at": {}, "config": {}, "train": "digest"}
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


@pytest.fixture
def exp(tmp_path):
    torch.manual_seed(0)
    model = DeepSpeech2(CONFIG, 4, 20)
    model.mean.fill_(-3.0)
    (tmp_path / BEST).write_bytes(dump_model(model.state_dict(), CONFIG, VOCAB, FEATURES, {"epoch": 7}))
    return tmp_path


def feats(*lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 20)).astype(np.float32) for n in lengths]


def test_a_loaded_network_is_complete(exp):
    trained = load_model(exp)
    assert trained.vocab == VOCAB and trained.features == FEATURES and trained.metadata == {"epoch": 7}
    assert trained.step_s == pytest.approx(0.02) and trained.bins == 20 and not trained.model.training
    assert trained.model.mean.tolist() == [-3.0] * 20
    assert load_model(exp / BEST).vocab == VOCAB


def test_the_file_is_safetensors_with_json_metadata(exp):
    with safe_open(exp / BEST, "pt") as f:
        assert json.loads(f.metadata()["ds2cli"])["symbols"] == [BLANK, " ", "a", "é"]


def test_a_missing_or_truncated_network_is_an_error(exp, tmp_path):
    with pytest.raises(DataError, match="no trained network found"):
        load_model(tmp_path / "nowhere")
    (exp / BEST).write_bytes((exp / BEST).read_bytes()[:-9])
    with pytest.raises(DataError, match="not a network"):
        load_model(exp)
    (exp / BEST).write_bytes(b"")
    with pytest.raises(DataError, match="not a network"):
        load_model(exp)


def test_a_state_is_loaded_without_running_code(tmp_path):
    assert load_checkpoint(tmp_path) is None
    (tmp_path / LAST).write_bytes(dump_checkpoint({**STATE, "at": {"epoch": 3, "skipped": ["a"]}}))
    assert load_checkpoint(tmp_path)["at"] == {"epoch": 3, "skipped": ["a"]}
    torch.save({"x": pytest.raises}, tmp_path / LAST)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w": torch.ones(2)}, "it has no at, average, config, model, optimizer, train"),
        ({**STATE, "format": "\n" * 99}, rf"another version of ds2: expected format {FORMAT}, found '(.n){{9}}. "),
        ({**STATE, "format": FORMAT + 1}, f"another version of ds2: expected format {FORMAT}, found {FORMAT + 1}"),
        ({"format": FORMAT + 1}, "another version"),
        ({**STATE, "model": 3, "train": 3}, "not a checkpoint: model, train in it has another type"),
    ],
)
def test_a_state_of_another_format_is_an_error_of_one_line(tmp_path, state, message):
    (tmp_path / LAST).write_bytes(dump_checkpoint(state))
    with pytest.raises(DataError, match=message) as e:
        load_checkpoint(tmp_path)
    assert "\n" not in str(e.value) and "--fresh" in str(e.value)


def test_a_file_without_a_format_version_is_version_1(exp):
    torch.save(STATE, exp / LAST)
    assert load_checkpoint(exp) == STATE
    rewrite(exp, lambda about, state: about.pop("format"))
    assert load_model(exp).vocab == VOCAB


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about, state: about.pop("symbols"), "'symbols' is missing"),
        (lambda about, state: about["features"].pop("hop_ms"), "'hop_ms' is missing"),
        (lambda about, state: about.update(features=None), "not a network"),
        (lambda about, state: about["symbols"].append("z"), "size mismatch for output.weight"),
        (lambda about, state: state.pop("mean"), "'mean' is missing"),
        (lambda about, state: state.update(mean=torch.tensor(1.0)), "not a network"),
        (lambda about, state: state.pop("output.weight"), 'Missing key.*"output.weight"'),
        (lambda about, state: about["model"].update(heads=8), "unknown setting 'heads'"),
        (lambda about, state: about["symbols"].reverse(), "expected <blank> first"),
        (
            lambda about, state: about.update(format=FORMAT + 1, model=1),
            f"version of ds2: expected format {FORMAT}, found {FORMAT + 1}",
        ),
    ],
)
def test_a_network_of_another_format_is_an_error_of_one_line(exp, change, message):
    rewrite(exp, change)
    with pytest.raises(DataError, match=message) as e:
        load_model(exp)
    assert "\n" not in str(e.value) and str(e.value).startswith(f"{exp / BEST}: ")


def rewrite(exp, change):
    with safe_open(exp / BEST, "pt") as f:
        about = json.loads(f.metadata()[METADATA_KEY])
        state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict
    change(about, state)
    (exp / BEST).write_bytes(save(state, {METADATA_KEY: json.dumps(about)}))


def test_a_truncated_state_is_an_error(tmp_path):
    data = dump_checkpoint({"w": torch.ones(100)})
    (tmp_path / LAST).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="--fresh"):
        load_checkpoint(tmp_path)


def test_emissions_are_log_probabilities_in_input_order(exp):
    trained = load_model(exp)
    inputs = feats(5, 40, 1, 0, 12)
    out = compute_emissions(trained, inputs)
    assert [len(x) for x in out] == [3, 20, 1, 0, 6]
    for x, scores in zip(inputs, out, strict=True):
        assert scores.dtype == np.float32 and scores.shape[1] == 4
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(compute_emissions(trained, [x])[0], scores, rtol=1e-4, atol=1e-5)


def test_emissions_of_many_batches(exp):
    trained = load_model(exp)
    inputs = feats(*[BATCH_FRAMES // 3] * 7, BATCH_FRAMES + 5)
    assert [len(x) for x in compute_emissions(trained, inputs)] == [BATCH_FRAMES // 6] * 7 + [BATCH_FRAMES // 2 + 3]
    assert compute_emissions(trained, []) == []


def test_a_batch_of_emissions_has_at_most_its_frames_with_padding():
    assert list(_group_by_length([2000] * 7)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(_group_by_length([1000, 0, 5000, 1500, 9000])) == [[4], [2], [3, 0]]


def test_the_work_can_be_stopped_before_each_batch(exp):
    trained, inputs, calls = load_model(exp), feats(*[BATCH_FRAMES // 2] * 6), []

    def check():
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    compute_emissions(trained, inputs, check)
    assert len(calls) == 3
    with pytest.raises(KeyboardInterrupt):
        compute_emissions(trained, inputs, check)


def test_a_network_is_not_read_from_a_pipe(exp, piped):
    path = piped((exp / BEST).read_bytes(), "x.safetensors")
    message = "this is a pipe, expected the folder of an experiment or a .safetensors file"
    with pytest.raises(DataError, match=f"{path}: {message}$"):
        load_model(path)
    with pytest.raises(DataError, match="/dev/zero: this is a device, expected"):
        load_model("/dev/zero")
