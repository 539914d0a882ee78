"""Kinds of networks: how `model.kind` finds one, and what every network must do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

import ds2cli.nn.models
from ds2cli.config.base import as_dict, build, parse_set, read_toml, to_toml
from ds2cli.config.model import KINDS, ModelConfig, NetworkConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import dump_model, load_model
from ds2cli.nn.network import make_network
from ds2cli.nn.norm import has_batch_norm
from ds2cli.nn.transfer import transfer_weights
from ds2cli.runtime.file import METADATA_KEY
from ds2cli.text.vocab import Vocab

VOCAB = Vocab(("<blank>", " ", "a", "b"))
SMALL = {"channels": [8], "kernels": [5], "strides": [3], "rnn_layers": 1, "rnn_size": 8}
NETWORKS = {
    "ds2": SMALL,
    "ds2 2d": {**SMALL, "conv": "2d", "channels": [2, 3], "kernels": [5, 3], "strides": [2, 2], "norm": "none"},
    "ds2 ahead": {**SMALL, "bidirectional": False, "row_conv": 2, "fc_layers": 1, "fc_size": 7, "cell": "lstm"},
    "dummy": {"kind": "dummy", "splice": 3, "units": 5},
}
every_network = pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture(autouse=True)
def dummy_kind(monkeypatch):
    """The dummy of tests/house as one more kind, in this process only."""
    folder = Path(__file__).parents[1] / "house/plugins/models"
    monkeypatch.setattr(ds2cli.nn.models, "__path__", [*ds2cli.nn.models.__path__, str(folder)])
    yield
    sys.modules.pop("ds2cli.nn.models.dummy", None)


def network(settings, symbols=4, bins=6):
    torch.manual_seed(0)
    return make_network(build(NetworkConfig, ("test", settings)), symbols, bins)


def test_the_kind_is_ds2_unless_it_is_named():
    assert KINDS.names() == ["ds2", "dummy"] or set(KINDS.names()) > {"ds2", "dummy"}
    assert type(build(NetworkConfig, ("test", {}))) is ModelConfig and ModelConfig().kind == "ds2"
    assert type(build(TrainConfig).model) is ModelConfig
    assert type(build(TrainConfig, ("test", {"model": {"kind": "ds2", "rnn_size": 3}})).model) is ModelConfig


def test_a_kind_from_toml_and_from_set_has_its_own_settings(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[model]\nkind = "dummy"\nunits = 7\n')
    config = build(TrainConfig, (str(path), read_toml(str(path))), ("--set", parse_set("model.splice=4")))
    assert as_dict(config.model) == {"kind": "dummy", "splice": 4, "units": 7}
    assert (config.model.stride, config.model.look_ahead) == (4, 3)
    # the later source chooses the kind
    config = build(TrainConfig, ("a", {"model": {"kind": "dummy"}}), ("b", parse_set("model.kind=ds2")))
    assert type(config.model) is ModelConfig
    path.write_text(to_toml(build(TrainConfig, ("test", parse_set("model.kind=dummy"))), {}))
    assert as_dict(build(TrainConfig, (str(path), read_toml(str(path)))).model)["kind"] == "dummy"


@pytest.mark.parametrize("kind", ["ds3", "", 3, ["ds2"]])
def test_an_unknown_kind_names_the_known_ones(kind):
    with pytest.raises(UsageError, match=r"^unknown kind of network .*, expected one of ds2, dummy"):
        build(TrainConfig, ("test", {"model": {"kind": kind}}))


def test_a_setting_of_another_kind_is_unknown():
    with pytest.raises(UsageError, match=r"c.toml: model: unknown setting 'rnn_size', expected one of kind, splice"):
        build(TrainConfig, ("c.toml", {"model": {"rnn_size": 8}}), ("--set", parse_set("model.kind=dummy")))
    with pytest.raises(UsageError, match="test: model: splice: expected at least 1, got 0"):
        build(TrainConfig, ("test", {"model": {"kind": "dummy", "splice": 0}}))


def test_settings_of_ds2_load_no_torch():
    code = (
        "import sys; from ds2cli.config.base import build; from ds2cli.config.train import TrainConfig\n"
        "build(TrainConfig, ('test', {'model': {'kind': 'ds2'}})); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@every_network
def test_steps_of_a_row_do_not_depend_on_the_others(settings):
    """Logits (T', N, V) of a padded batch equal those of each row alone; ceil(T / stride) steps."""
    model = network(settings).eval()
    assert {"mean", "std"} <= dict(model.named_buffers()).keys() and model.stride == model.config.stride
    lengths = torch.tensor([17, 12, 3, 1])
    feats = torch.randn(4, 17, 6)
    with torch.no_grad():
        logits, steps = model(feats, lengths)
        assert steps.tolist() == model.num_steps(lengths).tolist() == [-(-n // model.stride) for n in lengths.tolist()]
        assert logits.shape == (steps[0], 4, 4) and steps.device.type == "cpu"
        for n, (length, count) in enumerate(zip(lengths, steps, strict=True)):
            alone, _ = model(feats[n : n + 1, :length], lengths[n : n + 1])
            torch.testing.assert_close(logits[:count, n], alone[:, 0], rtol=1e-4, atol=1e-5)


@every_network
def test_the_network_normalizes_the_features(settings):
    model, lengths, feats = network(settings).eval(), torch.tensor([9]), torch.randn(1, 9, 6)
    with torch.no_grad():
        expected, _ = model(feats, lengths)
        model.mean.fill_(3.0)
        model.std.fill_(2.0)
        torch.testing.assert_close(model(2 * feats + 3, lengths)[0], expected, rtol=1e-4, atol=1e-5)


@every_network
def test_the_table_of_layers_has_each_parameter_once(settings):
    model = network(settings)
    layers = model.list_layers()
    listed = [id(p) for layer in layers for module in layer.modules for p in module.parameters()]
    assert sorted(listed) == sorted(map(id, model.parameters()))
    assert layers[-1].stride == model.stride and layers[-1].shape == (4,)
    assert has_batch_norm(model) == (settings.get("norm") != "none")


@every_network
def test_a_checkpoint_records_the_kind(settings, tmp_path):
    model, path = network(settings), tmp_path / "best.safetensors"
    path.write_bytes(dump_model(model.state_dict(), model.config, VOCAB, {"hop_ms": 10.0}, {}))
    loaded = load_model(path)
    assert type(loaded.model).__name__ == type(model).__name__ and as_dict(loaded.model.config) == as_dict(model.config)
    assert loaded.step_s == pytest.approx(0.01 * model.stride)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


def test_a_checkpoint_of_an_unknown_kind_is_one_error(tmp_path):
    model, path = network(SMALL), tmp_path / "best.safetensors"
    path.write_bytes(dump_model(model.state_dict(), model.config, VOCAB, {"hop_ms": 10.0}, {}))
    with safe_open(path, "pt") as f:
        about = json.loads(f.metadata()[METADATA_KEY])
    # version 0.1 wrote no kind, and reads what is written today
    assert "kind" not in about["model"]
    about["model"]["kind"] = "ds3"
    path.write_bytes(save(model.state_dict(), {METADATA_KEY: json.dumps(about)}))
    problem = r"best.safetensors: this network cannot be used: unknown kind of network 'ds3', expected one of ds2, dum"
    with pytest.raises(DataError, match=problem):
        load_model(path)


def test_a_network_of_another_kind_gives_the_weights_that_fit(tmp_path):
    path, settings = tmp_path / "best.safetensors", {**SMALL, "rnn_size": 5}
    source, model = network(settings), network(NETWORKS["dummy"])
    path.write_bytes(dump_model(source.state_dict(), source.config, VOCAB, {"hop_ms": 10.0}, {}))
    plan = transfer_weights(model, VOCAB, load_model(path))
    # the norm before the output and the output have the same names and sizes
    assert [name for name, *_ in plan.left] == ["hidden.weight"]
    assert torch.equal(model.output.weight, source.output.weight)
