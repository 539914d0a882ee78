"""What a training will take, from a few of its steps: time, memory, disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ds2cli.nn.checkpoint import TrainedModel, step_seconds
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.train.batches import load
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.events import GO_ON
from ds2cli.train.job import TrainJob
from ds2cli.train.state import peak_memory_mb
from ds2cli.train.trainer import Trainer

TRIED = 6
"""Steps that are timed, from the longest batches to the shortest."""
TRIED_DEV = 8
"""Dev utterances that are timed."""


def estimate(job: TrainJob, device: torch.device) -> dict[str, Any]:
    """Take some steps on this machine with one process, and say what all of them will take; nothing is written.

    hours, padding (%), steps, steps_a_pass; parameters; longest: utterances and frames of the longest batch;
    seconds_a_step, minutes_a_pass, minutes, hours_per_hour; memory_mb; disk_mb: of EXP.
    Ds2Error when a step fails as it would in the training.
    """
    trainer = Trainer(job, ProcessGroup(device=device))
    steps = trainer.steps()
    frames = np.array([[job.see.frames(job.train[i], 0) for i in batch] for step in steps for batch in step], object)
    padded = np.array([max(each) * len(each) for each in frames], np.float64)
    real = float(sum(map(sum, frames)))
    order = np.argsort(-padded, kind="stable")
    batches = [batch for step in steps for batch in step]
    chosen = order[np.linspace(0, len(order) - 1, min(TRIED, len(order))).astype(int)]
    took = []
    for turn, which in enumerate([chosen[0], *chosen]):
        batch = load([job.train[i] for i in batches[which]], job.see, 0)
        start = time.perf_counter()
        trainer.take_step([batch], 0.5, 0.0, GO_ON)
        took += [time.perf_counter() - start] * (turn > 0)
    # a step costs something for itself, and something a frame
    per_frame, each = np.polyfit(padded[chosen], took, 1) if len(chosen) > 1 else (took[0] / padded[chosen[0]], 0.0)
    if each < 0:
        per_frame, each = sum(took) / padded[chosen].sum(), 0.0
    # the first pass, from short to long, is cut otherwise
    trainer.at.epoch = 1
    later = len(trainer.steps())
    pass_s = float(each * len(batches) + per_frame * padded.sum()) + _dev_seconds(job, trainer)
    hop_s = job.features["hop_ms"] / 1000
    longest = order[0]
    return {
        "utterances": len(job.train),
        "hours": round(real * hop_s / 3600, 2),
        "symbols": len(job.vocab),
        "parameters": sum(p.numel() for p in trainer.parameters),
        "steps_a_pass": len(steps),
        "steps": len(steps) + later * (job.config.epochs - 1),
        "padding": round(100 * (1 - real / padded.sum()), 1),
        "longest": [len(batches[longest]), int(padded[longest])],
        "seconds_a_step": round(float(np.mean(each + per_frame * padded)) * job.config.accumulate, 3),
        "hours_per_hour": round(real * hop_s / pass_s, 1),
        "minutes_a_pass": round(pass_s / 60, 3),
        "minutes": round(_limited(pass_s / 60 * job.config.epochs, job.config.minutes), 3),
        "memory_mb": peak_memory_mb(),
        "disk_mb": round(_disk_bytes(trainer) / 2**20, 1),
    }


def _limited(minutes: float, most: float | None) -> float:
    return min(minutes, most) if most else minutes


def _dev_seconds(job: TrainJob, trainer: Trainer) -> float:
    """What the tests of an epoch take, from some of the dev set."""
    if not job.dev:
        return 0.0
    features = job.features
    trained = TrainedModel(trainer.model.eval(), job.vocab, features, step_seconds(trainer.model, features), {})
    some = job.dev[:: max(1, len(job.dev) // TRIED_DEV)]
    start = time.perf_counter()
    count_greedy_errors(trained, some, job.plain)
    return (time.perf_counter() - start) * sum(u.num_frames for u in job.dev) / sum(u.num_frames for u in some)


def _disk_bytes(trainer: Trainer) -> int:
    """best.safetensors and last.pt, once more while one of them is replaced, and networks kept to be averaged."""
    weights = _bytes(trainer.model.state_dict())
    optimizer = sum(_bytes(state) for state in trainer.optimizer.state_dict()["state"].values())
    last = weights + optimizer + _bytes(trainer.average.state)
    kept = trainer.config.keep_best if trainer.config.keep_best > 1 else 0
    return (1 + kept) * weights + 2 * last


def _bytes(tensors: Mapping[str, Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values() if isinstance(t, Tensor))
