"""CTC networks of other toolkits: what they take and return, and files that are none or that are hostile."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.onnx.model import CtcModel

spec = importlib.util.spec_from_file_location("foreign_networks", Path(__file__).with_name("foreign_networks.py"))
foreign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(foreign)
FLOAT, INT64 = foreign.FLOAT, foreign.INT64


@pytest.mark.parametrize("kind", ["samples", "frames", "bins"])
def test_a_network_computes_what_onnxruntime_does(tmp_path, kind):
    path = foreign.attention(tmp_path / "m.onnx", kind=kind, lengths=kind != "samples")
    model = CtcModel(path, device="cpu")
    assert (model.kind, model.symbols, model.bins) == (kind, 5, None if kind == "samples" else 20)
    x = np.random.default_rng(0).standard_normal(8000 if kind == "samples" else (41, 20)).astype(np.float32)
    inputs = {"x": (x.T if kind == "bins" else x)[None]} | ({} if kind == "samples" else {"x_lens": np.array([41])})
    expected = onnxruntime.InferenceSession(path).run(["log_probs"], inputs)[0][0]
    found = model.compute(x)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == ((8000 - 400) // 320 + 1 if kind == "samples" else 21, 5) and found.dtype == np.float32


def test_the_steps_past_the_stated_length_are_left_out(tmp_path):
    weights = {"two": np.array([2], np.int64)}
    nodes = [("Identity", ["x"], ["log_probs"], {}), ("Div", ["n", "two"], ["m"], {})]
    inputs = [("x", FLOAT, ("N", "T", 4)), ("n", INT64, ("N",))]
    outputs = [("log_probs", FLOAT, ("N", "T", 4)), ("m", INT64, ("N",))]
    model = CtcModel(foreign.save(tmp_path / "m.onnx", nodes, inputs, outputs, weights))
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.testing.assert_array_equal(model.compute(x), x[:5])


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 6, 8])
def test_the_step_is_found_from_the_output(tmp_path, stride):
    path = foreign.attention(tmp_path / "m.onnx", stride=stride)
    assert CtcModel(path).input_per_step(100) == stride


def test_the_step_of_samples_is_found_from_the_output(tmp_path):
    path = foreign.attention(tmp_path / "m.onnx", kind="samples", lengths=False)
    assert CtcModel(path).input_per_step(16000) == CtcModel(path).input_per_step(8000) == 320


def identity(path, inputs, outputs=(("y", FLOAT, ("N", "T", 4)),), **options):
    nodes = [("Identity", ["x"], [name], {}) for name, *_ in outputs]
    return foreign.save(path, nodes, inputs, outputs, {}, **options)


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "message"),
    [
        ([("x", FLOAT, ("N", "T", "F"))], None, {}, "expected --onnx-input frames"),
        ([("x", FLOAT, ("N", 7, 4))], None, {}, "expected --onnx-input frames"),
        ([("x", FLOAT, (1, 7, 4))], None, {"kind": "frames"}, "has a fixed size, .1, 7, 4.: expected any length"),
        ([("x", FLOAT, (8, "T", 4))], None, {}, "has a fixed size, .8, any, 4."),
        ([("x", FLOAT, ("N", "T", 4))], None, {"kind": "samples"}, "--onnx-input samples: the input of .* is frames"),
        ([("x", FLOAT, ("N",))], None, {}, "its input is .any.: expected samples or features"),
        ([("x", FLOAT, ("N", 1, "T", 4))], None, {}, "expected samples or features"),
        ([("x", INT64, ("N", "T", 4))], (("y", INT64, (1, 2, 3)),), {}, "expected one input of numbers"),
        ([("x", FLOAT, ("N", "T", 4)), ("z", FLOAT, ("N",))], None, {}, "expected one input of numbers"),
        ([("x", FLOAT, ("N", "T", 4)), ("z", onnx.TensorProto.BOOL, ("N",))], None, {}, "the input z is not known"),
        ([("x", FLOAT, ("N", "T", 4)), ("z", INT64, ("N", "T"))], None, {}, "the input z is not known"),
        (
            [("x", FLOAT, ("N", "T", 4))],
            [("a", FLOAT, ("N", "T", 4)), ("b", FLOAT, ("N", "T", 4))],
            {},
            r"expected one output of scores, found a \(any, any, 4\), b .*--onnx-output",
        ),
        ([("x", FLOAT, ("N", "T", 4))], None, {"output": "z"}, "--onnx-output z: .* has y"),
    ],
)
def test_networks_that_cannot_be_used(tmp_path, inputs, outputs, options, message):
    path = identity(tmp_path / "m.onnx", inputs, outputs or (("y", FLOAT, ("N", "T", 4)),))
    with pytest.raises((DataError, UsageError), match=message):
        CtcModel(path, **options)


def test_one_of_several_outputs_can_be_chosen(tmp_path):
    outputs = [("hidden", FLOAT, ("N", "T", 4)), ("ctc_logits", FLOAT, ("N", "T", 4))]
    path = identity(tmp_path / "m.onnx", [("x", FLOAT, ("N", "T", 4))], outputs)
    assert CtcModel(path)._outputs == ["ctc_logits"]
    assert CtcModel(path, output="hidden")._outputs == ["hidden"]


@pytest.mark.parametrize("size", [0, 1, 100, 1000, -1])
def test_truncated_files_are_refused(tmp_path, size):
    path = Path(foreign.attention(tmp_path / "m.onnx"))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"m.onnx: (not an ONNX model|onnxruntime cannot open it)"):
        CtcModel(str(path))


@pytest.mark.parametrize("data", [b"x" * 1000, b"PK\x03\x04" + b"\0" * 100, bytes(range(256)) * 20])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(DataError, match=r"m.onnx: (not an ONNX model|onnxruntime cannot open it)"):
        CtcModel(str(tmp_path / "m.onnx"))
    with pytest.raises(DataError, match=r"none.onnx: no such file"):
        CtcModel(str(tmp_path / "none.onnx"))


def move_weights(path, location):
    """Point the weights of a model whose data are in a file next to it elsewhere."""
    model = onnx.load_model(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    Path(path).write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def external(tmp_path):
    """A model in a folder, whose weights are in a file of their own."""
    (tmp_path / "model").mkdir()
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    return foreign.attention(tmp_path / "model" / "m.onnx", **options)


def test_weights_may_be_in_a_file_next_to_the_model(external):
    assert len(CtcModel(external).compute(np.zeros((10, 20), np.float32))) == 5


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "x/../../secret.bin", "link.bin", "", "a\0b"])
def test_weights_outside_of_the_folder_are_refused(external, tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 100000)
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(DataError, match=r"its weights 'conv' are in .* outside of its folder: refused"):
        CtcModel(move_weights(external, location))


def test_missing_weights_are_named(external, tmp_path):
    (tmp_path / "model" / "weights.bin").unlink()
    with pytest.raises(DataError, match=r"are in weights.bin, which is not next to it"):
        CtcModel(external)


def test_truncated_weights_are_refused(external, tmp_path):
    (tmp_path / "model" / "weights.bin").write_bytes(b"12")
    with pytest.raises(DataError, match="onnxruntime cannot open it"):
        CtcModel(external)


def test_an_input_that_the_network_cannot_compute_costs_one_utterance(tmp_path):
    model = CtcModel(foreign.attention(tmp_path / "m.onnx"))
    with pytest.raises(BadUtterance, match="model-error"):
        model.compute(np.zeros((10, 21), np.float32))
    assert len(model.compute(np.zeros((10, 20), np.float32))) == 5


def test_a_model_without_growing_output_needs_its_step(tmp_path):
    weights = {"axes": np.array([1], np.int64)}
    nodes = [("ReduceMean", ["x"], ["y"], {"axes": [1], "keepdims": 1})]
    path = foreign.save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ("N", "T", 4))], [("y", FLOAT, ("N", 1, 4))], weights)
    with pytest.raises(DataError, match=r"1 steps of a short input, 1 of a long one .give --step-ms"):
        CtcModel(path).input_per_step(100)


def test_a_gpu_that_is_not_there_is_reported(tmp_path):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    path = foreign.attention(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="--device cuda: this onnxruntime has no CUDA"):
        CtcModel(path, device="cuda")
    assert CtcModel(path, device="auto")._session.get_providers() == ["CPUExecutionProvider"]
