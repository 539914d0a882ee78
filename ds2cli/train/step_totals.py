"""Sums of one step over the processes of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.train.backward import LossSums
from ds2cli.train.batches import Batch
from ds2cli.train.events import Request


@dataclass(frozen=True)
class StepTotals:
    """One step on all processes.

    cost: nats.  labels, counted: labels and utterances that the cost includes.  any_skipped: whether utterances were
    left out.  non_finite: whether a loss was not finite.  cut: whether a batch was computed in pieces.  frames,
    padding: frames without and of padding.  request, elapsed_s: those of rank 0.  costs: nats of each utterance.
    """

    cost: float
    labels: int
    counted: int
    any_skipped: bool
    non_finite: bool
    cut: bool
    frames: int
    padding: int
    request: Request
    elapsed_s: float
    costs: tuple[float, ...] = ()


def reduce_step(
    reducer: GradientReducer,
    local_sums: LossSums,
    batches: Sequence[Batch],
    request: int,
    elapsed_s: float,
    costs: Sequence[float] = (),
) -> StepTotals:
    """Sum the gradients and the costs over all processes; `local_sums` and `batches` are this process's share.

    request: NONE except on rank 0.  costs: of all utterances of the step, 0 for those of other processes.
    """
    group = reducer.group
    frames = sum(int(b.lengths.sum()) for b in batches)
    padding = sum(b.feats.shape[0] * b.feats.shape[1] for b in batches) - frames
    counts = [
        local_sums.labels,
        local_sums.counted,
        len(local_sums.skipped),
        local_sums.non_finite,
        local_sums.pieces - len(batches),
    ]
    # sums rather than a separate broadcast: only rank 0 contributes to the last two
    numbers = [local_sums.cost, *counts, frames, padding, request, elapsed_s if group.rank == 0 else 0.0, *costs]
    totals = torch.tensor(numbers, dtype=torch.float64, device=group.device)
    reducer.finish(totals)
    cost, labels, counted, skipped, non_finite, cut, frames, padding, request, elapsed_s, *costs = totals.tolist()
    return StepTotals(
        cost,
        int(labels),
        int(counted),
        skipped > 0,
        non_finite > 0,
        cut > 0,
        int(frames),
        int(padding),
        Request(int(request)),
        elapsed_s,
        tuple(costs),
    )
