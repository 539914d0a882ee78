"""All-reduce of gradients, overlapped with backward (paper §4.1, synchronous data parallelism)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ds2cli.nn.distributed.process_group import ProcessGroup

BUCKET_BYTES = 4 << 20
"""Size of a gradient bucket: large enough to hide the cost of an all-reduce, small enough to start early."""


class GradientReducer:
    """Sums gradients over the processes of a group, bucket by bucket, in the order in which backward completes them.

    Every process reduces the buckets in the same order. A process without utterances, or one that computed its share
    in pieces, takes part as well: buckets not yet reduced during backward are reduced in `finish`.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], group: ProcessGroup, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self.parameters, self.group = list(parameters), group
        self.buckets = _make_buckets(self.parameters, bucket_bytes) if group.size > 1 else []
        self._bucket_of = {p: i for i, bucket in enumerate(self.buckets) for p in bucket}
        self._flat_gradients: list[Tensor] = []
        self._handles: list[Any] = []
        self._pending: list[int] = []
        self.overlap = False
        """Whether to reduce buckets during backward; set for the last backward pass of a step."""
        if group.size > 1:
            for p in self.parameters:
                p.register_post_accumulate_grad_hook(self._on_gradient_ready)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Begin a step, or compute its gradients again.

        Buckets that are already reduced keep their sums: those of the batch before it was split, with the batch
        statistics of that time.
        """
        self._pending = [len(bucket) for bucket in self.buckets]
        self.overlap = False

    def finish(self, totals: Tensor) -> None:
        """Replace every gradient, and `totals` (a few float64 numbers), by its sum over the processes.

        PeerLostError when one of them has exited.
        """
        self.overlap = False
        if self.group.size == 1:
            return
        while len(self._handles) < len(self.buckets):
            self._reduce_next_bucket()
        totals_handle = self.group.all_reduce_async(totals)
        for bucket, flat, handle in zip(self.buckets, self._flat_gradients, self._handles, strict=True):
            self.group.wait(handle)
            parts = torch.split(flat, [p.numel() for p in bucket])
            for p, part in zip(bucket, parts, strict=True):
                p.grad = part.view_as(p)
        self.group.wait(totals_handle)
        self._handles, self._flat_gradients = [], []

    def _on_gradient_ready(self, p: torch.nn.Parameter) -> None:
        if not self.overlap:
            return
        self._pending[self._bucket_of[p]] -= 1
        while len(self._handles) < len(self.buckets) and self._pending[len(self._handles)] <= 0:
            self._reduce_next_bucket()

    def _reduce_next_bucket(self) -> None:
        bucket = self.buckets[len(self._handles)]
        flat = torch.cat([torch.zeros_like(p).view(-1) if p.grad is None else p.grad.reshape(-1) for p in bucket])
        self._flat_gradients.append(flat)
        self._handles.append(self.group.all_reduce_async(flat))


def _make_buckets(parameters: Sequence[torch.nn.Parameter], max_bytes: int) -> list[list[torch.nn.Parameter]]:
    """The parameters from the last layer to the first, in buckets of at most `max_bytes` or of one parameter."""
    buckets: list[list[torch.nn.Parameter]] = [[]]
    size = 0
    for p in reversed(parameters):
        if buckets[-1] and size + p.numel() * p.element_size() > max_bytes:
            buckets.append([])
            size = 0
        buckets[-1].append(p)
        size += p.numel() * p.element_size()
    return buckets
