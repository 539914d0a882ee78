"""Rows together with their emissions: read from an archive, or computed where a row has only features."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ds2cli.archive import read_matrix
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row
from ds2cli.search.emission import checked
from ds2cli.text.vocab import Vocab

if TYPE_CHECKING:
    from ds2cli.nn.checkpoint import Bundle

CHUNK = 64
"""Rows whose arrays are in memory at once."""

R = TypeVar("R")
FeaturesOf = Callable[[Row, "Network"], NDArray[np.float32]]


class Network:
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
            return Vocab.load(tokens) if tokens.is_file() else self.bundle.vocab
        except (DataError, OSError, SafetensorError, KeyError, TypeError, ValueError):
            # opening all of it says what is wrong
            return self.bundle.vocab

    @cached_property
    def bundle(self) -> Bundle:
        """The trained network; DataError when there is none."""
        from ds2cli.nn.checkpoint import load_model

        return load_model(self.exp)


def _stored_vocab(exp: str) -> Vocab:
    """The symbols in the head of a network's file: neither the weights nor torch are loaded."""
    path = Path(exp) if exp.endswith(".safetensors") else Path(exp) / "best.safetensors"
    with safe_open(path, "np") as f:
        return Vocab(tuple(json.loads(f.metadata()["ds2cli"])["symbols"]))


class Emitted(NamedTuple):
    """A row, its (T, V) float32 log-probabilities and the seconds from one step to the next."""

    row: Row
    log_probs: NDArray[np.float32]
    step_s: float


def stored_features(row: Row, network: Network) -> NDArray[np.float32]:
    """The features (T, F) that a row points at; BadUtterance when there are none or another network wants them."""
    if row.get("feats") is None:
        raise BadUtterance("no-feats", "it has neither `emission` nor `feats` (ds2 featurize)")
    features = read_matrix(row["feats"], row["id"])
    if not len(features):
        raise BadUtterance("too-short", "its features have no frame")
    if features.shape[1] != network.bundle.bins:
        raise BadUtterance(
            "wrong-features", f"{features.shape[1]} bins, the network was trained on {network.bundle.bins}"
        )
    return features


def emitted(
    rows: Iterable[Row],
    ledger: Ledger,
    network: Network,
    times: bool = True,
    features: FeaturesOf = stored_features,
) -> Iterator[list[Emitted]]:
    """Yield rows in order, some at a time, with their emissions; what has none that can be used is dropped.

    times: whether step_s is asked for; a row with an emission but without `step_s` then takes the network's.
    features: what gives the features of a row without an emission.
    """
    source = iter(rows)
    while chunk := list(islice(source, CHUNK)):
        found = {}
        missing = []
        for row in chunk:
            try:
                if row.get("emission") is not None:
                    found[row["id"]] = checked(read_matrix(row["emission"], row["id"]), network.vocab)
                else:
                    missing.append((row, features(row, network)))
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
        for row, log_probs in _computed(missing, network):
            try:
                found[row["id"]] = checked(log_probs, network.vocab)
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
        computed = {row["id"] for row, _ in missing}
        yield [
            Emitted(row, found[row["id"]], _step(row, network, times, row["id"] in computed))
            for row in chunk
            if row["id"] in found
        ]


def in_threads(work: Callable[[Emitted], R], items: Iterable[Emitted], ledger: Ledger, nj: int) -> Iterator[R]:
    """`work` on each item in `nj` threads, results in order; an utterance it calls bad is dropped."""

    def guarded(item: Emitted) -> R | BadUtterance:
        try:
            return work(item)
        except BadUtterance as e:
            return e

    with ThreadPoolExecutor(nj) as pool:
        items = list(items)
        for item, result in zip(items, pool.map(guarded, items), strict=True):
            if isinstance(result, BadUtterance):
                ledger.drop_error(item.row["id"], result)
            else:
                yield result


def _computed(
    missing: list[tuple[Row, NDArray[np.float32]]], network: Network
) -> Iterator[tuple[Row, NDArray[np.float32]]]:
    if not missing:
        return
    from ds2cli.nn.emit import emissions

    scores = emissions(network.bundle, [x for _, x in missing])
    yield from zip((row for row, _ in missing), scores, strict=True)


def _step(row: Row, network: Network, times: bool, computed: bool) -> float:
    if computed:
        return network.bundle.step_s
    if row.get("step_s"):
        return float(row["step_s"])
    return network.bundle.step_s if times else 0.0
