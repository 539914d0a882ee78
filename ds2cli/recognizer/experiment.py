"""An experiment folder, opened as far as it is needed. Notation: T frames, F bins, T' output steps, V symbols."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.experiment_files import is_bundle, open_files
from ds2cli.recognizer.bundle import check_bundle
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.runtime.emit import compute_emissions as compute_in_runtime
from ds2cli.runtime.file import NetworkFile, explaining, read_network
from ds2cli.runtime.matrix import Weights
from ds2cli.runtime.network import RuntimeNetwork
from ds2cli.text.vocab import Vocab

if TYPE_CHECKING:
    import torch

    from ds2cli.nn.checkpoint import TrainedModel

LONG_S = 120.0
"""Recordings of more than this are computed in chunks: no network was trained on utterances of this length."""


def has_nvidia_driver() -> bool:
    """Whether torch might find a CUDA device, without loading it."""
    return os.name == "nt" or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


class Experiment:
    """An experiment folder or .safetensors file; the network is loaded only when it is used.

    Rows that have emissions need nothing but the vocabulary. The network is computed by torch, or, on a CPU, by
    `ds2cli.runtime`, which needs no torch.
    """

    def __init__(self, path: str, *, device: str = "cpu", precision: str = "stored", avoid_torch: bool = False) -> None:
        """device, precision: of the network, as in `InferenceConfig`; UsageError if it cannot be used here.

        avoid_torch: do not use torch where it is not needed: it takes seconds to load, and its batches are faster only
        for many recordings.
        """
        self.path, self.device, self.precision, self.avoid_torch = path, device, precision, avoid_torch
        if device == "cuda" or precision == "float16" or (precision == "bfloat16" and not avoid_torch):
            # an error now, and not after the first rows
            self._select()

    def _select(self) -> tuple[torch.device, torch.dtype]:
        with memory.required("torch", "close other programs, or lower OMP_NUM_THREADS"):
            from ds2cli.nn.device import select_device, select_precision

        device = select_device(self.device)
        return device, select_precision(self.precision, device)

    @cached_property
    def vocab(self) -> Vocab:
        """The output symbols; DataError if there are none."""
        return open_vocab(self.path)

    @cached_property
    def network(self) -> NetworkFile:
        """Weights and settings of the network, without torch; DataError if there is none, Ds2Error as of `trained`."""
        with memory.required(f"{self.path}: the network", "close other programs"):
            return read_network(self.path)

    @cached_property
    def trained(self) -> TrainedModel:
        """The network in torch; DataError if there is none, Ds2Error if it does not fit in memory."""
        with memory.required(
            f"{self.path}: the network, with torch,", "close other programs, or lower OMP_NUM_THREADS"
        ):
            from ds2cli.nn.checkpoint import make_model

            trained = make_model(self.network)
            device, trained.precision = self._select()
            trained.model.to(device)
            from ds2cli.nn.infer import compute_emissions

            self._check_bundle(partial(compute_emissions, trained), is_float32=device.type == "cpu")
            return trained

    @cached_property
    def runtime(self) -> RuntimeNetwork | None:
        """The network without torch; None where torch is used. UsageError for int8 where it cannot be used."""
        config = self.network.config
        is_int8 = self.precision == "int8" or (self.precision == "stored" and self.network.weights == "int8")
        wanted = is_int8 or (self.avoid_torch and self.precision != "float16")
        can = isinstance(config, ModelConfig) and not self._uses_gpu
        if not (wanted and can):
            if self.precision == "int8":
                reason = "a CPU (use --device cpu)" if self._uses_gpu else "a network of the kind ds2"
                raise UsageError(f"--precision int8 needs {reason}")
            return None
        assert isinstance(config, ModelConfig)
        chosen: dict[str, Weights] = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8"}
        with memory.required(f"{self.path}: the network", "close other programs"), explaining(self.network.path):
            runtime = RuntimeNetwork(config, self.network.tensors, chosen.get(self.precision, self.network.weights))
            if runtime.symbols != len(self.network.vocab):
                raise ValueError(f"{runtime.symbols} outputs, but {len(self.network.vocab)} symbols")
        self._check_bundle(partial(compute_in_runtime, runtime))
        return runtime

    def _check_bundle(
        self,
        compute: Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32] | BadUtterance]],
        is_float32: bool = True,
    ) -> None:
        """DataError if the network of a bundle does not compute what it did when the bundle was made."""
        if not is_bundle(self.path):
            return

        def engine(features: NDArray[np.float32]) -> NDArray[np.float32]:
            (found,) = compute([features])
            if isinstance(found, BadUtterance):
                raise found
            return found

        is_float32 &= self.network.weights == "float32" and self.precision in ("stored", "float32", "auto")
        files = open_files(self.path)
        check_bundle(files, self.network.vocab, self.network.features, engine, is_rounded=not is_float32)

    @cached_property
    def _uses_gpu(self) -> bool:
        if self.device == "cpu" or (self.device == "auto" and not has_nvidia_driver()):
            return False
        return self._select()[0].type != "cpu"

    def compute_emissions(
        self, feats: Sequence[NDArray[np.float32]], check: Callable[[], None]
    ) -> list[NDArray[np.float32] | BadUtterance]:
        """Log-probabilities (T', V) of features (T, F), or the error that they do not fit in memory, in their order.

        Recordings of more than LONG_S are computed in chunks, so that memory does not grow with their square.
        check: called before each batch; may raise to stop.
        """
        longest = LONG_S * self.network.config.stride / self.network.step_s
        short = [x if len(x) <= longest else x[:0] for x in feats]
        if self.runtime is not None:
            found = compute_in_runtime(self.runtime, short, check)
        else:
            with memory.required("torch", "close other programs, or lower OMP_NUM_THREADS"):
                from ds2cli.nn.infer import compute_emissions

            found = compute_emissions(self.trained, short, check)
        for i, x in enumerate(feats):
            if len(x) > longest:
                found[i] = self._compute_long(x, check)
        return found

    def _compute_long(
        self, feats: NDArray[np.float32], check: Callable[[], None]
    ) -> NDArray[np.float32] | BadUtterance:
        from ds2cli.recognizer.chunks import emit_in_chunks

        def work() -> NDArray[np.float32]:
            return np.concatenate([*emit_in_chunks(self, [feats], check=check)])

        try:
            return memory.fit_utterance(work, f"the network over {len(feats)} frames", memory.SHORTER)
        except BadUtterance as e:
            return e
