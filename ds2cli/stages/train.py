"""Train a network in an experiment folder, and go on where an earlier run of the same command ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import read_matrix
from ds2cli.config.base import as_dict
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.feats import cmvn
from ds2cli.io import open_out_bytes
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.manifest import Row
from ds2cli.nn.batches import Utterance, fingerprint
from ds2cli.nn.checkpoint import LAST, LOG, load_state
from ds2cli.nn.fit import Trainer, follow
from ds2cli.nn.job import Job, Step
from ds2cli.nn.workers import start
from ds2cli.text.vocab import Vocab

TOKENS = "tokens.txt"
SAMPLE = 2000
"""Utterances whose features give the mean and deviation of each bin when no statistics are given."""

MAY_CHANGE = ("epochs", "minutes", "nproc", "ctc", "save_minutes", "fresh", "max_bad", "dropped")
"""Settings that a run may go on with although they differ."""


def prepare(
    config: TrainConfig,
    rows: Iterable[Row],
    dev: Iterable[Row],
    exp: str,
    features: dict[str, Any],
    ledger: Ledger,
    stats: str | None = None,
) -> Job:
    """Read what is needed from the rows; drop those that cannot be learned from or tested on, with a reason.

    exp: a checkpoint there has decided on the symbols and statistics. features: the settings that `rows` were
    featurized with. stats: a file of Kaldi's CMVN statistics, else they are taken from the rows.
    DataError when nothing is left to train on, or sizes do not fit.
    """
    rows = list(rows)
    known = Path(exp) / TOKENS
    going_on = (Path(exp) / LAST).is_file() and known.is_file() and not config.fresh
    vocab = Vocab.load(known) if going_on else Vocab.from_texts((row["text"] for row in rows), config.units)
    train = []
    for row in rows:
        try:
            train.append(_utterance(row, vocab, config))
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
    ledger.kept += len(train)
    if not train:
        first = f", the first: {ledger.rows[0]['detail']}" if ledger.rows else ""
        raise DataError(f"train: no utterance can be used, {ledger.summary()}{first}")
    if going_on:
        mean, std = _known_statistics(exp)
    else:
        mean, std = cmvn.mean_std(_read_stats(stats) if stats else _statistics(train))
    bins = read_matrix(train[0].feats).shape[1]
    if bins != len(mean):
        raise DataError(f"train: training features have {bins} bins, the statistics have {len(mean)}")
    held_out = list(_held_out(dev, bins, ledger))
    return Job(config, vocab, features, train, held_out, mean, std, read_matrix)


def run(job: Job, exp: str, stopped: Callable[[], bool] = lambda: False) -> Iterator[Step | Row]:
    """Train; the iterator gives every step and a row for every epoch, which EXP/train.jsonl has too.

    stopped: asked after each step; when true the run writes last.pt and ends.
    UsageError, at once, when EXP was trained with other settings, on other features or on other utterances.
    """
    folder = Path(exp)
    state = None if job.config.fresh else load_state(folder)
    _check_same(state, job, exp)
    job.vocab.save(folder / TOKENS)
    return _events(job, folder, state, stopped)


def _events(job: Job, folder: Path, state: dict[str, Any] | None, stopped: Callable[[], bool]) -> Iterator[Step | Row]:
    group = start(job.config.nproc, follow, (job, None if state is None else str(folder)))

    def store(name: str, data: bytes) -> None:
        with open_out_bytes(str(folder / name)) as f:
            f.write(data)

    try:
        yield from Trainer(job, group, state, _kept_rows(folder / LOG, state)).run(store, stopped)
    finally:
        group.close()


def _utterance(row: Row, vocab: Vocab, config: TrainConfig) -> Utterance:
    """BadUtterance "no-text", "unspellable", "label-too-long" or what reading its features says."""
    if not row["text"].strip():
        raise BadUtterance("no-text", "the text is empty")
    labels = np.array(vocab.encode(row["text"]), np.int32)
    frames = len(read_matrix(row["feats"], row["id"]))
    stride = int(np.prod(config.model.strides[: len(config.model.channels)]))
    steps, needed = -(-frames // stride), steps_needed(labels)
    if needed > steps:
        raise BadUtterance(
            "label-too-long", f"{len(labels)} labels need {needed} steps, {frames} frames give {steps} (model.strides)"
        )
    return Utterance(row["id"], row["feats"], frames, labels, row["text"], (needed - 1) * stride + 1)


def _held_out(rows: Iterable[Row], bins: int, ledger: Ledger) -> Iterator[Utterance]:
    """The rows that can be tested on; DataError when there are rows and not one of them can."""
    kept, last = 0, None
    for row in rows:
        try:
            x = read_matrix(row["feats"], row["id"])
            if x.shape[1] != bins:
                raise BadUtterance("wrong-features", f"{x.shape[1]} bins, those of the training rows have {bins}")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            last = e
            continue
        kept += 1
        yield Utterance(row["id"], row["feats"], len(x), np.zeros(0, np.int32), row["text"])
    ledger.kept += kept
    if last is not None and not kept:
        raise DataError(f"train: no dev utterance can be used: {last.detail}")


def _statistics(train: list[Utterance]) -> NDArray[np.float64]:
    """CMVN statistics of at most SAMPLE utterances, evenly spread."""
    chosen = train[:: -(-len(train) // SAMPLE)]
    stats = cmvn.empty(read_matrix(chosen[0].feats).shape[1])
    for utterance in chosen:
        cmvn.accumulate(stats, read_matrix(utterance.feats))
    return stats


def _known_statistics(exp: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (F,) that the checkpoint's network normalises with."""
    try:
        model = (load_state(exp) or {})["model"]
        return model["mean"].numpy(), model["std"].numpy()
    except (AttributeError, KeyError, TypeError) as e:
        raise DataError(f"{exp}/{LAST}: not a checkpoint of ds2 train (remove it, or give --fresh)") from e


