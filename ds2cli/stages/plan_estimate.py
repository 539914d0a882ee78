"""Put the estimates for a GPU together: steps, time, memory, disk space."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.config.plan import Gpu
from ds2cli.config.train import TrainConfig
from ds2cli.errors import UsageError
from ds2cli.feats import kinds
from ds2cli.stages.model import SYMBOLS, NetworkSpec
from ds2cli.stages.plan_gpu import (
    Machine,
    measure_batches,
    plan_lengths,
    share_batches,
    spread_lengths,
    time_batches,
    time_step,
)
from ds2cli.stages.plan_layers import count_parameters, list_costs
from ds2cli.stages.plan_memory import SPARE, Memory, count_memory
from ds2cli.train.epoch_plan import plan_epoch
from ds2cli.train.job import TrainJob

MOST_LENGTHS = 200_000
"""Utterances whose batches are planned; those of more are taken to be alike."""

LONGEST = 2.0
"""Length of the longest utterance, unless it is given: times the mean."""

OFF_BY = (0.6, 2.1)
"""Published times, divided by estimates of them, were within these limits (tests/stages/test_plan_published.py)."""


class Data(NamedTuple):
    """The batches of an epoch, (B,) each: utterances, longest frames, valid frames; how many times as many there are.

    dev_frames: of the dev set, evaluated after each epoch.
    """

    utterances: NDArray[np.float64]
    longest: NDArray[np.float64]
    frames: NDArray[np.float64]
    scale: float = 1.0
    dev_frames: float = 0.0


def describe_data(
    config: TrainConfig, features: FeatureConfig, hours: float, utterances: int, longest_s: float | None
) -> Data:
    """The batches of a training set of which only the size is known. UsageError when the lengths contradict it."""
    mean_s = 3600 * hours / utterances
    longest_s = LONGEST * mean_s if longest_s is None else longest_s
    if longest_s < mean_s:
        raise UsageError(
            f"plan: --longest {longest_s:g}: expected at least the mean length, {mean_s:.3g} s "
            f"({hours:g} h / {utterances:,} utterances)"
        )
    if mean_s * 1000 < max(features.hop_ms, features.window_ms):
        raise UsageError(
            f"plan: --utterances {utterances}: {hours:g} h would be {1000 * mean_s:.3g} ms for each of them"
        )
    count = min(utterances, MOST_LENGTHS)
    lengths = spread_lengths(count, 1000 * mean_s / features.hop_ms, 1000 * longest_s / features.hop_ms)
    return Data(*plan_lengths(lengths, config, features.hop_ms), utterances / count)


def read_data(job: TrainJob) -> Data:
    """The batches of a training set, as training plans them in its second epoch."""
    steps, frames = plan_epoch(job, 1)
    return Data(*measure_batches(steps.batches, frames), dev_frames=float(sum(u.num_frames for u in job.dev)))


def count_symbols(config: TrainConfig, symbols: int | None) -> int:
    """The output symbols, blank included; UsageError when they are not given and do not follow from the settings."""
    if symbols is not None:
        return symbols
    if config.units.kind == "char":
        return SYMBOLS
    if config.units.size is not None:
        return config.units.size + 1
    raise UsageError(
        f"plan: with units.kind {config.units.kind} the number of symbols depends on the texts (give it: --symbols 700)"
    )


def choose_precision(setting: str, gpu: Gpu, name: str) -> str:
    """The precision of training on the GPU; UsageError for one that its units for matrices do not have."""
    if setting == "auto":
        return gpu.precisions[-1]
    if setting not in gpu.precisions:
        expected = " or ".join(gpu.precisions)
        raise UsageError(
            f"--precision {setting}: {name} has no units for it, expected {expected} (--precision {gpu.precisions[-1]})"
        )
    return setting


def estimate_on_gpu(
    config: TrainConfig, network: NetworkSpec, features: FeatureConfig, data: Data, gpu: Gpu, name: str
) -> dict[str, Any]:
    """Estimate the whole run on config.nproc GPUs. The names of what `stages.plan.estimate` measures are the same.

    off_by: limits of published times divided by such estimates.
    memory_mb, largest_batch_s: of each GPU, for the longest batch; fits: whether that is less than the GPU has.
    features_mb, compressed_mb: stored features as float32, and compressed.
    """
    machine = Machine(gpu, config.nproc, choose_precision(config.precision, gpu, name))
    shapes = share_batches(data.utterances, data.longest, data.frames, config.nproc)
    batch_s = time_batches(list_costs(network, config, config.nproc), machine, shapes)
    parameters = count_parameters(network)
    num_batches = data.scale * len(batch_s)
    steps = math.ceil(num_batches / config.accumulate)
    train_s = data.scale * float(batch_s.sum()) + steps * time_step(parameters, machine, config)
    frames = data.scale * float(data.frames.sum())
    # forward is a third of a training step, and the processes share the dev set
    epoch_s = train_s * (1 + data.dev_frames / frames / 3)
    epochs = min(float(config.epochs), 60 * (config.minutes or math.inf) / epoch_s)
    hours = frames * features.hop_ms / 3.6e6
    padded = data.utterances * data.longest
    memory = count_memory(network, config, config.nproc, machine.precision)
    longest = int(np.argmax(padded))
    peak = float(memory.peak(*shapes).max())
    utterances = data.scale * float(data.utterances.sum())
    stored = frames * kinds.num_bins(features)
    return {
        "estimate": True,
        "gpu": name,
        "gpus": config.nproc,
        "off_by": OFF_BY,
        "utterances": round(utterances),
        "hours": round(hours, 2),
        "symbols": network.symbols,
        "parameters": parameters,
        "precision": machine.precision,
        "steps_per_epoch": steps,
        "epochs": round(epochs, 2),
        "steps": math.ceil(steps * epochs),
        "padding": round(100 * (1 - float(data.frames.sum()) / float(padded.sum())), 1),
        "longest": [int(data.utterances[longest]), int(padded[longest])],
        "seconds_per_step": round(train_s / steps, 3),
        "hours_per_hour": round(3600 * hours / epoch_s, 1),
        "minutes_per_epoch": round(epoch_s / 60, 3),
        "minutes": round(epoch_s / 60 * epochs, 3),
        "memory_mb": round(peak / 2**20),
        "gpu_memory_mb": round(SPARE * gpu.memory * 1024),
        "fits": bool(peak <= SPARE * gpu.memory * 2**30),
        "largest_batch_s": _largest_batch_s(memory, gpu, config, float(data.longest.max()), features.hop_ms),
        "disk_mb": round(_disk_bytes(parameters, config) / 2**20, 1),
        "features_mb": round(4 * stored / 2**20),
        "compressed_mb": round((stored + 8 * kinds.num_bins(features) * utterances) / 2**20),
    }


def _largest_batch_s(memory: Memory, gpu: Gpu, config: TrainConfig, longest: float, hop_ms: float) -> int:
    """The largest batch_s with which a batch of the longest utterances fits, 0 if one of them does not fit."""
    capacity = SPARE * gpu.memory * 2**30
    none = memory.peak(0, longest, 0)
    each = memory.peak(1, longest, longest) - none
    count = math.floor((capacity - none) / each)
    return max(0, math.floor(count * config.nproc * longest * hop_ms / 1000))


def _disk_bytes(parameters: int, config: TrainConfig) -> float:
    """best.safetensors, last.pt twice, networks of --keep-best, as `stages.plan` counts those of a network."""
    states = (2 if config.optim.method == "adamw" else 1) + (config.optim.ema > 0)
    kept = config.keep_best if config.keep_best > 1 else 0
    return 4.0 * parameters * (1 + kept + 2 * (1 + states))
