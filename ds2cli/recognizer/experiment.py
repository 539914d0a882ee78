"""An experiment folder, opened for use: its symbols at once, its network when somebody asks for it."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from ds2cli.errors import DataError
from ds2cli.text.vocab import Vocab

if TYPE_CHECKING:
    from ds2cli.nn.checkpoint import TrainedModel


class Experiment:
    """An experiment folder, opened as far as it is needed: rows with emissions ask only for its symbols."""

    def __init__(self, exp: str) -> None:
        self.exp = exp

    @cached_property
    def vocab(self) -> Vocab:
        """The output symbols, those of the weights where there are weights."""
        tokens = Path(self.exp) / "tokens.txt"
        try:
            return _stored_vocab(self.exp)
        except FileNotFoundError:
            return Vocab.load(tokens) if tokens.is_file() else self.trained.vocab
        except (DataError, OSError, SafetensorError, KeyError, TypeError, ValueError):
            # opening all of it says what is wrong
            return self.trained.vocab

    @cached_property
    def trained(self) -> TrainedModel:
        """The trained network; DataError when there is none."""
        from ds2cli.nn.checkpoint import load_model

        return load_model(self.exp)


def _stored_vocab(exp: str) -> Vocab:
    """The symbols in the head of a network's file: neither the weights nor torch are loaded."""
    path = Path(exp) if exp.endswith(".safetensors") else Path(exp) / "best.safetensors"
    with safe_open(path, "np") as f:
        return Vocab.from_json(json.loads(f.metadata()["ds2cli"]))
