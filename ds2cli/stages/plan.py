"""Estimate the time, memory and disk space of a training run from a few of its steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ds2cli.nn.checkpoint import TrainedModel, step_seconds
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.train.epoch_plan import plan_epoch
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.job import TrainJob
from ds2cli.train.state import peak_memory_mb
from ds2cli.train.trainer import Trainer

TIMED_STEPS = 6
"""Steps that are timed, from the longest batches to the shortest."""
TIMED_DEV_UTTERANCES = 8


def estimate(job: TrainJob, device: torch.device) -> dict[str, Any]:
    """Time some steps on this machine, with one process, and extrapolate to the whole run. No file of EXP is written.

    hours, padding (%), steps, steps_per_epoch; parameters; precision: of the steps; precision_reason: why `auto` chose
    it, or ""; longest: utterances and frames of the longest batch; seconds_per_step, minutes_per_epoch, minutes,
    hours_per_hour; memory_mb; disk_mb: of EXP.  epochs: those for which --minutes leaves time; minutes and steps are
    of these.
    Raises Ds2Error when a step fails as it would in training.
    """
    trainer = Trainer(job, ProcessGroup(device=device))
    (steps, frames), later_steps = plan_epoch(job, 0), trainer.plan_steps(1)
    batches = steps.batches
    padded = frames[batches.longest].astype(np.float64) * batches.sizes
    total_frames = float(frames[batches.order].sum(dtype=np.int64))
    longest_first = np.argsort(-padded, kind="stable")
    positions = np.linspace(0, len(batches) - 1, min(TIMED_STEPS, len(batches))).astype(int)
    timed = longest_first[positions]
    # not timed: the first step is slower than the others
    trainer.time_step(batches[timed[0]])
    seconds = [trainer.time_step(batches[i]) for i in timed]
    # a step takes a constant time plus a time per frame
    per_frame, constant = (
        np.polyfit(padded[timed], seconds, 1) if len(timed) > 1 else (seconds[0] / padded[timed[0]], 0.0)
    )
    if constant < 0:
        per_frame, constant = sum(seconds) / padded[timed].sum(), 0.0
    epoch_s = float(constant * len(batches) + per_frame * padded.sum()) + _dev_seconds(job, trainer)
    hop_s = job.features["hop_ms"] / 1000
    longest = longest_first[0]
    epochs = min(float(job.config.epochs), 60 * (job.config.minutes or math.inf) / epoch_s)
    # the first epoch, from short to long, has other batches than the later ones
    num_steps = len(steps) * min(epochs, 1) + len(later_steps) * max(epochs - 1, 0)
    return {
        "utterances": len(batches.order),
        "hours": round(total_frames * hop_s / 3600, 2),
        "symbols": len(job.vocab),
        "parameters": sum(p.numel() for p in trainer.parameters),
        "precision": trainer.precision.name,
        "precision_reason": trainer.precision.reason,
        "steps_per_epoch": len(steps),
        "epochs": round(epochs, 2),
        "steps": math.ceil(num_steps),
        "padding": round(100 * (1 - total_frames / padded.sum()), 1),
        "longest": [len(batches[longest]), int(padded[longest])],
        "seconds_per_step": round(float(np.mean(constant + per_frame * padded)) * job.config.accumulate, 3),
        "hours_per_hour": round(total_frames * hop_s / epoch_s, 1),
        "minutes_per_epoch": round(epoch_s / 60, 3),
        "minutes": round(epoch_s / 60 * epochs, 3),
        "memory_mb": peak_memory_mb(),
        "disk_mb": round(_disk_bytes(trainer) / 2**20, 1),
    }


def _dev_seconds(job: TrainJob, trainer: Trainer) -> float:
    """Seconds that the evaluation after each epoch takes, extrapolated from a part of the dev set."""
    if not job.dev:
        return 0.0
    features = job.features
    trained = TrainedModel(trainer.model.eval(), job.vocab, features, step_seconds(trainer.model, features), {})
    part = job.dev[:: max(1, len(job.dev) // TIMED_DEV_UTTERANCES)]
    start = time.perf_counter()
    count_greedy_errors(trained, part, job.dev_features)
    return (time.perf_counter() - start) * sum(u.num_frames for u in job.dev) / sum(u.num_frames for u in part)


def _disk_bytes(trainer: Trainer) -> int:
    """best.safetensors, last.pt twice (the old one stays until the new one is written), networks of --keep-best."""
    weights = _bytes(trainer.model.state_dict())
    optimizer = sum(_bytes(state) for state in trainer.optimizer.state_dict()["state"].values())
    last = weights + optimizer + _bytes(trainer.average.tensors)
    kept = trainer.config.keep_best if trainer.config.keep_best > 1 else 0
    return (1 + kept) * weights + 2 * last


def _bytes(tensors: Mapping[str, Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values() if isinstance(t, Tensor))
