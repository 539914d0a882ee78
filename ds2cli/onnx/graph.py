"""Build an ONNX graph node by node: every value is known by its name, and each function of an operator returns it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

OPSET, IR_VERSION = 17, 8
"""Versions of the operators and of the file, which runtimes of 2022 and later read (onnxruntime 1.12)."""

LAST = np.iinfo(np.int64).max
"""The end of a slice that has everything from its begin."""

Shape = Sequence[int | str]
"""Sizes of dimensions; those with a name may be any."""


class Graph:
    """An ONNX graph that grows."""

    def __init__(self) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, shape: Shape, kind: int = onnx.TensorProto.FLOAT) -> str:
        """Declare an input."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Shape, kind: int = onnx.TensorProto.FLOAT) -> None:
        """Declare an output, which is `value`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def weight(self, name: str, array: ArrayLike) -> str:
        """Add a weight under its name."""
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def ints(self, *values: int) -> str:
        """Integers (int64) as a vector; the same ones are stored once."""
        return self.weight("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output, and return that. An optional input that is left out is ""."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: Iterable[str], outputs: int, **attributes: Any) -> list[str]:
        """Add an operator with several outputs, and return these."""
        name = f"{kind}_{len(self._nodes)}"
        names = [f"{name}_{i}" for i in range(outputs)] if outputs > 1 else [name]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name, **attributes))
        return names

    def transpose(self, x: str, *axes: int) -> str:
        """Reorder dimensions."""
        return self.op("Transpose", x, perm=axes)

    def size(self, x: str, axis: int) -> str:
        """The size (1,) of a dimension."""
        return self.op("Slice", self.op("Shape", x), self.ints(axis), self.ints(axis + 1))

    def slice(self, x: str, axis: int, begin: str, end: str) -> str:
        """The part of a dimension from `begin` (1,) to `end` (1,)."""
        return self.op("Slice", x, begin, end, self.ints(axis))

    def zeros(self, *sizes: str) -> str:
        """Zeros (float32); sizes: (1,) each."""
        return self.op("ConstantOfShape", self.op("Concat", *sizes, axis=0))

    def model(self, name: str, metadata: Mapping[str, str], version: str) -> onnx.ModelProto:
        """The checked model of the graph."""
        graph = helper.make_graph(self._nodes, name, self.inputs, self.outputs, [*self._weights.values()])
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="ds2cli",
            producer_version=version,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model
