"""What processes do together in the tests; in a file of its own, as other processes must find it."""

from __future__ import annotations

import json
import os
import signal

import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import Ds2Error
from ds2cli.nn import workers
from ds2cli.nn.backward import Backward
from ds2cli.nn.batches import Batch
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.norm import SequenceNorm
from ds2cli.nn.reduce import Reducer

BINS, SYMBOLS = 6, 5
SMALL = ModelConfig(channels=(8,), kernels=(3,), strides=(2,), rnn_layers=2, rnn_size=8, fc_layers=1, fc_size=8)


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

    def __init__(self, group=None, sync=False, config=SMALL, double=False):
        torch.manual_seed(7)
        self.group = group or workers.Group()
        self.model = DeepSpeech2(config, SYMBOLS, BINS)
        if double:
            self.model.double()
        for module in self.model.modules():
            if isinstance(module, SequenceNorm) and sync:
                module.group = self.group
        self.reducer = Reducer(list(self.model.parameters()), self.group)
        self.backward = Backward(self.model, self.reducer, torch.float32, "torch")

    def gradients(self, batches):
        """The sums over the processes: gradients by name, running statistics, and the cost."""
        costs = self.backward(batches, seed=1)
        tail = torch.tensor([costs.cost, costs.counted, costs.pieces - len(batches)], dtype=torch.float64)
        self.reducer.finish(tail)
        self.out = costs.out
        return {name: p.grad.clone() for name, p in self.model.named_parameters()}, self.statistics(), tail.tolist()

    def statistics(self):
        return {name: value.clone() for name, value in self.model.named_buffers()}


def fails(model, where, *, times):
    """Have the network lack memory so many times: where = forward, or backward, halfway through it."""
    left = [times]

    def out(*_):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("out of memory, says the test")

    if where == "forward":
        return model.rnns[0].register_forward_hook(out)
    return model.rnns[0].project.weight.register_hook(out)



def steps(shares, sync, bucket, lacking, folder, group):
    """What a process does in a test: sum the gradients of its shares, and write what came of it."""
    from ds2cli.nn import reduce

    reduce.BUCKET_BYTES = bucket
    member = Member(group, sync)
    if lacking and group.rank == lacking[0]:
        fails(member.model, lacking[1], times=1)
    mine = [batch(*share[group.rank]) for share in shares]
    found = [member.gradients(mine), member.gradients(mine)]
    torch.save([*found, member.out], f"{folder}/{group.rank}.pt")


def in_pairs(tmp, size, arguments):
    """Run `steps` on so many processes; what each of them found."""
    group = workers.start(size, torch.device("cpu"), steps, (*arguments, str(tmp)))
    try:
        steps(*arguments, str(tmp), group)
    finally:
        group.close()
    return [torch.load(tmp / f"{rank}.pt") for rank in range(size)]


def dies(how, group):
    """Add with the others, then end in one way or the other."""
    group.add(torch.ones(3))
    if group.rank == 0:
        group.add(torch.ones(3))
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "error":
        raise Ds2Error("train: what the process had to say")


class DeadOnArrival:
    """Kills the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (3,)


def says(_what, group):
    """Tell where the processes are, then wait for what never comes."""
    found = group.together({str(group.rank): os.getpid()})
    if group.rank == 0:
        print(json.dumps(found), flush=True)
        import time

        time.sleep(60)
    group.add(torch.ones(1))
