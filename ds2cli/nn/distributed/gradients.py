"""Summing gradients over processes while backward still computes others (paper §4.1, synchronous data parallelism)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ds2cli.nn.distributed.process_group import ProcessGroup

BUCKET_BYTES = 4 << 20
"""Gradients sent in one message: large enough that a message's own cost is nothing, small enough to start early."""


class GradientReducer:
    """Sums over the processes of a group, bucket after bucket, in the order in which backward is done with them.

    Buckets leave in the same order everywhere, so a process without utterances, or one that computed its share in
    pieces, takes part all the same: what has not left by itself leaves in `finish`.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], group: ProcessGroup, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self.parameters, self.group = list(parameters), group
        self.buckets = _buckets(self.parameters, bucket_bytes) if group.size > 1 else []
        self._bucket_of = {p: i for i, bucket in enumerate(self.buckets) for p in bucket}
        self._flats: list[Tensor] = []
        self._works: list[Any] = []
        self._missing: list[int] = []
        self.armed = False
        """Whether gradients leave as backward makes them: in its last pass of a step."""
        if group.size > 1:
            for p in self.parameters:
                p.register_post_accumulate_grad_hook(self._done_with)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Begin a step, or compute its gradients anew.

        What has left by then stays: the sums of a batch that was not cut yet, whose batch statistics are others.
        """
        self._missing = [len(bucket) for bucket in self.buckets]
        self.armed = False

    def finish(self, tail: Tensor) -> None:
        """Make every gradient, and `tail` (a few float64 numbers), the sum over the processes.

        Ds2Error when one of them has gone.
        """
        self.armed = False
        if self.group.size == 1:
            return
        while len(self._works) < len(self.buckets):
            self._send()
        last = self.group.all_reduce_async(tail)
        for bucket, flat, work in zip(self.buckets, self._flats, self._works, strict=True):
            self.group.wait(work)
            parts = torch.split(flat, [p.numel() for p in bucket])
            for p, part in zip(bucket, parts, strict=True):
                p.grad = part.view_as(p)
        self.group.wait(last)
        self._works, self._flats = [], []

    def _done_with(self, p: torch.nn.Parameter) -> None:
        if not self.armed:
            return
        self._missing[self._bucket_of[p]] -= 1
        while len(self._works) < len(self.buckets) and self._missing[len(self._works)] <= 0:
            self._send()

    def _send(self) -> None:
        bucket = self.buckets[len(self._works)]
        flat = torch.cat([torch.zeros_like(p).view(-1) if p.grad is None else p.grad.reshape(-1) for p in bucket])
        self._flats.append(flat)
        self._works.append(self.group.all_reduce_async(flat))


def _buckets(parameters: Sequence[torch.nn.Parameter], most: int) -> list[list[torch.nn.Parameter]]:
    """The parameters from the last layer to the first, in messages of at most so many bytes, or of one parameter."""
    buckets: list[list[torch.nn.Parameter]] = [[]]
    size = 0
    for p in reversed(parameters):
        if buckets[-1] and size + p.numel() * p.element_size() > most:
            buckets.append([])
            size = 0
        buckets[-1].append(p)
        size += p.numel() * p.element_size()
    return buckets
