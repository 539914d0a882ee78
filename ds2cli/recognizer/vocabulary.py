"""Open the vocabulary of a trained network, without loading torch or the weights."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ds2cli import inputs
from ds2cli.errors import DataError
from ds2cli.experiment_files import ExperimentFiles, is_bundle, open_files
from ds2cli.text.tokens import load_plain_vocab
from ds2cli.text.vocab import PIECES, TOKENS, Vocab

WEIGHTS = "best.safetensors"


def open_vocab(source: str) -> Vocab:
    """The output symbols of an experiment folder, a bundle, a .safetensors file or a list such as tokens.txt.

    The weights of an experiment take precedence over its tokens.txt, which training replaces first when it starts over.
    DataError if there is neither, or the file is not a network or a list of symbols.
    """
    if is_bundle(source):
        return read_tokens(open_files(source))
    path = Path(source)
    if path.suffix != ".safetensors" and (
        path.is_file() or inputs.is_stream(path) or (path.suffix == ".txt" and not path.is_dir())
    ):
        return load_plain_vocab(path)
    try:
        return _read_metadata(path if path.suffix == ".safetensors" else path / WEIGHTS)
    except FileNotFoundError:
        if (path / TOKENS).is_file():
            return load_plain_vocab(path / TOKENS)
    except (DataError, OSError, SafetensorError, KeyError, TypeError, ValueError):
        pass
    from ds2cli.nn.checkpoint import load_model

    # loading the network reports exactly what is wrong with it
    return load_model(source).vocab


def read_tokens(files: ExperimentFiles) -> Vocab:
    """The output symbols in the tokens.txt of a bundle. `check_bundle` compares them with the network's."""
    data = files.read(TOKENS)
    assert data is not None
    return Vocab.parse(data, files.read(PIECES) or b"", files.where(TOKENS))


def _read_metadata(path: Path) -> Vocab:
    with safe_open(path, "np") as f:
        return Vocab.from_json(json.loads(f.metadata()["ds2cli"]))
