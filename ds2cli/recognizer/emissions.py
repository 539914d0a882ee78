"""Rows with their emissions: read from an archive, or computed from features by the network and then archived.

The network runs in its own thread while other threads process the emissions it has computed; the number of
utterances in memory is bounded. Notation: T steps of the network's output, F feature bins, V symbols.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.archive import archive_stem, read_matrix
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.emission import check_emission

FIRST_CHUNK, CHUNK = 8, 64
"""Rows per chunk: of the first one, and at most. Chunks double in size, so that the first result comes soon."""

CHUNK_FRAMES = 20000
"""A chunk ends at this many frames (steps, for rows without features): 160 MB of emissions with 6,000 symbols and
stride 3. Features are computed and freed at this many frames, even if their number was not known before."""

CHUNKS_AHEAD = 1
"""Chunks that the network may be ahead of the search."""

PENDING_PER_THREAD = 4
"""Utterances per thread that may still be waiting when the next chunk is requested."""

T = TypeVar("T")
R = TypeVar("R")
FeatureReader = Callable[[Row, Experiment], NDArray[np.float32]]


class Emission(NamedTuple):
    """A row, its log-probabilities (T, V) float32, and the duration of a step in seconds."""

    row: Row
    log_probs: NDArray[np.float32]
    step_s: float


Chunks = Generator[list[Emission]]


class Dropped(NamedTuple):
    """The id of a row without a usable emission, and the reason."""

    id: str
    error: BadUtterance


def read_features(row: Row, experiment: Experiment) -> NDArray[np.float32]:
    """Read the features (T, F) of a row; BadUtterance if it has none or they do not fit the network."""
    if row.get("feats") is None:
        raise BadUtterance("no-feats", "the row has neither `emission` nor `feats` (ds2 featurize)")
    features = read_matrix(row["feats"], row["id"])
    if not len(features):
        raise BadUtterance("too-short", "the features have no frames")
    if features.shape[1] != experiment.network.bins:
        raise BadUtterance(
            "wrong-features", f"{features.shape[1]} bins, the network was trained on {experiment.network.bins}"
        )
    return features


def load_emissions(
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    needs_step_s: bool = True,
    features: FeatureReader = read_features,
) -> Generator[list[Emission]]:
    """Yield the rows with their emissions, in order and in chunks; rows without a usable emission are dropped.

    The next chunk is read and computed in a background thread while the caller processes this one. `rows` is read and
    `ledger` is written only in the caller's thread.

    needs_step_s: whether `Emission.step_s` is used; if so, rows without `step_s` take the network's.
    features: reads the features of a row without an emission.
    """
    return load_chunks(split_chunks(rows), ledger, experiment, needs_step_s, features)


def load_chunks(
    chunks: Iterable[list[Row]],
    ledger: Ledger,
    experiment: Experiment,
    needs_step_s: bool = True,
    features: FeatureReader = read_features,
) -> Generator[list[Emission]]:
    """The same of rows that have been divided into chunks, on which emissions depend in the last bits."""
    stop = threading.Event()

    def emit(chunk: list[Row]) -> list[Emission | Dropped]:
        return _emit_chunk(chunk, experiment, needs_step_s, features, stop)

    for items in _prefetch(emit, chunks, stop):
        kept = []
        for item in items:
            if isinstance(item, Emission):
                kept.append(item)
            else:
                ledger.drop_error(item.id, item.error)
        yield kept


def map_emissions(
    work: Callable[[Emission], R],
    chunks: Generator[list[Emission]],
    ledger: Ledger,
    nj: int,
    name: str = "the search",
    stop: threading.Event | None = None,
) -> Generator[R]:
    """Yield `work(item)` for each item of each chunk, in order, computed by `nj` threads.

    The threads continue with the end of a chunk while the next one is awaited. An item for which `work` raises
    BadUtterance, or which does not fit in memory, is dropped. `work` may be repeated: see `memory.try_to_fit`.
    name: what the work is, for the message.  stop: set when no more results are wanted, also in the middle of work.
    """

    def fit(item: Emission) -> R:
        what = f"{name} over {len(item.log_probs)} steps"
        return memory.fit_utterance(partial(work, item), what, memory.SHORTER)

    pending: deque[tuple[Emission, Future[R]]] = deque()

    def results(count: int) -> Iterator[R]:
        for _ in range(count):
            item, future = pending.popleft()
            try:
                yield future.result()
            except BadUtterance as e:
                ledger.drop_error(item.row["id"], e)

    pool = ThreadPoolExecutor(nj, "search")
    try:
        with contextlib.closing(chunks):
            for items in chunks:
                pending.extend((item, pool.submit(fit, item)) for item in items)
                yield from results(len(pending) - PENDING_PER_THREAD * nj)
            yield from results(len(pending))
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(cancel_futures=True)


def archive_path(folder: str | None, out: str) -> str:
    """The path of the archive for the emissions of OUT: in `folder`, by default emissions/ next to OUT.

    UsageError if OUT is a pipe and `folder` is None.
    """
    return f"{archive_stem('emit', folder, out, 'emissions')}.ark"


def split_chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Divide rows into chunks, which depend on nothing but the rows before and their numbers of frames."""
    size, frames = FIRST_CHUNK, 0
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        frames += row.get("num_frames") or row.get("num_steps") or 0
        if len(chunk) == size or frames >= CHUNK_FRAMES:
            yield chunk
            size, frames, chunk = min(CHUNK, 2 * size), 0, []
    if chunk:
        yield chunk


