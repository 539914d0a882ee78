"""An experiment folder, opened as far as it is needed. Notation: T frames, F bins, T' output steps, V symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.errors import BadUtterance
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.text.vocab import Vocab

if TYPE_CHECKING:
    import torch

    from ds2cli.nn.checkpoint import TrainedModel

LONG_S = 120.0
"""Recordings of more than this are computed in chunks: no network was trained on utterances of this length."""


class Experiment:
    """An experiment folder or .safetensors file; the network is loaded only when it is used.

    Rows that have emissions need nothing but the vocabulary.
    """

    def __init__(self, path: str, *, device: str = "cpu", precision: str = "float32") -> None:
        """device, precision: of the network, as in `InferenceConfig`; UsageError if it cannot be used here."""
        self.path, self.device, self.precision = path, device, precision
        if device == "cuda" or precision not in ("float32", "auto"):
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
    def trained(self) -> TrainedModel:
        """The trained network; DataError if there is none, Ds2Error if it does not fit in memory."""
        with memory.required(
            f"{self.path}: the network, with torch,", "close other programs, or lower OMP_NUM_THREADS"
        ):
            from ds2cli.nn.checkpoint import load_model

            trained = load_model(self.path)
            device, trained.precision = self._select()
            trained.model.to(device)
            return trained

    def compute_emissions(
        self, feats: Sequence[NDArray[np.float32]], check: Callable[[], None]
    ) -> list[NDArray[np.float32] | BadUtterance]:
        """Log-probabilities (T', V) of features (T, F), or the error that they do not fit in memory, in their order.

        Recordings of more than LONG_S are computed in chunks, so that memory does not grow with their square.
        check: called before each batch; may raise to stop.
        """
        with memory.required("torch", "close other programs, or lower OMP_NUM_THREADS"):
            from ds2cli.nn.infer import compute_emissions

        trained = self.trained
        longest = LONG_S * trained.model.stride / trained.step_s
        found = compute_emissions(trained, [x if len(x) <= longest else x[:0] for x in feats], check)
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
