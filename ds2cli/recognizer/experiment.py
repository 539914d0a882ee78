"""An experiment folder, opened as far as it is needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ds2cli import memory
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
