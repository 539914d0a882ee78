"""What the CTC benchmarks run: batches, and every loss on them from logits to the gradient of the logits.

T frames, N utterances, V symbols, L labels. A step is one loss and gradient as a trainer has them: autograd and the
memory of the gradient included, softmax included, and for torch the softmax's own gradient.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ds2cli.nn.ctc.loss import ctc_loss

Step = Callable[[], tuple[Tensor, Tensor]]
"""Gives the summed cost and the gradient of the logits (T, N, V)."""

SEED = 20157


class Size(NamedTuple):
    """A batch's shape. full: every utterance is T frames long."""

    N: int
    T: int
    L: int
    V: int
    full: bool = False

    def __str__(self) -> str:
        return f"| {self.N:3d} | {self.T:4d}{' all' * self.full} | {self.L:3d} | {self.V:5d} "


class Batch(NamedTuple):
    """logits: (T, N, V) float32; targets: (N, L) int64; lengths: (N,) int64."""

    logits: Tensor
    targets: Tensor
    input_lengths: Tensor
    target_lengths: Tensor

    @property
    def cells(self) -> int:
        """Cells of the trellises, 2 L + 1 for each frame that counts."""
        return int((self.input_lengths * (2 * self.target_lengths + 1)).sum())

    @property
    def flat_targets(self) -> Tensor:
        """The labels of all utterances one after the other, int32, on the CPU."""
        rows = zip(self.targets.cpu(), self.target_lengths.tolist(), strict=True)
        return torch.cat([row[:length] for row, length in rows]).int()

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        return Batch(*(x.to(device) for x in self))


def make(size: Size) -> Batch:
    """Noise in which the blank stands out, and each label once, evenly spread: as a trained network sees speech.

    Utterances are 60 to 100 % of T frames, and their labels 80 to 100 % of the same share of L.
    """
    N, T, L, V, full = size
    rng = np.random.default_rng(SEED)
    logits = rng.normal(0, 1.5, (T, N, V)).astype(np.float32)
    logits[:, :, 0] += 6
    frames = np.sort(rng.integers(int(0.6 * T), T + 1, N))[::-1].copy()
    frames[0] = T
    if full:
        frames[:] = T
    lengths = np.maximum(1, (L * frames / T * rng.uniform(0.8, 1.0, N)).astype(int))
    targets = np.zeros((N, lengths.max()), int)
    for n, length in enumerate(lengths):
        targets[n, :length] = rng.integers(1, V, length)
        logits[np.linspace(2, frames[n] - 3, length).astype(int), n, targets[n, :length]] += 9
    return Batch(*(torch.from_numpy(x) for x in (logits, targets, frames, lengths)))


def exact(batch: Batch) -> tuple[Tensor, Tensor]:
    """Costs (N,) and their gradient (T, N, V) by torch in float64."""
    x = batch.logits.double().requires_grad_()
    lengths = batch.input_lengths.cpu(), batch.target_lengths.cpu()
    costs = functional.ctc_loss(x.log_softmax(2), batch.targets, *lengths, reduction="none")
    return costs.detach(), torch.autograd.grad(costs.sum(), x)[0]


def worst_cost(found: Tensor, costs: Tensor) -> float:
    """The largest relative difference of costs."""
    return float(((found - costs) / costs).abs().max())


def worst_gradient(found: Tensor, gradient: Tensor) -> float:
    """The largest absolute difference of gradients."""
    return float((found - gradient).abs().max())


def require_agreement(batch: Batch, costs: Tensor, gradient: Tensor) -> None:
    """AssertionError unless our costs are within 1e-5 relative and our gradients within 1e-5 absolute."""
    x = batch.logits.detach().requires_grad_()
    found = ctc_loss(x, *batch[1:], reduction="none")
    assert worst_cost(found.detach(), costs) < 1e-5, "the costs differ: nothing to time"
    worst = worst_gradient(torch.autograd.grad(found.sum(), x)[0], gradient)
    assert worst < 1e-5, f"the gradients differ by {worst:.1g}: nothing to time"


def ours(batch: Batch, dtype: torch.dtype = torch.float32) -> Step:
    """`ctc_loss` of this package."""
    x = batch.logits.to(dtype).detach().requires_grad_()
    return backward_of(x, lambda: ctc_loss(x, *batch[1:], reduction="sum"))


def torch_loss(batch: Batch) -> Step:
    """torch's own kernels; on a GPU they like their lengths on the CPU."""
    x = batch.logits.detach().requires_grad_()
    lengths = batch.input_lengths.cpu(), batch.target_lengths.cpu()

    def loss() -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return functional.ctc_loss(x.log_softmax(2), batch.targets, *lengths, reduction="sum")

    return backward_of(x, loss)


def cudnn_loss(batch: Batch) -> Step:
    """cuDNN through torch. RuntimeError where torch would not take it: labels beyond 255, a blank other than 0.

    Lengths as numbers lead to cuDNN's older interface, which wants full utterances and targets on the CPU; lengths as
    int32 tensors lead to its newer one, which wants all on the GPU.
    """
    x = batch.logits.detach().requires_grad_()
    targets, lengths = batch.flat_targets, (batch.input_lengths, batch.target_lengths)
    full = bool((batch.input_lengths == len(x)).all())
    if full:
        given = [tuple(length.tolist()) for length in lengths]
    else:
        targets, given = targets.to(x.device), [length.int() for length in lengths]
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True):
        if not torch._use_cudnn_ctc_loss(x, targets, *given, 0):
            raise RuntimeError("torch does not take cuDNN for this batch")

    def loss() -> Tensor:
        with torch.backends.cudnn.flags(enabled=True):
            return torch.ctc_loss(x.log_softmax(2), targets, *given, 0, 2, False)  # blank, sum, zero_infinity

    return backward_of(x, loss)


def backward_of(x: Tensor, loss: Callable[[], Tensor]) -> Step:
    """A step of a loss that autograd knows."""

    def step() -> tuple[Tensor, Tensor]:
        x.grad = None
        cost = loss()
        cost.backward()
        assert x.grad is not None
        return cost.detach(), x.grad

    return step


class Options(c.Structure):
    """warp-ctc's ctcOptions for the CPU; its threads are in a union as wide as a pointer."""

    _fields_ = (("location", c.c_int), ("threads", c.c_size_t), ("blank", c.c_int))


def warp_ctc(library: c.CDLL, batch: Batch, threads: int) -> Step:
    """warp-ctc by its C interface, called as its bindings for torch do: on a new gradient of zeros."""
    library.ctcGetStatusString.restype = c.c_char_p
    x, options = batch.logits, Options(0, threads, 0)
    N, V = x.shape[1:]
    frames, labels, targets = batch.input_lengths.int(), batch.target_lengths.int(), batch.flat_targets
    costs, size = torch.empty(N), c.c_size_t()

    def call(name: str, *arguments: object) -> None:
        arrays = [c.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments]
        if status := getattr(library, name)(*arrays):
            raise RuntimeError(f"warp-ctc: {library.ctcGetStatusString(status).decode()}")

    call("get_workspace_size", labels, frames, V, N, options, c.byref(size))
    workspace = torch.empty(size.value, dtype=torch.uint8)

    def step() -> tuple[Tensor, Tensor]:
        gradient = torch.zeros_like(x)
        call("compute_ctc_loss", x, gradient, targets, labels, frames, V, N, costs, workspace, options)
        return costs.sum(), gradient

    return step
