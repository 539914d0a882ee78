"""The rule that chooses the settings of a training from the facts of its data: a pure function, constants first.

The constants come from runs on 2 to 46 minutes of speech (egs/own/RESULTS.md). Beyond that, the sizes of networks lead
to those of the paper, and are marked as not measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ds2cli.recommend.facts import STRIDES, Facts

MAX_UNFIT = 0.5
"""Utterances that may be lost because their text does not fit the steps of a stride (percent)."""


class Size(NamedTuple):
    """A network for up to `hours` of speech. channels: of each of the two convolutions.  units: per layer, of GRUs."""

    hours: float
    channels: int
    layers: int
    units: int


SIZES = (
    Size(0.05, 128, 2, 128),
    Size(5, 256, 3, 256),
    Size(30, 384, 4, 384),
    Size(200, 512, 5, 512),
    Size(math.inf, 640, 7, 768),
)
"""Networks by hours of speech; the last has the recurrent layers of the paper's 38m-gru-7x768 (table 1)."""

MEASURED_HOURS = 0.8
"""Up to here the sizes were tried; beyond, they lead to the paper's."""

KERNELS = (11, 5)
"""Filter lengths of the two convolutions (frames)."""

SIMPLE_CELLS_UNITS = 448
SIMPLE_CELLS_HOURS = 2.0
"""Simple cells with clipped ReLU, which learn one speaker better than GRUs do, and many speakers badly."""

DROPOUT = {"one": 0.1, "several": 0.3}
DROPOUT_HOURS = (5.0, 100.0)
"""Dropout by the number of speakers, up to the first number of hours; it falls to 0.1 at the second one."""

LR = 2e-3
LR_LARGE, LARGE_UNITS = 1e-3, 700
"""Peak learning rate, and that of large layers."""

WARMUP, WARMUP_STEPS, MAX_WARMUP = 0.05, 150, 0.2
"""The rate rises over this share of the training, and over this many steps, but at most over `MAX_WARMUP` of it."""

BATCHES_PER_EPOCH = 50
BATCH_S = (5.0, 20.0, 40.0, 160.0)
BATCH_HOURS = (1.5, 20.0)
"""A batch is 1 / 50 of the training set, from 5 s to 20 s; 40 s above 1.5 hours and 160 s above 20 hours."""

STEPS = 4000
EPOCHS = (10, 100)
"""Epochs are chosen for at least this many steps, between these bounds."""

SPEED, WARP = 0.1, 0.08
"""Largest change of speed and stretch of frequencies, other in each epoch."""

TIME_MASKS, TIME_WIDTH = 2, 15
"""Masks in time: how many, and their largest width (frames). Masks of frequencies made AN4 learn far more slowly."""

LEAST_BINS = 20
"""Fewer bins are cepstra, not frequencies."""

INIT_LR, INIT_EPOCHS = 0.5, 0.5
"""What of the learning rate and of the epochs is needed when the training starts from another network."""

SPEAKERS_TO_SPLIT = 5
PARTS, LEAST_PER_PART = 10, 2
"""Speakers from which on dev and test get speakers of their own; parts of a split, one of them dev and one test."""


class Setting(NamedTuple):
    """One setting of `ds2 train`, such as model.rnn_size, and why it has this value."""

    name: str
    value: Any
    reason: str


class Split(NamedTuple):
    """How to split the data with `ds2 data split`. parts: one of them is dev, one is test.  reason: a sentence."""

    by: str
    parts: int
    reason: str


@dataclass(frozen=True)
class Start:
    """The network that a training starts from. path: as the user gave it.  model: its settings.

    features: settings of its features.
    """

    path: str
    model: Mapping[str, Any]
    stride: int
    features: Mapping[str, Any] = field(default_factory=dict)


def choose(facts: Facts, start: Start | None = None) -> list[Setting]:
    """The settings of a training on data with these facts; names as in a file of `ds2 train --config`."""
    settings = [] if start is None else [Setting("init", start.path, "the training starts from this network")]
    model = _choose_network(facts) if start is None else _copy_network(start)
    stride = _choose_stride(facts) if start is None else start.stride
    batch_s, epochs, steps = _choose_length(facts)
    batch_reason = f"about {max(1, round(facts.seconds / batch_s))} steps per epoch"
    epoch_reason = f"about {steps * epochs:,} steps in all"
    if start is not None:
        epochs = max(1, round(epochs * INIT_EPOCHS))
        epoch_reason = f"{INIT_EPOCHS:g} of those without --init"
    warmup = round(min(MAX_WARMUP, max(WARMUP, WARMUP_STEPS / (steps * epochs))), 3)
    units = max((s.value for s in model if s.name == "model.rnn_size"), default=0)
    lr = (LR_LARGE if units >= LARGE_UNITS else LR) * (1 if start is None else INIT_LR)
    return [
        *settings,
        Setting("epochs", epochs, epoch_reason),
        Setting("batch_s", batch_s, batch_reason),
        Setting("precision", "float32", "the same results on every processor, apart from rounding"),
        Setting("units.kind", "char", _describe_units(facts, stride)),
        *model,
        Setting("optim.lr", lr, "peak of the learning rate"),
        Setting(
            "optim.warmup",
            warmup,
            f"the rate rises over {100 * warmup:g} % of the training, as large first steps may go astray",
        ),
        *_choose_augmentation(facts),
    ]


