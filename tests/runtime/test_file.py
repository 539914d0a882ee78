"""Network files: as they are trained, and with smaller weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import dump_model, make_model
from ds2cli.runtime.file import NetworkFile, parse_network_bytes, quantize, read_network
from ds2cli.runtime.network import RuntimeNetwork
from ds2cli.text.vocab import BLANK, Vocab
from tests.runtime.networks import CONFIGS, compute_in_torch, make_network, weights_of

VOCAB = Vocab((BLANK, " ", "a", "b", "ü", "字"))
FEATURES = {"hop_ms": 10.0}


def write(path, config):
    model = make_network(config)
    path.write_bytes(dump_model(model.state_dict(), config, VOCAB, FEATURES, {"epoch": 3}))
    return model


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", ["1d", "2d-row", "lstm", "both", "relu"])
def test_a_quantized_file_is_the_rounded_network(tmp_path, name, weights):
    config = CONFIGS[name]
    path, small = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write(path, config)
    small.write_bytes(quantize(read_network(path), weights))
    trained, stored = read_network(path), read_network(small)
    assert (stored.weights, stored.vocab, stored.made, stored.step_s) == (
        weights, VOCAB, {"epoch": 3}, trained.step_s,
    )  # fmt: skip
    feats = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    (expected,) = RuntimeNetwork(config, trained.tensors, weights).compute([feats])
    # the integers and scales of the file are those that packing the network makes
    (found,) = RuntimeNetwork(stored.config, stored.tensors, weights).compute([feats])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # torch computes it, too
    np.testing.assert_allclose(compute_in_torch(make_model(stored).model, feats), found, rtol=5e-3, atol=2e-3)


def test_files_get_smaller(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, CONFIGS["relu"])
    network = read_network(path)
    sizes = [sum(x.nbytes for x in load(quantize(network, kind)).values()) for kind in ("float32", "bfloat16", "int8")]
    assert sizes == sorted(sizes, reverse=True)
    matrices = sum(x.size for n, x in network.tensors.items() if x.ndim > 1 and n != "output.weight")
    assert sizes[0] - sizes[1] == 2 * matrices


def test_quantizing_twice_changes_nothing_more(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, CONFIGS["lstm"])
    once = quantize(read_network(path), "int8")
    again = quantize(parse_network_bytes("once", once), "int8")
    for name, value in load(once).items():
        np.testing.assert_allclose(load(again)[name], value, rtol=1e-6, err_msg=name)


def test_bytes_are_read_as_a_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, CONFIGS["1d"])
    from_file, from_bytes = read_network(path), parse_network_bytes("x", path.read_bytes())
    assert from_file.tensors.keys() == from_bytes.tensors.keys()
    for name, value in from_file.tensors.items():
        np.testing.assert_array_equal(from_bytes.tensors[name], value)
    assert from_bytes.config == from_file.config


@pytest.mark.parametrize(
    ("weights", "change", "message"),
    [
        ("int4", {}, "weights of the kind 'int4', expected float32, bfloat16 or int8"),
        ("int8", {"rnns.0.recurrent.scale": None}, "rnns.0.recurrent.scale' is missing"),
        ("int8", {"rnns.0.recurrent.scale": np.ones(5, np.float32)}, "not a network written by ds2 train: .*reshape"),
    ],
)
def test_broken_quantized_files_are_named(tmp_path, weights, change, message):
    path = tmp_path / "a.safetensors"
    write(path, CONFIGS["1d"])
    data = quantize(read_network(path), "int8")
    tensors = {**load(data), **change}
    about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    about["ds2cli"] = json.dumps({**json.loads(about["ds2cli"]), "weights": weights})
    path.write_bytes(save({name: value for name, value in tensors.items() if value is not None}, about))
    with pytest.raises(DataError, match=message):
        read_network(path)


def test_networks_of_plugins_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, CONFIGS["1d"])

    class Other:
        kind = "other"

    network = read_network(path)
    other = NetworkFile("p.safetensors", Other(), network.vocab, {}, {}, network.tensors)
    with pytest.raises(UsageError, match=r"p.safetensors: a network of the kind other cannot be quantized"):
        quantize(other, "int8")


def test_weights_that_do_not_fit_are_an_error(tmp_path):
    path = tmp_path / "a.safetensors"
    model = make_network(CONFIGS["1d"])
    weights = {**weights_of(model), "rnns.0.recurrent": np.zeros((1, 3, 3), np.float32)}
    path.write_bytes(save(weights, json_of(path, model)))
    with pytest.raises(DataError, match="not a network written by ds2 train"):
        make_model(read_network(path))


def json_of(path, model):
    data = dump_model(model.state_dict(), CONFIGS["1d"], VOCAB, FEATURES, {})
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


@pytest.mark.parametrize("out", ["exp/best.safetensors", "link.safetensors"])
def test_a_network_is_not_overwritten_by_its_rounded_one(ds2, tmp_path, out):
    (tmp_path / "exp").mkdir()
    path = tmp_path / "exp" / "best.safetensors"
    write(path, CONFIGS["1d"])
    (tmp_path / "link.safetensors").symlink_to(path)
    before = path.read_bytes()
    done = ds2("model", "quantize", "exp", out, cwd=tmp_path)
    assert done.returncode == 2 and f"OUT: {out} is the network of exp" in done.stderr
    assert path.read_bytes() == before
