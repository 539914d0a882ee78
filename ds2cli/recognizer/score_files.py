"""Scores of the symbols that other programs have computed: files with one matrix per utterance.

Notation: T steps, V symbols.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs
from ds2cli.archive import list_matrices, read_matrix
from ds2cli.errors import BadUtterance, DataError
from ds2cli.io import read_lines
from ds2cli.text.tokens import Tokens

NORMALIZED = 0.01
"""How far the probabilities of a step may add up to something else than 1: those of float16 do."""

Reader = Callable[[str], NDArray[np.float32]]
"""Returns the scores (T, V) of an utterance by its id; BadUtterance if there are none, or none that can be read."""


def open_scores(path: str) -> Reader:
    """Open a .npz file with an array per utterance, a Kaldi archive (.ark) or a list of places in such (.scp).

    DataError if the file cannot be read or is none of these.
    """
    kinds = {".npz": _open_npz, ".ark": _open_ark, ".scp": _open_scp}
    try:
        inputs.require_file(path)
        return kinds[Path(path).suffix](path)
    except KeyError:
        raise DataError(f"{path}: expected a file of scores (.npz, .ark or .scp)") from None
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e


def _open_npz(path: str) -> Reader:
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not a .npz file (numpy.savez writes one)")
        # without pickle, which could run code
        arrays = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        raise DataError(f"{path}: not a .npz file: {str(e)[:100]}") from e
    names = {*arrays.files}

    def read(name: str) -> NDArray[np.float32]:
        if name not in names:
            raise _missing(path, name)
        try:
            scores = np.asarray(arrays[name])
            if scores.dtype.kind not in "fiu" or scores.ndim != 2:
                size = " x ".join(map(str, scores.shape)) or "one"
                raise BadUtterance("not-a-matrix", f"{path}: expected T x V numbers, found {size} of {scores.dtype}")
            # what float32 cannot hold becomes infinite, and is refused later
            with np.errstate(over="ignore"):
                return scores.astype(np.float32)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as e:
            raise BadUtterance("not-a-matrix", f"{path}: {name}: {str(e)[:100]}") from e

    return read


def _open_ark(path: str) -> Reader:
    try:
        places = dict(list_matrices(path))
    except BadUtterance as e:
        raise DataError(f"{path}: not a binary Kaldi archive of matrices: {e.detail}") from e
    return _reader(path, places)


def _open_scp(path: str) -> Reader:
    places = {}
    for number, line in read_lines(path):
        name, _, place = line.strip().partition(" ")
        file, colon, byte = place.strip().rpartition(":")
        if not colon or not byte.isdecimal():
            raise DataError(f"{path}:{number}: expected ID PATH:BYTE, got {line.strip()[:60]!r}")
        if not os.path.exists(file):  # noqa: PTH110 - as of other paths in rows
            file = os.path.join(os.path.dirname(path), file)
        places[name] = f"{file}:{byte}"
    return _reader(path, places)


def _reader(path: str, places: dict[str, str]) -> Reader:
    def read(name: str) -> NDArray[np.float32]:
        if name not in places:
            raise _missing(path, name)
        return read_matrix(places[name], name)

    return read


def _missing(path: str, name: str) -> BadUtterance:
    return BadUtterance("no-scores", f"{path} has no scores of {name}")


def to_log_probs(scores: NDArray[np.float32], tokens: Tokens) -> NDArray[np.float32]:
    """The log-probabilities (T, V) of the symbols that are used, blank first.

    scores: (T, outputs) log-probabilities, probabilities, or logits, of which the log-softmax is taken.
    DataError if there are more or fewer outputs than symbols; BadUtterance "too-short" without steps.
    """
    if scores.ndim != 2 or scores.shape[1] != tokens.outputs:
        size = " x ".join(map(str, scores.shape))
        raise DataError(f"expected scores of {tokens.outputs} symbols per step, found {size} (is it another list?)")
    if not len(scores):
        raise BadUtterance("too-short", "the network has no step for it")
    # NaN and infinity are refused later
    with np.errstate(all="ignore"):
        highest = scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores - highest).sum(axis=1, keepdims=True)) + highest
        if not (np.abs(total) < NORMALIZED).all():
            is_probability = scores.min() >= 0 and (np.abs(scores.sum(axis=1) - 1) < NORMALIZED).all()
            scores = np.log(scores) if is_probability else scores - total
    return np.ascontiguousarray(scores[:, list(tokens.columns)], np.float32)