def choose_split(facts: Facts) -> Split:
    """How to get a dev and a test set that say something about the speech to come."""
    if facts.speakers >= SPEAKERS_TO_SPLIT and not facts.no_speaker:
        parts = min(PARTS, facts.speakers)
        return Split("speaker", parts, f"{facts.speakers} speakers: dev and test get speakers of their own")
    if facts.no_speaker:
        known = f"{facts.speakers} known, {facts.no_speaker} utterances without" if facts.speakers else "unknown"
    else:
        known = str(facts.speakers)
    voices = f"speakers: {known}, so dev and test have voices of training, and other voices get more errors"
    texts = facts.distinct_texts
    repeated = facts.is_closed or texts < 0.2 * facts.utterances
    if repeated or texts < LEAST_PER_PART * PARTS:
        parts = max(3, min(PARTS, facts.utterances // LEAST_PER_PART))
        why = (
            f"the same {texts} texts are said again and again, also in dev and test"
            if repeated
            else f"{texts} different texts are too few to divide by text"
        )
        return Split("duration", parts, f"{voices}; {why}")
    return Split("text", PARTS, f"{voices}; no text of dev or test is in training")


def _choose_network(facts: Facts) -> list[Setting]:
    size = next(size for size in SIZES if facts.hours <= size.hours)
    stride = _choose_stride(facts)
    unfit = facts.unfit.get(stride, 0)
    simple = facts.has_one_speaker and SIZES[0].hours < facts.hours <= SIMPLE_CELLS_HOURS
    if simple:
        cell, units, why = "rnn", SIMPLE_CELLS_UNITS, "one speaker: simple cells with clipped ReLU"
    else:
        cell, units, why = (
            "gru",
            size.units,
            "GRU cells" if facts.has_one_speaker else "several or unknown speakers: GRU cells",
        )
    origin = (
        "tried with such amounts"
        if facts.hours <= MEASURED_HOURS
        else "not tried here: on the way to the paper's sizes"
    )
    return [
        *_choose_input_norm(facts),
        Setting("model.conv", "1d", "convolutions over time only: those over time and frequency cost far more"),
        Setting("model.channels", [size.channels] * len(KERNELS), f"for {_describe_hours(facts)} of speech; {origin}"),
        Setting("model.kernels", list(KERNELS), ""),
        Setting(
            "model.strides",
            [stride, *[1] * (len(KERNELS) - 1)],
            f"{unfit} utterances have too little time for their texts",
        ),
        Setting("model.cell", cell, why),
        Setting("model.activation", "relu" if simple else "tanh", ""),
        Setting("model.rnn_layers", size.layers, "recurrent layers"),
        Setting("model.rnn_size", units, "units per layer and direction"),
        Setting("model.dropout", _choose_dropout(facts), "more for several speakers and little speech"),
    ]


def _choose_input_norm(facts: Facts) -> list[Setting]:
    if facts.has_one_speaker:
        return []
    reason = "subtracts what is constant in an utterance: voices and microphones differ by it"
    return [Setting("model.input_norm", "utterance", reason)]


def _copy_network(start: Start) -> list[Setting]:
    reason = "all as in the network that it starts from"
    return [Setting(f"model.{name}", value, "" if i else reason) for i, (name, value) in enumerate(start.model.items())]


def _choose_stride(facts: Facts) -> int:
    """The largest stride that leaves enough steps for nearly all texts."""
    allowed = MAX_UNFIT / 100 * facts.utterances
    # texts that fit at no stride belong to other recordings
    hopeless = facts.unfit.get(STRIDES[-1], 0)
    return next((s for s in STRIDES if facts.unfit.get(s, 0) - hopeless <= allowed), STRIDES[-1])


def _choose_length(facts: Facts) -> tuple[float, int, int]:
    """Seconds of a batch, epochs, and steps per epoch."""
    shortest, usual, long, longest = BATCH_S
    if facts.hours > BATCH_HOURS[1]:
        batch_s = longest
    elif facts.hours > BATCH_HOURS[0]:
        batch_s = long
    else:
        batch_s = float(round(min(usual, max(shortest, facts.seconds / BATCHES_PER_EPOCH))))
    steps = max(1, math.ceil(facts.seconds / batch_s))
    fewest, most = EPOCHS
    return batch_s, min(most, max(fewest, math.ceil(STEPS / steps))), steps


def _choose_dropout(facts: Facts) -> float:
    most = DROPOUT["one" if facts.has_one_speaker else "several"]
    first, last = DROPOUT_HOURS
    if facts.hours <= first:
        return most
    share = min(1.0, math.log(facts.hours / first) / math.log(last / first))
    return round(most + share * (min(most, 0.1) - most), 2)


def _choose_augmentation(facts: Facts) -> list[Setting]:
    cepstra = 0 < (facts.bins or 0) < LEAST_BINS
    kind = [Setting("augment.cepstra", True, f"features of {facts.bins} bins are cepstra")] if cepstra else []
    return [
        *kind,
        Setting("augment.speed", SPEED, "up to 10 % slower or faster"),
        Setting("augment.warp", WARP, "longer and shorter vocal tracts"),
        Setting("augment.time_masks", TIME_MASKS, "hides parts of each utterance, others in each epoch (SpecAugment)"),
        Setting("augment.time_width", TIME_WIDTH, ""),
    ]


def _describe_units(facts: Facts, stride: int) -> str:
    letters = len(facts.letters)
    fit = facts.utterances - facts.unfit.get(stride, 0)
    return f"{letters} symbols; {fit} of {facts.utterances} texts fit into the steps of a stride of {stride}"


def _describe_hours(facts: Facts) -> str:
    return f"{facts.minutes:.1f} minutes" if facts.hours < 2 else f"{facts.hours:.1f} hours"
