"""The data of a training run, from manifest rows: utterances with labels, output symbols, feature statistics."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs, memory
from ds2cli.archive import matrix_shape, read_matrix
from ds2cli.audio.recording import parse_recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.feats import cmvn, kinds
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.manifest import Row
from ds2cli.nn.checkpoint import load_model
from ds2cli.text.vocab import TOKENS, Vocab
from ds2cli.train.augmenter import NO_AUDIO, Augmenter, count_frames
from ds2cli.train.examples import DevFeatures, Utterance
from ds2cli.train.job import TrainJob
from ds2cli.train.lint import TextLint, check_dev_texts, clean_text
from ds2cli.train.mix import Corpora, refuse_shared_ids
from ds2cli.train.pools import open_pools
from ds2cli.train.resume import LAST, load_checkpoint
from ds2cli.train.scan import Candidate, Candidates, ManifestRows, collect
from ds2cli.train.table_builder import TableBuilder

STATS_UTTERANCES = 2000
"""At most this many utterances are read for the mean and deviation of each bin when no statistics are given."""

MAX_LOG_POWER = 1e4
"""Beyond any log power of a recording. One damaged archive must not spoil the statistics of all."""


def prepare_job(
    config: TrainConfig,
    rows: Iterable[Row] | ManifestRows,
    dev: Iterable[Row] | None,
    exp: str,
    features: dict[str, Any],
    ledger: Ledger,
    stats: str | None = None,
    warn: Callable[[str], None] = lambda _: None,
    mix: Sequence[Iterable[Row] | ManifestRows] = (),
) -> TrainJob:
    """Turn rows into utterances with labels; drop those that cannot be used, with a reason code.

    rows: of a manifest; `ManifestRows` are read without a Python object for each.
    Rows without stored features get those of their recordings, computed each time they are needed. dev: None without a
    dev set.
    exp: a checkpoint in this folder determines symbols and statistics; "" for none. features: settings the rows were
    featurized with, or will be. stats: a file of Kaldi CMVN statistics; None computes them from the rows.
    mix: the rows of each manifest of config.mix; they pass the same checks.
    warn: called with each problem of the texts that does not prevent training.
    Raises DataError when no utterance remains, sizes do not match or the network could not write the dev texts,
    UsageError when settings contradict each other.
    """
    _check_settings(config, dev is not None)
    corpora, tokens = [collect(part, ledger, warn) for part in (rows, *mix)], Path(exp) / TOKENS
    resuming = exp != "" and (Path(exp) / LAST).is_file() and tokens.is_file() and not config.fresh
    vocab = Vocab.load(tokens) if resuming else _make_vocab(corpora, config)
    settings = FeatureConfig.from_saved(features, "features")
    known_mean, known_std = _checkpoint_statistics(exp) if resuming else (None, None)
    expected_bins = None if known_mean is None else len(known_mean)

    def check(candidate: Candidate, bins: int | None) -> tuple[Utterance, int]:
        row = candidate.as_row()
        frames, found = _feature_shape(row, settings)
        if bins not in (None, found):
            raise BadUtterance("wrong-features", f"expected {bins} bins as in earlier rows, found {found}")
        return _train_utterance(row, frames, vocab, config), found

    needs_audio = config.augment.needs_audio
    builder = TableBuilder(vocab, config.model.stride, needs_audio, check, ledger, expected_bins)
    tables = tuple(builder.build(part) for part in corpora)
    refuse_shared_ids(tables, ("TRAIN", *config.mix.manifests))
    train, expected_bins = tables[0] if len(tables) == 1 else Corpora(tables), builder.bins
    ledger.kept += len(train)
    if not all(map(len, tables)):
        first = f", the first: {ledger.rows[0]['detail']}" if ledger.rows else ""
        of = "" if not len(tables[0]) else f" of {config.mix.manifests[[len(t) for t in tables[1:]].index(0)]}"
        raise DataError(f"train: no utterance{of} can be used, {ledger.summary()}{first}")
    noise, impulse_responses = open_pools(config.augment)
    without_augmentation = Augmenter(AugmentConfig(), settings, config.seed, np.zeros(0, np.float32), read_matrix)
    dev_features = without_augmentation.unaugmented
    if known_mean is not None and known_std is not None:
        mean, std = known_mean, known_std
        if stats and not np.allclose([mean, std], _mean_and_scale(_read_statistics(stats), config), rtol=1e-4):
            raise UsageError(
                f"{exp}: was trained with other statistics than {stats} (leave out --cmvn, or add --fresh)"
            )
    else:
        found = _read_statistics(stats) if stats else _compute_statistics(tables[0], dev_features)
        mean, std = _mean_and_scale(found, config)
    if expected_bins != len(mean):
        raise DataError(f"train: training features have {expected_bins} bins, the statistics have {len(mean)}")
    # a network that subtracts the mean of each utterance sees masks as zeros, too
    fill = None if _uses_utterance_mean(config) else mean
    train_features = Augmenter(config.augment, settings, config.seed, fill, read_matrix, noise, impulse_responses)
    dev_rows = _clean_rows(dev or [], ledger, warn)
    dev_utterances = [] if dev is None else list(_dev_utterances(dev_rows, len(mean), ledger, settings))
    for finding in check_dev_texts(vocab, [utterance.text for utterance in dev_utterances]):
        if finding.fatal and not resuming:
            raise DataError(f"train: {finding}")
        warn(f"train: {finding}")
    init = load_model(config.init) if config.init and not resuming else None
    return TrainJob(config, vocab, features, train, dev_utterances, mean, std, train_features, dev_features, init)


def _check_settings(config: TrainConfig, has_dev: bool) -> None:
    """Raises UsageError when a setting needs a dev set and there is none."""
    if not has_dev and (config.early_stop or config.optim.schedule == "plateau"):
        name = "--early-stop" if config.early_stop else "optim.schedule=plateau"
        raise UsageError(f"train: {name} needs the error rate of a dev set (add --dev DEV)")


def _make_vocab(corpora: Sequence[Candidates], config: TrainConfig) -> Vocab:
    """The symbols of the texts."""
    if config.units.kind == "char":
        return Vocab.from_letters(sum((part.letters for part in corpora), Counter()), config.units)
    return Vocab.from_texts(chain.from_iterable(part.texts() for part in corpora), config.units)


def _clean_rows(rows: Iterable[Row], ledger: Ledger, warn: Callable[[str], None]) -> Iterator[Row]:
    """The dev rows with clean texts, after the last of which the findings are reported."""
    lint = TextLint()
    for row in rows:
        lint.add(row["text"])
        try:
            yield {**row, "text": clean_text(row["text"])}
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
    for finding in lint.findings("dev"):
        warn(f"train: {finding}")


def _train_utterance(row: Row, frames: int, vocab: Vocab, config: TrainConfig) -> Utterance:
    """Raises BadUtterance "no-text", "unspellable", "label-too-long" or "no-audio"."""
    if not row["text"].strip():
        raise BadUtterance("no-text", "the text is empty")
    labels = np.array(vocab.encode(row["text"]), np.int32)
    stride = config.model.stride
    steps, needed = -(-frames // stride), steps_needed(labels)
    if needed > steps:
        raise BadUtterance(
            "label-too-long",
            f"{len(labels)} labels need {needed} steps, {frames} frames give {steps} (time stride {stride})",
        )
    recording = parse_recording(row)
    if recording is None and config.augment.needs_audio:
        raise BadUtterance(*NO_AUDIO)
    min_frames = (needed - 1) * stride + 1
    return Utterance(row["id"], row.get("feats") or "", frames, labels, row["text"], min_frames, recording)


def _feature_shape(row: Row, settings: FeatureConfig) -> tuple[int, int]:
    """Frames and bins of the row's stored features, else of those that its recording will give.

    Raises BadUtterance "no-features", "too-short", or reason codes of reading the archive.
    """
    if row.get("feats"):
        return matrix_shape(row["feats"], row["id"])
    recording = parse_recording(row)
    frames = count_frames(recording, settings) if recording else None
    if frames is None:
        raise BadUtterance("no-features", "the row has neither feats nor audio_filepath and duration (ds2 featurize)")
    if frames < 1:
        raise BadUtterance("too-short", f"the recording is shorter than a window of {settings.window_ms:g} ms")
    return frames, kinds.num_bins(settings)


def _dev_utterances(
    rows: Iterable[Row], expected_bins: int, ledger: Ledger, settings: FeatureConfig
) -> Iterator[Utterance]:
    """The usable dev rows. Raises DataError when there are none, or none of them has a text."""
    kept, last_error, words = 0, None, 0
    for row in rows:
        try:
            frames, bins = _feature_shape(row, settings)
            if bins != expected_bins:
                raise BadUtterance(
                    "wrong-features", f"expected {expected_bins} bins as in the training rows, found {bins}"
                )
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            last_error = e
            continue
        kept += 1
        words += len(row["text"].split())
        labels, recording = np.zeros(0, np.int32), parse_recording(row)
        yield Utterance(row["id"], row.get("feats") or "", frames, labels, row["text"], recording=recording)
    ledger.kept += kept
    if not kept:
        reason = "the dev manifest has no rows"
        raise DataError(f"train: {f'no dev utterance can be used: {last_error.detail}' if last_error else reason}")
    if not words:
        raise DataError("train: no dev utterance has a text to compare with")


def _compute_statistics(train: Sequence[Utterance], dev_features: DevFeatures) -> NDArray[np.float64]:
    """CMVN statistics of at most STATS_UTTERANCES evenly spaced utterances; unreadable or damaged ones are left out."""
    stats = None
    for utterance in train[:: -(-len(train) // STATS_UTTERANCES)]:
        with contextlib.suppress(BadUtterance):
            x = memory.fit_utterance(partial(dev_features, utterance), "the features", memory.SHORTER)
            # written so that NaN fails, too
            if not (np.abs(x) < MAX_LOG_POWER).all():
                continue
            stats = cmvn.empty(x.shape[1]) if stats is None else stats
            cmvn.accumulate(stats, x)
    if stats is None:
        raise DataError("train: none of the utterances chosen for feature statistics can be read")
    return stats


def _checkpoint_statistics(exp: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (F,) that the checkpoint's network normalizes with."""
    try:
        model = (load_checkpoint(exp) or {})["model"]
        return model["mean"].numpy(), model["std"].numpy()
    except (AttributeError, KeyError, TypeError) as e:
        raise DataError(f"{exp}/{LAST}: not a checkpoint of ds2 train (remove it, or give --fresh)") from e


def _uses_utterance_mean(config: TrainConfig) -> bool:
    return getattr(config.model, "input_norm", "corpus") == "utterance"


def _mean_and_scale(
    statistics: NDArray[np.float64], config: TrainConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean of each bin (F,), and what it is divided by: its standard deviation, or with the means of utterances one
    number for all.

    Cepstra of high order vary little and say little: divided by their own standard deviation they drown the others, and
    a network learns AN4 in several times as many epochs.
    """
    mean, std = cmvn.mean_std(statistics)
    return mean, np.full_like(std, np.sqrt(np.square(std).mean())) if _uses_utterance_mean(config) else std


def _read_statistics(path: str) -> NDArray[np.float64]:
    """The only matrix of a Kaldi archive, or a bare Kaldi matrix."""
    try:
        inputs.require_file(path)
        with Path(path).open("rb") as f:
            offset = f.read(256).find(b"\0B")
        stats = read_matrix(f"{path}:{max(offset, 0)}").astype(np.float64)
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    except BadUtterance as e:
        raise DataError(f"{path}: no CMVN statistics: {e.detail}") from e
    if len(stats) != 2:
        raise DataError(f"{path}: expected statistics (2, bins + 1), found {stats.shape} (ds2 featurize writes them)")
    return stats
