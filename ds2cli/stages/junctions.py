"""Measure the errors of word times: join clips to recordings whose junctions are known, and align them.

Notation: N samples of a recording, T steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.audio.join import join
from ds2cli.audio.level import gain
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.audio.trim import find_sound, quiet_level
from ds2cli.config.features import FeatureConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.feats import kinds
from ds2cli.manifest import Row
from ds2cli.metrics.junctions import Edges, TimingErrors
from ds2cli.metrics.planted_errors import shuffle_by_id
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.align import Alignment, align
from ds2cli.search.timing import Timing
from ds2cli.search.trellis import WILDCARD, spell

PAUSE_S = 0.3
"""The pause between the sounds of two clips."""

MARGIN_S = 0.02
"""Of a clip, this much is kept on both sides of its sound, as part of the pauses."""

RECORDING_S = 150.0
"""A recording ends with the clip that makes it longer than this."""


@dataclass(frozen=True)
class Clip:
    """The sound of a row with a margin, at the level of the features, and the level of its quiet parts (RMS).

    margins: samples before and after the sound.  words: the number of them in the row's text.
    """

    row: Row
    samples: NDArray[np.float32]
    margins: tuple[int, int]
    quiet: float
    words: int


@dataclass(frozen=True)
class JoinedClips:
    """A recording (N,) of clips with a pause before, between and after them.  edges: of each clip."""

    ids: list[str]
    text: str
    samples: NDArray[np.float32] = field(repr=False)
    edges: list[Edges]


@dataclass(frozen=True)
class Aligned:
    """The alignment of a recording, uncorrected, and the truth: the edges of its clips.

    ids: of the clips.  log_probs: (T, V) float32; None where it is not kept.
    """

    ids: list[str]
    edges: list[Edges]
    alignment: Alignment
    duration_s: float
    step_s: float
    log_probs: NDArray[np.float32] | None = field(repr=False)

    def errors(self, timing: Timing) -> TimingErrors:
        """The errors of the word times with this correction."""
        return TimingErrors.measure(timing.correct(self.alignment, self.duration_s).words, self.edges)

    def without_emission(self) -> Aligned:
        """What the errors need."""
        return replace(self, log_probs=None)


def read_clips(rows: Iterable[Row], ledger: Ledger, experiment: Experiment, features: FeatureConfig) -> Iterator[Clip]:
    """The clips whose words the network can spell and whose edges are sure; the others are dropped."""
    for row in rows:
        try:
            yield memory.fit_utterance(partial(_read_clip, row, experiment, features), "the clip", memory.SHORTER)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e, bad=e.reason not in ("unsure-edges", "unspellable", "no-words"))


def _read_clip(row: Row, experiment: Experiment, features: FeatureConfig) -> Clip:
    spelling = spell(row["text"], experiment.vocab)
    if not spelling.words:
        raise BadUtterance("no-words", "the text is empty")
    if WILDCARD in spelling.labels:
        raise BadUtterance("unspellable", "a word that the network cannot spell has no times of its own")
    recording, rate = parse_recording(row), features.sample_rate
    if recording is None:
        raise BadUtterance("missing-audio", "the row has no `audio_filepath`")
    samples = read_samples(recording, rate)
    sound = find_sound(samples, rate)
    if sound is None:
        raise BadUtterance("unsure-edges", "where its sound begins or ends is not clear from its energy")
    # as the network hears each clip in training
    samples = samples * gain(samples, features.level_db)
    (begin, end), margin = sound, round(MARGIN_S * rate)
    first, last = max(0, begin - margin), min(len(samples), end + margin)
    quiet = quiet_level(samples, rate)
    return Clip(row, samples[first:last].copy(), (begin - first, last - end), quiet, len(spelling.words))


def join_clips(clips: Iterable[Clip], rate: int, seed: int = 0) -> Iterator[JoinedClips]:
    """Recordings of the clips in their order.

    Noise of the median quiet level of the clips lies under all of a recording: the network never heard digital silence.
    """
    group: list[Clip] = []
    seconds = 0.0
    for clip in clips:
        group.append(clip)
        seconds += len(clip.samples) / rate + PAUSE_S
        if seconds > RECORDING_S:
            yield _join(group, rate, seed)
            group, seconds = [], 0.0
    if group:
        yield _join(group, rate, seed)


def _join(clips: Sequence[Clip], rate: int, seed: int) -> JoinedClips:
    pause = round(PAUSE_S * rate)
    margins = [0, *(margin for clip in clips for margin in clip.margins), 0]
    samples, spans = join(
        [clip.samples for clip in clips],
        [pause - before - after for before, after in zip(margins[::2], margins[1::2], strict=True)],
    )
    level = float(np.median([clip.quiet for clip in clips]))
    samples += np.random.default_rng(seed).normal(0, level, len(samples)).astype(np.float32)
    edges = [
        Edges((begin + clip.margins[0]) / rate, (end - clip.margins[1]) / rate, clip.words)
        for clip, (begin, end) in zip(clips, spans, strict=True)
    ]
    text = " ".join(clip.row["text"] for clip in clips)
    return JoinedClips([clip.row["id"] for clip in clips], text, samples, edges)


def run(rows: Sequence[Row], ledger: Ledger, experiment: Experiment, nj: int = 1, seed: int = 0) -> Iterator[Aligned]:
    """Join the clips of the rows, in random order, and align each recording with its text.

    DataError if the network was trained on features of other settings than it says.
    """
    features = FeatureConfig.from_saved(experiment.network.features, experiment.path)
    if (bins := kinds.num_bins(features)) != experiment.network.bins:
        raise DataError(
            f"{experiment.path}: trained on features of {experiment.network.bins} bins, but with settings that give "
            f"{bins}: they cannot be computed (train with --features FILE)"
        )
    shuffled = (rows[i] for i in shuffle_by_id([row["id"] for row in rows], seed))
    # by id, until they are aligned
    waiting: dict[str, JoinedClips] = {}

    def number() -> Iterator[Row]:
        recordings = join_clips(read_clips(shuffled, ledger, experiment, features), features.sample_rate, seed)
        for i, recording in enumerate(recordings):
            waiting[f"{i}"] = recording
            yield {"id": f"{i}"}

    def compute(row: Row, _: Experiment) -> NDArray[np.float32]:
        return kinds.compute(waiting[row["id"]].samples, features)

    def work(item: Emission) -> tuple[str, Aligned]:
        clips = waiting[item.row["id"]]
        found = align(item.log_probs, clips.text, experiment.vocab, item.step_s)
        duration_s = len(item.log_probs) * item.step_s
        return item.row["id"], Aligned(clips.ids, clips.edges, found, duration_s, item.step_s, item.log_probs)

    failed = Ledger()
    chunks = load_emissions(number(), failed, experiment, features=compute)
    for name, aligned in map_emissions(work, chunks, failed, nj, "the alignment"):
        ledger.kept += len(aligned.ids)
        yield aligned
        del waiting[name]
        _drop_failed(failed, waiting, ledger)
    _drop_failed(failed, waiting, ledger)


def _drop_failed(failed: Ledger, waiting: dict[str, Any], ledger: Ledger) -> None:
    """Drop the clips of the recordings that were not aligned."""
    for drop in failed.rows:
        for name in waiting.pop(drop["id"]).ids:
            ledger.drop(name, drop["reason"], f"in a recording with others: {drop['detail']}")
    failed.rows.clear()
