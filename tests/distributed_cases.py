"""Functions that test processes run as a group; a separate module, because the started processes import it."""

from __future__ import annotations

import json
import os
import signal
import time

import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import Ds2Error
from ds2cli.nn.distributed import process_group
from ds2cli.nn.distributed.gradients import BUCKET_BYTES, GradientReducer
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.norm import SequenceNorm
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

BINS, SYMBOLS = 6, 5
SMALL = ModelConfig(
    channels=(8,), kernels=(3,), strides=(2,), rnn_layers=2, rnn_size=8, fc_layers=1, fc_size=8, dropout=0.0
)


def make_batch(*lengths, seed=0):
    """Utterances of these lengths (frames), longest first, with labels; a length gives the same data in every batch."""
    lengths = sorted(lengths, reverse=True)
    feats = torch.zeros(len(lengths), max(lengths, default=0), BINS)
    targets = torch.zeros(len(lengths), max((n // 4 for n in lengths), default=0), dtype=torch.int64)
    for i, n in enumerate(lengths):
        generator = torch.Generator().manual_seed(1000 * seed + n)
        feats[i, :n] = torch.randn(n, BINS, generator=generator)
        targets[i, : n // 4] = torch.randint(1, SYMBOLS, (n // 4,), generator=generator)
    counts = torch.tensor([n // 4 for n in lengths], dtype=torch.int64)
    return Batch([f"{n}" for n in lengths], feats, torch.tensor(lengths, dtype=torch.int64), targets, counts)


class TrainingProcess:
    """A network with the backward pass and gradient reducer of one process."""

    def __init__(self, group=None, sync=False, config=SMALL, double=False, bucket=BUCKET_BYTES):
        torch.manual_seed(7)
        self.group = group or process_group.ProcessGroup()
        self.model = DeepSpeech2(config, SYMBOLS, BINS)
        if double:
            self.model.double()
        for module in self.model.modules():
            if isinstance(module, SequenceNorm) and sync:
                module.group = self.group
        self.reducer = GradientReducer(list(self.model.parameters()), self.group, bucket)
        self.backward = Backward(self.model, self.reducer, torch.float32, "torch")

    def gradients(self, batches):
        """Sums over the processes: gradients by name; also running statistics, and cost, labels and extra pieces."""
        costs = self.backward(batches, seed=1)
        totals = torch.tensor([costs.cost, costs.counted, costs.pieces - len(batches)], dtype=torch.float64)
        self.reducer.finish(totals)
        self.skipped = costs.skipped
        statistics = {name: value.clone() for name, value in self.model.named_buffers()}
        return {name: p.grad.clone() for name, p in self.model.named_parameters()}, statistics, totals.tolist()


def run_out_of_memory(model, times, where="forward", rows=0, frames=0, at_least=False):
    """Make the network raise OutOfMemoryError `times` times: in forward, or halfway through backward.

    rows, frames: only for batches of `rows` utterances (or more, with at_least) and at least `frames` frames.
    """
    left, fits = [times], [True]

    def measure(_model, arguments):
        feats = arguments[0]
        rows_match = len(feats) >= rows if at_least else rows in (0, len(feats))
        fits[0] = not (rows_match and feats.shape[1] >= frames)

    def fail(*_):
        if left[0] and not fits[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("out of memory (test)")

    model.register_forward_pre_hook(measure)
    if where == "forward":
        model.rnns[0].register_forward_hook(fail)
    else:
        model.rnns[0].project.weight.register_hook(fail)


def compute_steps(group, shares, sync=False, bucket=BUCKET_BYTES, failing=(), where="forward"):
    """Two steps with this process's share of each batch (the second must not depend on the first): summed gradients.

    shares: per batch and process, the lengths of its utterances. failing: ranks that run out of memory once.
    """
    process = TrainingProcess(group, sync, double=True, bucket=bucket)
    batches = [make_batch(*share[group.rank]) for share in shares]
    if group.rank in failing:
        run_out_of_memory(process.model, 1, where)
    try:
        return [process.gradients(batches), process.gradients(batches), process.skipped]
    except Ds2Error as e:
        return str(e)


def compute_norms(group, rows, seed=3):
    """The norm on this process's rows, in training and then in evaluation: outputs, gradients, statistics."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(rows), 4, generator=generator, dtype=torch.float64) * 3 + 1
    dy = torch.randn(sum(rows), 4, generator=generator, dtype=torch.float64)
    norm = SequenceNorm(4).double()
    norm.group = group
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    x_part, dy_part = [t.split(list(rows))[group.rank] for t in (x, dy)] if group.size > 1 else [x, dy]
    leaf = x_part.clone().requires_grad_()
    y = norm(leaf)
    y.backward(dy_part)
    norm.eval()
    results = [y.detach(), leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
    return [*results, norm.num_batches_tracked, norm(x_part).detach()]


def run_cases(cases, folder, group):
    """Run cases on this process and save their results."""
    functions = {"steps": compute_steps, "norms": compute_norms}
    results = {name: functions[function](group, *arguments) for name, (function, *arguments) in cases.items()}
    torch.save(results, f"{folder}/{group.rank}.pt")


def run_processes(size, cases, folder):
    """Run cases on `size` processes; returns the results of each."""
    group = process_group.start_processes(size, torch.device("cpu"), run_cases, (cases, str(folder)))
    try:
        run_cases(cases, str(folder), group)
    finally:
        group.close()
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


def exit_early(cause, group):
    """All-reduce once with the others, then exit in the given way on rank 1."""
    group.all_reduce(torch.ones(3))
    if group.rank == 0:
        group.all_reduce(torch.ones(3))
        return
    if cause == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cause == "unnoticed":
        # its child still holds the connections, so gloo does not notice the exit
        if os.fork() == 0:
            time.sleep(40)
        os._exit(1)
    if cause == "error":
        raise Ds2Error("train: the error of the process")


class ExitWhenUnpickled:
    """Ends the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (3,)


def report_pids(_unused, group):
    """Print the process ids on rank 0, then wait; the other ranks wait for rank 0."""
    pids = group.all_gather({str(group.rank): os.getpid()})
    if group.rank == 0:
        print(json.dumps(pids), flush=True)
        time.sleep(60)
    group.all_reduce(torch.ones(1))
