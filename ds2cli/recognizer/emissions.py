"""Rows together with their emissions: read from an archive, or computed where a row has only features.

The network and whoever works on its emissions are busy at the same time, with a bounded number of utterances in memory.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import read_matrix
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.emission import checked

FIRST, CHUNK = 8, 64
"""Rows whose emissions are computed together: at first, and later on."""

FRAMES = 20000
"""Frames (steps, where there are no features) in such a chunk: 160 MB of emissions of 6,000 symbols at stride 3."""

AHEAD = 1
"""Chunks that the network may be ahead of the search."""

WAITING = 4
"""Utterances a thread that are still searched when the next chunk is asked for."""

T = TypeVar("T")
R = TypeVar("R")
FeatureSource = Callable[[Row, "Experiment"], NDArray[np.float32]]


class Emission(NamedTuple):
    """A row, its (T, V) float32 log-probabilities and the seconds from one step to the next."""

    row: Row
    log_probs: NDArray[np.float32]
    step_s: float


class Dropped(NamedTuple):
    """A row that has no emission, and why."""

    id: str
    error: BadUtterance


def read_features(row: Row, experiment: Experiment) -> NDArray[np.float32]:
    """The features (T, F) that a row points at; BadUtterance when there are none or another network wants them."""
    if row.get("feats") is None:
        raise BadUtterance("no-feats", "it has neither `emission` nor `feats` (ds2 featurize)")
    features = read_matrix(row["feats"], row["id"])
    if not len(features):
        raise BadUtterance("too-short", "its features have no frame")
    if features.shape[1] != experiment.trained.bins:
        raise BadUtterance(
            "wrong-features", f"{features.shape[1]} bins, the network was trained on {experiment.trained.bins}"
        )
    return features


def load_emissions(
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    times: bool = True,
    features: FeatureSource = read_features,
) -> Generator[list[Emission]]:
    """Yield rows in order, some at a time, with their emissions; what has none that can be used is dropped.

    The next ones are read and computed in a thread of their own while the caller works on those it was given. `rows` is
    read, and the ledger written, by the thread of the caller alone.

    times: whether step_s is asked for; a row with an emission but without `step_s` then takes the network's.
    features: what gives the features of a row without an emission.
    """

    stop = threading.Event()

    def emit(chunk: list[Row]) -> list[Emission | Dropped]:
        return _emit(chunk, experiment, times, features, stop)

    for some in _ahead(emit, _chunks(rows), stop):
        kept = []
        for item in some:
            if isinstance(item, Emission):
                kept.append(item)
            else:
                ledger.drop_error(item.id, item.error)
        yield kept


def map_emissions(
    work: Callable[[Emission], R], chunks: Generator[list[Emission]], ledger: Ledger, nj: int
) -> Generator[R]:
    """`work` on each item of each chunk in `nj` threads, results in order; an utterance it calls bad is dropped.

    The threads go on with the last items of a chunk while the next one is waited for.
    """
    waiting: deque[tuple[Emission, Future[R]]] = deque()

    def finished(count: int) -> Iterator[R]:
        for _ in range(count):
            item, result = waiting.popleft()
            try:
                yield result.result()
            except BadUtterance as e:
                ledger.drop_error(item.row["id"], e)

    pool = ThreadPoolExecutor(nj, "search")
    try:
        with contextlib.closing(chunks):
            for items in chunks:
                waiting.extend((item, pool.submit(work, item)) for item in items)
                yield from finished(len(waiting) - WAITING * nj)
            yield from finished(len(waiting))
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows some at a time: few at first, so that the first result comes soon."""
    size, frames = FIRST, 0
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        frames += row.get("num_frames") or row.get("num_steps") or 0
        if len(chunk) == size or frames >= FRAMES:
            yield chunk
            size, frames, chunk = min(CHUNK, 2 * size), 0, []
    if chunk:
        yield chunk


def _ahead(work: Callable[[T], R], items: Iterable[T], stop: threading.Event) -> Iterator[R]:
    """`work` on each item, in order, AHEAD of whoever takes the results; what it raises is raised here.

    stop: set when nobody takes results any more.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(1, "network")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _emit(
    chunk: list[Row], experiment: Experiment, times: bool, features: FeatureSource, stop: threading.Event
) -> list[Emission | Dropped]:
    """The rows of a chunk with their emissions, or the reasons why they have none."""

    def check() -> None:
        if stop.is_set():
            raise CancelledError

    found: list[Emission | Dropped | None] = [None] * len(chunk)
    missing = []
    for i, row in enumerate(chunk):
        check()
        try:
            if row.get("emission") is not None:
                log_probs = checked(read_matrix(row["emission"], row["id"]), experiment.vocab)
                found[i] = Emission(row, log_probs, _step(row, experiment, times))
            else:
                missing.append((i, features(row, experiment)))
        except BadUtterance as e:
            found[i] = Dropped(row["id"], e)
    for i, log_probs in _computed(missing, experiment, check):
        try:
            found[i] = Emission(chunk[i], checked(log_probs, experiment.vocab), experiment.trained.step_s)
        except BadUtterance as e:
            found[i] = Dropped(chunk[i]["id"], e)
    return [item for item in found if item is not None]


def _computed(
    missing: list[tuple[int, NDArray[np.float32]]], experiment: Experiment, check: Callable[[], None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    if not missing:
        return
    from ds2cli.nn.infer import emissions

    scores = emissions(experiment.trained, [x for _, x in missing], check)
    yield from zip((i for i, _ in missing), scores, strict=True)


def _step(row: Row, experiment: Experiment, times: bool) -> float:
    if row.get("step_s"):
        return float(row["step_s"])
    return experiment.trained.step_s if times else 0.0
