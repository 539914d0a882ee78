"""What processes do together in the tests; in a file of its own, as other processes must find it."""

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


def batch(*lengths, seed=0):
    """Utterances of so many frames, longest first, each the same in whatever batch it is; with labels."""
    lengths = sorted(lengths, reverse=True)
    feats = torch.zeros(len(lengths), max(lengths, default=0), BINS)
    targets = torch.zeros(len(lengths), max((n // 4 for n in lengths), default=0), dtype=torch.int64)
    for i, n in enumerate(lengths):
        made = torch.Generator().manual_seed(1000 * seed + n)
        feats[i, :n] = torch.randn(n, BINS, generator=made)
        targets[i, : n // 4] = torch.randint(1, SYMBOLS, (n // 4,), generator=made)
    counts = torch.tensor([n // 4 for n in lengths], dtype=torch.int64)
    return Batch([f"{n}" for n in lengths], feats, torch.tensor(lengths, dtype=torch.int64), targets, counts)


class Member:
    """A network with what computes and sums its gradients."""

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
        """The sums over the processes: gradients by name, running statistics, and the cost."""
        costs = self.backward(batches, seed=1)
        tail = torch.tensor([costs.cost, costs.counted, costs.pieces - len(batches)], dtype=torch.float64)
        self.reducer.finish(tail)
        self.out = costs.out
        statistics = {name: value.clone() for name, value in self.model.named_buffers()}
        return {name: p.grad.clone() for name, p in self.model.named_parameters()}, statistics, tail.tolist()


def lacks(model, times, where="forward", rows=0, frames=0, at_least=False):
    """Have the network lack memory so many times: in forward, or in backward with half of it done.

    rows, frames: only for batches of so many utterances (or more), whose longest has so many frames.
    """
    left, fits = [times], [True]

    def look(_model, given):
        feats = given[0]
        right = len(feats) >= rows if at_least else rows in (0, len(feats))
        fits[0] = not (right and feats.shape[1] >= frames)

    def out(*_):
        if left[0] and not fits[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("out of memory, says the test")

    model.register_forward_pre_hook(look)
    if where == "forward":
        model.rnns[0].register_forward_hook(out)
    else:
        model.rnns[0].project.weight.register_hook(out)


def steps(group, shares, sync=False, bucket=BUCKET_BYTES, lacking=(), where="forward"):
    """Gradients of this process's share of each batch, summed; twice, as a second step must not see the first.

    shares: of each batch, for each process, the lengths of its utterances. lacking: processes that lack memory once.
    """
    member = Member(group, sync, double=True, bucket=bucket)
    mine = [batch(*share[group.rank]) for share in shares]
    if group.rank in lacking:
        lacks(member.model, 1, where)
    try:
        return [member.gradients(mine), member.gradients(mine), member.out]
    except Ds2Error as e:
        return str(e)


def norms(group, rows, seed=3):
    """What the norm makes of this process's rows, in training and then not: outputs, gradients, statistics."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(rows), 4, generator=made, dtype=torch.float64) * 3 + 1
    dy = torch.randn(sum(rows), 4, generator=made, dtype=torch.float64)
    norm = SequenceNorm(4).double()
    norm.group = group
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    parts = [t.split(list(rows))[group.rank] for t in (x, dy)] if group.size > 1 else [x, dy]
    own = parts[0].clone().requires_grad_()
    y = norm(own)
    y.backward(parts[1])
    norm.eval()
    found = [y.detach(), own.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
    return [*found, norm.num_batches_tracked, norm(parts[0]).detach()]


def run_cases(cases, folder, group):
    """Write what each case finds on this process."""
    found = {name: {"steps": steps, "norms": norms}[what](group, *given) for name, (what, *given) in cases.items()}
    torch.save(found, f"{folder}/{group.rank}.pt")


def together(size, cases, folder):
    """Run cases on so many processes; what each of them found."""
    group = process_group.start(size, torch.device("cpu"), run_cases, (cases, str(folder)))
    try:
        run_cases(cases, str(folder), group)
    finally:
        group.close()
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


def dies(how, group):
    """Add with the others, then end in one way or the other."""
    group.all_reduce(torch.ones(3))
    if group.rank == 0:
        group.all_reduce(torch.ones(3))
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "unheard":
        # what it started still holds its connections, so gloo sees no end
        if os.fork() == 0:
            time.sleep(40)
        os._exit(1)
    if how == "error":
        raise Ds2Error("train: what the process had to say")


class DeadOnArrival:
    """Kills the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (3,)


def says(_what, group):
    """Tell where the processes are, then wait for what never comes."""
    found = group.all_gather({str(group.rank): os.getpid()})
    if group.rank == 0:
        print(json.dumps(found), flush=True)
        time.sleep(60)
    group.all_reduce(torch.ones(1))
