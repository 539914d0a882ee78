"""What a network is trained on, from rows: utterances with labels, symbols, statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import matrix_shape, read_matrix
from ds2cli.audio.recording import recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.base import build
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.feats import cmvn
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.manifest import Row
from ds2cli.nn.checkpoint import load_model
from ds2cli.text.vocab import Vocab
from ds2cli.train.augmenter import Augmenter, frames_in
from ds2cli.train.examples import Spectrogram, Utterance
from ds2cli.train.job import TrainJob
from ds2cli.train.pools import open_pools
from ds2cli.train.state_file import LAST, load_state

TOKENS = "tokens.txt"
SAMPLE = 2000
"""Utterances whose features give the mean and deviation of each bin when no statistics are given."""

BEYOND = 1e4
"""No log power of a recording; NaN is not below it either. One such number must not spoil the statistics of all."""


def prepare(
    config: TrainConfig,
    rows: Iterable[Row],
    dev: Iterable[Row] | None,
    exp: str,
    features: dict[str, Any],
    ledger: Ledger,
    stats: str | None = None,
) -> TrainJob:
    """Read what is needed from the rows; drop those that cannot be learned from or tested on, with a reason.

    Rows have stored features, else those of their recordings are computed each time they are needed. dev: None where
    nothing is tested.
    exp: a checkpoint there has decided on the symbols and statistics; "" is none. features: the settings that `rows`
    were featurized with, or would be. stats: a file of Kaldi's CMVN statistics, else they are taken from the rows.
    DataError when nothing is left to train on, or sizes do not fit; UsageError when settings do not.
    """
    _check(config, dev is not None)
    rows, known = list(rows), Path(exp) / TOKENS
    going_on = exp != "" and (Path(exp) / LAST).is_file() and known.is_file() and not config.fresh
    vocab = Vocab.load(known) if going_on else Vocab.from_texts((row["text"] for row in rows), config.units)
    made = build(SpectrogramConfig, ("features", features))
    train: list[Utterance] = []
    known_mean, known_std = _known_statistics(exp) if going_on else (None, None)
    bins = None if known_mean is None else len(known_mean)
    for row in rows:
        try:
            frames, found = _size(row, made)
            if bins not in (None, found):
                raise BadUtterance("wrong-features", f"{found} bins, what was read before has {bins}")
            train.append(_utterance(row, frames, vocab, config))
            bins = found
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
    ledger.kept += len(train)
    if not train:
        first = f", the first: {ledger.rows[0]['detail']}" if ledger.rows else ""
        raise DataError(f"train: no utterance can be used, {ledger.summary()}{first}")
    noise, rooms = open_pools(config.augment)
    plain = Augmenter(AugmentConfig(), made, config.seed, np.zeros(0, np.float32), read_matrix).plain
    if known_mean is not None and known_std is not None:
        mean, std = known_mean, known_std
    else:
        mean, std = cmvn.mean_std(_read_stats(stats) if stats else _statistics(train, plain))
    if bins != len(mean):
        raise DataError(f"train: training features have {bins} bins, the statistics have {len(mean)}")
    see = Augmenter(config.augment, made, config.seed, mean, read_matrix, noise, rooms)
    held_out = [] if dev is None else list(_held_out(dev, len(mean), ledger, made))
    init = load_model(config.init) if config.init and not going_on else None
    return TrainJob(config, vocab, features, train, held_out, mean, std, see, plain, init)


def _check(config: TrainConfig, has_dev: bool) -> None:
    """UsageError when a setting would have no effect."""
    if not has_dev and (config.early_stop or config.optim.schedule == "plateau"):
        name = "early_stop" if config.early_stop else "optim.schedule plateau"
        raise UsageError(f"train: {name} goes by the error rate of a dev set (fix: --dev DEV)")


def _utterance(row: Row, frames: int, vocab: Vocab, config: TrainConfig) -> Utterance:
    """BadUtterance "no-text", "unspellable", "label-too-long" or "no-audio"."""
    if not row["text"].strip():
        raise BadUtterance("no-text", "the text is empty")
    labels = np.array(vocab.encode(row["text"]), np.int32)
    stride = config.model.stride
    steps, needed = -(-frames // stride), steps_needed(labels)
    if needed > steps:
        raise BadUtterance(
            "label-too-long", f"{len(labels)} labels need {needed} steps, {frames} frames give {steps} (model.strides)"
        )
    least, of = (needed - 1) * stride + 1, recording(row)
    if of is None and config.augment.needs_audio:
        raise BadUtterance("no-audio", "its row has no audio_filepath, which noise, rooms, speeds and shifts need")
    return Utterance(row["id"], row.get("feats") or "", frames, labels, row["text"], least, of)


def _size(row: Row, features: SpectrogramConfig) -> tuple[int, int]:
    """Frames and bins of the row's features; without any, of those its recording will have.

    BadUtterance "no-features", "too-short" or what its archive says.
    """
    if row.get("feats"):
        return matrix_shape(row["feats"], row["id"])
    of = recording(row)
    frames = frames_in(of, features) if of else None
    if frames is None:
        raise BadUtterance("no-features", "neither feats nor audio_filepath and duration are there (ds2 featurize)")
    if frames < 1:
        raise BadUtterance("too-short", f"its recording is shorter than a window of {features.window_ms:g} ms")
    return frames, features.num_bins


def _held_out(rows: Iterable[Row], bins: int, ledger: Ledger, features: SpectrogramConfig) -> Iterator[Utterance]:
    """The rows that can be tested on; DataError when not one of them can, or none has a text."""
    kept, last, words = 0, None, 0
    for row in rows:
        try:
            frames, found = _size(row, features)
            if found != bins:
                raise BadUtterance("wrong-features", f"{found} bins, those of the training rows have {bins}")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            last = e
            continue
        kept += 1
        words += len(row["text"].split())
        none = np.zeros(0, np.int32)
        yield Utterance(row["id"], row.get("feats") or "", frames, none, row["text"], recording=recording(row))
    ledger.kept += kept
    if not kept:
        why = f"no dev utterance can be used: {last.detail}" if last is not None else "the dev manifest has no rows"
        raise DataError(f"train: {why}")
    if not words:
        raise DataError("train: no dev utterance has a text to be compared with")


def _statistics(train: list[Utterance], plain: Callable[[Utterance], Spectrogram]) -> NDArray[np.float64]:
    """CMVN statistics of at most SAMPLE utterances, evenly spread; of those that can be read and are log powers."""
    stats = None
    for utterance in train[:: -(-len(train) // SAMPLE)]:
        with contextlib.suppress(BadUtterance):
            x = plain(utterance)
            if not (np.abs(x) < BEYOND).all():
                continue
            stats = cmvn.empty(x.shape[1]) if stats is None else stats
            cmvn.accumulate(stats, x)
    if stats is None:
        raise DataError("train: none of the utterances that give the statistics can be read")
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