def _read_stats(path: str) -> NDArray[np.float64]:
    """The one matrix of a Kaldi archive, or a bare Kaldi matrix."""
    try:
        with Path(path).open("rb") as f:
            at = f.read(256).find(b"\0B")
        stats = read_matrix(f"{path}:{max(at, 0)}").astype(np.float64)
    except OSError as e:
        raise DataError(f"{path}: {(e.strerror or 'cannot be read').lower()}") from e
    except BadUtterance as e:
        raise DataError(f"{path}: no CMVN statistics: {e.detail}") from e
    if len(stats) != 2:
        raise DataError(f"{path}: expected statistics (2, bins + 1), got {stats.shape} (ds2 featurize writes them)")
    return stats


def _check_same(state: dict[str, Any] | None, job: Job, exp: str) -> None:
    if state is None:
        return
    now = _flat(as_dict(job.config))
    # a setting that an older version did not have was as its default is
    before = {**_flat(as_dict(TrainConfig())), **_flat(state["config"])}
    changed = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name.split(".")[0] not in MAY_CHANGE
    ]
    if changed:
        raise UsageError(f"{exp}: was trained with other settings: {'; '.join(changed)} (another folder, or --fresh)")
    made = state.get("features", job.features)
    changed = [
        f"{name} was {made.get(name)}, is {job.features.get(name)}"
        for name in sorted({*made, *job.features})
        if made.get(name) != job.features.get(name)
    ]
    if changed:
        raise UsageError(f"{exp}: was trained on other features: {'; '.join(changed)} (another folder, or --fresh)")
    if state["train"] != fingerprint(job.train):
        raise UsageError(f"{exp}: was trained on other utterances (another folder, or --fresh)")
    if state.get("dev", fingerprint(job.dev)) != fingerprint(job.dev):
        raise UsageError(f"{exp}: was tested on another dev set (give the same --dev, another folder, or --fresh)")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return out


def _kept_rows(path: Path, state: dict[str, Any] | None) -> list[Row]:
    """The rows of the epochs that the checkpoint has behind it; a row beyond them will come again."""
    if state is None or not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [row for row in rows if row["epoch"] <= state["at"]["epoch"]]
