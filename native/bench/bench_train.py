"""A training step of `ds2 train` on the CPU, compared with the same network built from torch's own modules.

The torch network (torch_network.py) runs on padded and on packed batches, with torch's CTC loss and the same optimizer.
All networks step in turn on the same batches; the fastest of several steps per batch counts. Times are CPU time with
one thread, wall-clock time with several.

    step     ms, mean over the batches          audio    hours of audio per hour, without padding
    ratio    speed relative to the faster of the two torch networks

    make bench-train
    python native/bench/bench_train.py [--recipe egs/asterisk] [--lang en] [--batches 20] [--repeats 3] [--threads 1 2]
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch_network import TorchNetwork
from training_batches import HOP_MS, add_options, make_batches, read_recipe

from ds2cli.config.train import TrainConfig
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.network import make_network
from ds2cli.train import optim
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

TORCH_NETWORKS = ("torch, padded", "torch, packed")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TimedTraining:
    """A network in training."""

    def __init__(self, name: str, config: TrainConfig, symbols: int, bins: int, precision: torch.dtype) -> None:
        torch.manual_seed(0)
        self.config, self.precision = config, precision
        self.model: nn.Module
        if name in TORCH_NETWORKS:
            self.model = TorchNetwork(config.model, symbols, bins, packed=name.endswith("packed"))
        else:
            model = self.model = make_network(config.model, symbols, bins)
            self.backward = Backward(
                model, GradientReducer(list(model.parameters()), ProcessGroup()), precision, "native"
            )
        self.optimizer = optim.build_optimizer(self.model, config.optim)

    def step(self, batch: Batch) -> float:
        """Take a step; return its time (s)."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        if isinstance(self.model, TorchNetwork):
            self.model.backward(batch, torch.device("cpu"), self.precision)
        else:
            self.backward([batch], seed=0)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip * int(batch.target_lengths.sum()))
        optim.take_optimizer_step(self.optimizer, self.config.optim.lr / 10)
        return clock() - start


def bench(
    config: TrainConfig, rows: Path, threads: int, precision: str, count: int, repeats: int
) -> Iterator[tuple[str, float, float]]:
    """Name, ms per step and hours of audio per hour of each network."""
    torch.set_num_threads(threads)
    symbols, bins, batches = make_batches(config, rows)
    names = (*TORCH_NETWORKS, "ds2")
    trainings = {name: TimedTraining(name, config, symbols, bins, PRECISIONS[precision]) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    audio_s = 0.0
    for batch in islice(batches, count):
        audio_s += int(batch.lengths.sum()) * HOP_MS / 1000
        # the first round warms up
        rounds = [{name: training.step(batch) for name, training in trainings.items()} for _ in range(repeats + 1)]
        for name in names:
            times[name].append(min(times_s[name] for times_s in rounds[1:]))
    for name, per_batch in times.items():
        yield name, 1e3 * float(np.mean(per_batch)), audio_s / sum(per_batch)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS, help="precisions of matrix products"
    )
    options = parser.parse_args()
    config, rows = read_recipe(options)
    print("| threads | precision | network | step, ms | audio, h/h | ratio |\n|--:|:--|:--|--:|--:|--:|")
    for threads in options.threads:
        for precision in options.precisions:
            results = list(bench(config, rows, threads, precision, options.batches, options.repeats))
            best = min(ms for name, ms, _ in results if name in TORCH_NETWORKS)
            for name, ms, speed in results:
                print(f"| {threads} | {precision} | {name} | {ms:.1f} | {speed:.0f} | {best / ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
