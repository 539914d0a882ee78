"""CTC networks of other kinds than ours, as ONNX models made with the package's own functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def save(path, nodes, inputs, outputs, weights, **options):
    """Write a model. inputs, outputs: (name, type, shape) each. weights: arrays by name."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    infos = [[helper.make_tensor_value_info(*info) for info in infos] for infos in (inputs, outputs)]
    graph = helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], "g", *infos, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(path), **options)
    return str(path)


def attention(path, *, bins=20, symbols=5, stride=2, seed=0, softmax=None, lengths=True, kind="frames", **options):
    """A convolution with a stride, self-attention over the whole utterance, and an output layer.

    softmax: the operator after it, if any. lengths: whether it takes x_lens and returns log_probs_len.
    kind: as in onnx/model.py.
    """
    rng, H = np.random.default_rng(seed), 12
    samples = kind == "samples"
    kernel, step, channels = (400, 320, 1) if samples else (3, stride, bins)
    weights = {
        "conv": 0.3 * rng.standard_normal((H, channels, kernel)).astype(np.float32),
        "q": rng.standard_normal((H, H)).astype(np.float32),
        "out": rng.standard_normal((H, symbols)).astype(np.float32),
        "axis": np.array([1]),
        "step": np.array([step]),
        "less": np.array([step - 1]),
    }
    pads = [0, 0] if samples else [1, 1]
    nodes = [
        ("Unsqueeze", ["x", "axis"], ["c"], {})
        if samples
        else ("Transpose", ["x"], ["c"], {"perm": [0, 2, 1]} if kind == "frames" else {"perm": [0, 1, 2]}),
        ("Conv", ["c", "conv"], ["y"], {"strides": [step], "pads": pads}),
        ("Tanh", ["y"], ["t"], {}),
        ("Transpose", ["t"], ["h"], {"perm": [0, 2, 1]}),
        ("MatMul", ["h", "q"], ["hq"], {}),
        ("MatMul", ["hq", "t"], ["a"], {}),
        ("Softmax", ["a"], ["p"], {"axis": -1}),
        ("MatMul", ["p", "h"], ["m"], {}),
        ("Add", ["m", "h"], ["r"], {}),
        ("MatMul", ["r", "out"], ["s"], {}),
        (softmax or "Identity", ["s"], ["log_probs"], {"axis": -1} if softmax else {}),
    ]
    shapes = {"samples": (1, "S"), "frames": ("N", "T", bins), "bins": ("N", bins, "T")}
    inputs, outputs = [("x", FLOAT, shapes[kind])], [("log_probs", FLOAT, ("N", "U", symbols))]
    if lengths:
        inputs.append(("x_lens", INT64, ("N",)))
        outputs.append(("log_probs_len", INT64, ("N",)))
        nodes += [("Add", ["x_lens", "less"], ["l"], {}), ("Div", ["l", "step"], ["log_probs_len"], {})]
    return save(path, nodes, inputs, outputs, weights, **options)
