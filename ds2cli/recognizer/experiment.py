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
    from ds2cli.nn.checkpoint import TrainedModel


class Experiment:
    """An experiment folder or .safetensors file; the network is loaded only when it is used.

    Rows that have emissions need nothing but the vocabulary.
    """

    def __init__(self, path: str) -> None:
        self.path = path

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

            return load_model(self.path)

    def compute_emissions(
        self, feats: Sequence[NDArray[np.float32]], check: Callable[[], None]
    ) -> list[NDArray[np.float32] | BadUtterance]:
        """Log-probabilities (T', V) of features (T, F), or the error that they do not fit in memory, in their order.

        check: called before each batch; may raise to stop.
        """
        with memory.required("torch", "close other programs, or lower OMP_NUM_THREADS"):
            from ds2cli.nn.infer import compute_emissions

        return compute_emissions(self.trained, feats, check)
