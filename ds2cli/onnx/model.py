"""A CTC network of any toolkit as an ONNX model: what it takes, what it returns, and how to compute it.

N samples of audio, T frames, F bins, T' output steps, V symbols. One utterance is computed at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ds2cli.cores import count_cores
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.onnx.safety import read_model

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

KINDS = ("samples", "frames", "bins")
"""What a network takes: samples (1, N), frames (1, T, F), or bins (1, F, T)."""

PROBES = (400, 1360)
"""Two lengths of an input (frames, or 10 ms of samples); their difference is a multiple of every usual step."""


class Input(NamedTuple):
    """An input of a network: dtype, and sizes of dimensions, None where they may be any."""

    name: str
    dtype: Any
    sizes: tuple[int | None, ...]


class CtcModel:
    """A CTC network."""

    def __init__(self, path: str, *, device: str = "auto", kind: str = "auto", output: str | None = None) -> None:
        """kind: one of KINDS, or auto. output: the name of the one with the scores, if several may be it.

        DataError if the file is none of a CTC network, UsageError if one of the arguments does not go with it.
        """
        self.path = path
        read_model(path)
        self._session = _open_session(path, device)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._find_inputs(kind)
        self._find_outputs(output)

    def _find_inputs(self, kind: str) -> None:
        inputs = self._session.get_inputs()
        if "states" in self.metadata:
            raise DataError(
                f"{self.path}: a model for streams: expected one for whole utterances (without --streaming)"
            )
        floats = [Input(i.name, FLOATS[i.type], _sizes(i.shape)) for i in inputs if i.type in FLOATS]
        if len(floats) != 1:
            listed = ", ".join(f"{i.name} {i.type}" for i in inputs) or "none"
            raise DataError(f"{self.path}: expected one input of numbers, besides lengths, found {listed}")
        self._input = floats[0]
        self.kind = self._choose_kind(kind)
        self._others = [
            Input(i.name, INTEGERS.get(i.type), _sizes(i.shape)) for i in inputs if i.name != floats[0].name
        ]
        for other in self._others:
            if other.dtype is None or len(other.sizes) not in ((1, 2) if self.kind == "samples" else (1,)):
                raise DataError(f"{self.path}: the input {other.name} is not known: expected lengths (integers)")
        sizes = self._input.sizes
        time = {"samples": len(sizes) - 1, "frames": 1, "bins": 2}[self.kind]
        if sizes[0] not in (None, 1) or sizes[time] is not None:
            raise DataError(f"{self.path}: its input has a fixed size, {_describe(sizes)}: expected any length")
        self.bins: int | None = None if self.kind == "samples" else sizes[3 - time]

    def _choose_kind(self, kind: str) -> str:
        sizes = self._input.sizes
        if len(sizes) == 2 or (len(sizes) == 3 and sizes[1] == 1):
            found = "samples"
        elif len(sizes) != 3:
            raise DataError(f"{self.path}: its input is {_describe(sizes)}: expected samples or features of utterances")
        elif (sizes[1] is None) == (sizes[2] is None):
            if kind not in ("frames", "bins"):
                raise UsageError(
                    f"{self.path}: its input is {_describe(sizes)}: "
                    "expected --onnx-input frames (1, T, F) or bins (1, F, T)"
                )
            return kind
        else:
            found = "frames" if sizes[1] is None else "bins"
        if kind not in ("auto", found):
            raise UsageError(f"--onnx-input {kind}: the input of {self.path} is {found}, {_describe(sizes)}")
        return found

    def _find_outputs(self, name: str | None) -> None:
        outputs = self._session.get_outputs()
        scores = [o for o in outputs if o.type in FLOATS and len(o.shape) in (2, 3)]
        if name is not None:
            if name not in [o.name for o in outputs]:
                raise UsageError(f"--onnx-output {name}: {self.path} has {', '.join(o.name for o in outputs)}")
            scores = [o for o in scores if o.name == name]
        if len(scores) > 1:
            named = [
                o for o in scores if any(word in o.name.lower() for word in ("logit", "log_prob", "logprob", "ctc"))
            ]
            scores = named if len(named) == 1 else scores
        if len(scores) != 1:
            listed = ", ".join(f"{o.name} {_describe(_sizes(o.shape))}" for o in outputs)
            raise UsageError(f"{self.path}: expected one output of scores, found {listed} (choose with --onnx-output)")
        lengths = [o for o in outputs if o.type in INTEGERS and len(o.shape) == 1]
        self._outputs = [scores[0].name, *(o.name for o in lengths[:1])]
        size = scores[0].shape[-1]
        self.symbols: int | None = size if isinstance(size, int) and size > 0 else None

    def compute(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (T', V) of an utterance as the network has them.

        x: (N,) samples, or (T, F) features. BadUtterance "model-error" if the network does not take it.
        """
        sizes, length = self._input.sizes, len(x)
        value = x.T if self.kind == "bins" else x
        values: dict[str, Any] = {self._input.name: value.reshape((1,) * (len(sizes) - x.ndim) + value.shape)}
        values[self._input.name] = np.ascontiguousarray(values[self._input.name], self._input.dtype)
        for other in self._others:
            # lengths, or the mask of samples that are no padding
            full = np.full(1, length) if len(other.sizes) == 1 else np.ones((1, length))
            values[other.name] = full.astype(other.dtype)
        try:
            scores, *lengths = self._session.run(self._outputs, values)
        except Exception as e:
            # onnxruntime has no class of its own errors that is public
            if isinstance(e, MemoryError) or "bad_alloc" in str(e) or "Failed to allocate" in str(e):
                raise MemoryError(str(e)[:200]) from e
            raise BadUtterance("model-error", " ".join(str(e).split())[:200]) from e
        found = np.asarray(scores)
        if found.ndim == 3:
            found = found[0] if found.shape[0] == 1 else found[:, 0] if found.shape[1] == 1 else found[:0, 0]
        if lengths and 0 <= (count := int(np.asarray(lengths[0]).reshape(-1)[0])) < len(found):
            found = found[:count]
        return found.astype(np.float32, copy=False)

    def input_per_step(self, rate: int) -> float:
        """Frames, or samples at `rate` Hz, per output step, from the results for inputs of two lengths.

        DataError if the number of steps does not grow with the input.
        """
        unit = 1 if self.kind != "samples" else rate // 100
        rng, counts = np.random.default_rng(0), []
        for size in PROBES:
            shape = (size * unit,) if self.kind == "samples" else (size, self.bins or 80)
            try:
                counts.append(len(self.compute(0.01 * rng.standard_normal(shape, np.float32))))
            except BadUtterance as e:
                raise DataError(f"{self.path}: cannot compute noise: {e.detail} (--step-ms gives the step)") from e
        if counts[1] <= counts[0]:
            raise DataError(
                f"{self.path}: {counts[0]} steps of a short input, {counts[1]} of a long one (give --step-ms)"
            )
        exact = (PROBES[1] - PROBES[0]) * unit / (counts[1] - counts[0])
        return round(exact) if abs(exact - round(exact)) < 0.02 * exact else exact


