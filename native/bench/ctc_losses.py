"""Batches and CTC losses for the benchmarks: ours, torch's, cuDNN's and warp-ctc's, from logits to their gradient.

T frames, N utterances, V symbols, L labels. A step computes one loss and its gradient as in training: it includes
autograd, the allocation of the gradient, and the softmax with its gradient.
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
"""Returns the summed cost and the gradient of the logits (T, N, V)."""

SEED = 20157


class Size(NamedTuple):
    """The shape of a batch. full: every utterance has T frames."""

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
        """Number of trellis cells: 2 L + 1 per frame, without padding."""
        return int((self.input_lengths * (2 * self.target_lengths + 1)).sum())

    @property
    def flat_targets(self) -> Tensor:
        """The labels of all utterances, concatenated; int32, on the CPU."""
        rows = zip(self.targets.cpu(), self.target_lengths.tolist(), strict=True)
        return torch.cat([row[:length] for row, length in rows]).int()

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        return Batch(*(x.to(device) for x in self))


def make_batch(size: Size) -> Batch:
    """Logits like those of a trained network: noise, a dominant blank, and one peak per label, evenly spread.

    Utterances have 60 to 100 % of T frames, and 80 to 100 % of a proportional number of labels.
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


def compute_reference(batch: Batch) -> tuple[Tensor, Tensor]:
    """Costs (N,) and their gradient (T, N, V), by torch in float64."""
    x = batch.logits.double().requires_grad_()
    lengths = batch.input_lengths.cpu(), batch.target_lengths.cpu()
    costs = functional.ctc_loss(x.log_softmax(2), batch.targets, *lengths, reduction="none")
    return costs.detach(), torch.autograd.grad(costs.sum(), x)[0]


def max_cost_error(computed: Tensor, costs: Tensor) -> float:
    """The largest relative error of costs."""
    return float(((computed - costs) / costs).abs().max())


def max_gradient_error(computed: Tensor, gradient: Tensor) -> float:
    """The largest absolute error of a gradient."""
    return float((computed - gradient).abs().max())


def check_agreement(batch: Batch, costs: Tensor, gradient: Tensor) -> None:
    """Raise AssertionError if the relative error of our costs or the absolute error of our gradient exceeds 1e-5."""
    x = batch.logits.detach().requires_grad_()
    own_costs = ctc_loss(x, *batch[1:], reduction="none")
    assert max_cost_error(own_costs.detach(), costs) < 1e-5, "costs differ from the reference: not timed"
    worst = max_gradient_error(torch.autograd.grad(own_costs.sum(), x)[0], gradient)
    assert worst < 1e-5, f"the gradient differs from the reference by {worst:.1g}: not timed"


def ds2_loss(batch: Batch, dtype: torch.dtype = torch.float32) -> Step:
    """`ctc_loss` of this package."""
    x = batch.logits.to(dtype).detach().requires_grad_()
    return make_step(x, lambda: ctc_loss(x, *batch[1:], reduction="sum"))


def torch_loss(batch: Batch) -> Step:
    """torch's own kernels, which are faster with lengths on the CPU, also on a GPU."""
    x = batch.logits.detach().requires_grad_()
    lengths = batch.input_lengths.cpu(), batch.target_lengths.cpu()

    def loss() -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return functional.ctc_loss(x.log_softmax(2), batch.targets, *lengths, reduction="sum")

    return make_step(x, loss)


def cudnn_loss(batch: Batch) -> Step:
    """cuDNN through torch. RuntimeError if torch does not use cuDNN: more than 255 labels, or a blank other than 0.

    Lengths as numbers select cuDNN's older interface, which needs utterances of full length and targets on the CPU;
    lengths as int32 tensors select the newer one, which needs all arguments on the GPU.
    """
    x = batch.logits.detach().requires_grad_()
    targets, lengths = batch.flat_targets, (batch.input_lengths, batch.target_lengths)
    full = bool((batch.input_lengths == len(x)).all())
    if full:
        length_arguments = [tuple(length.tolist()) for length in lengths]
    else:
        targets, length_arguments = targets.to(x.device), [length.int() for length in lengths]
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True):
        if not torch._use_cudnn_ctc_loss(x, targets, *length_arguments, 0):
            raise RuntimeError("torch does not use cuDNN for this batch")

    def loss() -> Tensor:
        with torch.backends.cudnn.flags(enabled=True):
            return torch.ctc_loss(
                x.log_softmax(2), targets, *length_arguments, 0, 2, False
            )  # blank, sum, zero_infinity

    return make_step(x, loss)


def make_step(x: Tensor, loss: Callable[[], Tensor]) -> Step:
    """The step of a loss that autograd can differentiate."""

    def step() -> tuple[Tensor, Tensor]:
        x.grad = None
        cost = loss()
        cost.backward()
        assert x.grad is not None
        return cost.detach(), x.grad

    return step


class Options(c.Structure):
    """warp-ctc's ctcOptions for the CPU; the thread count is in a union with a pointer, hence size_t."""

    _fields_ = (("location", c.c_int), ("threads", c.c_size_t), ("blank", c.c_int))


def warp_ctc(library: c.CDLL, batch: Batch, threads: int) -> Step:
    """warp-ctc through its C interface, called as by its torch binding: with a new gradient filled with zeros."""
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