def _prefetch(work: Callable[[T], R], items: Iterable[T], stop: threading.Event) -> Iterator[R]:
    """Yield `work(item)` for each item, in order, computed up to CHUNKS_AHEAD items ahead in one background thread.

    An exception in `work` is raised here.  stop: set when the consumer has finished or failed.
    """
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(1, "network")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > CHUNKS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _emit_chunk(
    chunk: list[Row], experiment: Experiment, needs_step_s: bool, features: FeatureReader, stop: threading.Event
) -> list[Emission | Dropped]:
    def check_stop() -> None:
        if stop.is_set():
            raise CancelledError

    results: list[Emission | Dropped | None] = [None] * len(chunk)
    # the features of rows whose emissions are to be computed, by their place in the chunk
    missing: dict[int, NDArray[np.float32]] = {}
    for i, row in enumerate(chunk):
        check_stop()
        try:
            if row.get("emission") is not None:
                read = partial(_read_emission, row, experiment, needs_step_s)
                results[i] = memory.fit_utterance(read, "the emission", memory.SHORTER)
            else:
                read_row = partial(features, row, experiment)
                missing[i] = memory.fit_utterance(read_row, "the recording with its features", memory.SHORTER)
        except BadUtterance as e:
            results[i] = Dropped(row["id"], e)
        if i == len(chunk) - 1 or sum(map(len, missing.values())) >= CHUNK_FRAMES:
            for place, result in _compute(missing, chunk, experiment, check_stop):
                results[place] = result
            missing.clear()
    return [item for item in results if item is not None]


def _read_emission(row: Row, experiment: Experiment, needs_step_s: bool) -> Emission:
    log_probs = check_emission(read_matrix(row["emission"], row["id"]), experiment.vocab)
    return Emission(row, log_probs, _step_seconds(row, experiment, needs_step_s))


def _compute(
    missing: dict[int, NDArray[np.float32]], chunk: list[Row], experiment: Experiment, check_stop: Callable[[], None]
) -> Iterator[tuple[int, Emission | Dropped]]:
    if not missing:
        return
    for i, computed in zip(missing, experiment.compute_emissions([*missing.values()], check_stop), strict=True):
        try:
            if isinstance(computed, BadUtterance):
                raise computed
            check = partial(check_emission, computed, experiment.vocab)
            log_probs = memory.fit_utterance(check, "the emission", memory.SHORTER)
            yield i, Emission(chunk[i], log_probs, experiment.network.step_s)
        except BadUtterance as e:
            yield i, Dropped(chunk[i]["id"], e)


def _step_seconds(row: Row, experiment: Experiment, needed: bool) -> float:
    if row.get("step_s"):
        return float(row["step_s"])
    return experiment.network.step_s if needed else 0.0