def _open_session(path: str, device: str) -> Any:
    available = onnxruntime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise UsageError("--device cuda: this onnxruntime has no CUDA (pip install onnxruntime-gpu)")
    wanted = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() and int(threads) else count_cores()
    # threads that wait for work would keep the cores from others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # without a second try, which would be reported on standard output
        providers = [name for name in wanted if name in available]
        return onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as e:
        # onnxruntime has no class of its own errors that is public
        raise DataError(f"{path}: onnxruntime cannot open it: {' '.join(str(e).split())[:200]}") from e


def _sizes(shape: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _describe(sizes: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in sizes)})"


def is_ours(metadata: dict[str, str]) -> bool:
    """Whether a model is one that ds2 has exported."""
    return metadata.get("model_type") == "ds2cli_ctc"


def step_in(model: CtcModel) -> float | None:
    """The duration of a step (s) of a model that ds2 has exported, else None; DataError if it is damaged."""
    if not is_ours(model.metadata):
        return None
    stated = model.metadata.get("step_ms", "")
    try:
        step_s = float(stated) / 1000
    except ValueError:
        step_s = 0.0
    if not 0 < step_s < 100:
        raise DataError(f"{model.path}: its metadata state steps of {stated[:20]!r} ms (--step-ms gives the step)")
    return step_s


def features_in(model: CtcModel) -> dict[str, Any] | None:
    """The settings of the features of a model that ds2 has exported; None of others, or if they are damaged."""
    try:
        found = json.loads(model.metadata["features"]) if is_ours(model.metadata) else None
    except (KeyError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def tokens_in(model: CtcModel) -> bytes | None:
    """The content of the tokens.txt of a model that ds2 has exported, else None."""
    return f"{model.metadata['tokens']}\n".encode() if is_ours(model.metadata) and "tokens" in model.metadata else None
