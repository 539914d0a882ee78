"""CTC's share of the time of a training step on the CPU, with torch's loss and with the native one.

Steps are those of `ds2 train` on the batches of a recipe (egs/asterisk after its stage 2), or on noise of the same
shape if its data are missing. Each loss trains its own network, and the two step in turn; the fastest of several
steps per batch counts. Times are CPU time with one thread, wall-clock time with several.

    step, ctc    ms of a complete step, and of its loss (forward and backward): means over the batches

    python native/bench/bench_ctc_share.py [--recipe egs/asterisk] [--lang en] [--batches 20] [--repeats 3]
                                           [--threads 1 2]
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from training_batches import add_options, make_batches, read_recipe

from ds2cli.config.train import TrainConfig
from ds2cli.nn.ctc.loss import ctc_loss
from ds2cli.nn.network import make_network
from ds2cli.train import optim
from ds2cli.train.batches import Batch

IMPLEMENTATIONS: tuple[Literal["torch", "native"], ...] = ("torch", "native")


class TimedTraining:
    """A network in training with one implementation of the loss."""

    def __init__(
        self, config: TrainConfig, symbols: int, bins: int, implementation: Literal["torch", "native"]
    ) -> None:
        torch.manual_seed(0)
        self.config, self.implementation = config, implementation
        self.model = make_network(config.model, symbols, bins)
        self.optimizer = optim.build_optimizer(self.model, config.optim)
        self.bfloat16 = config.precision == "bfloat16"

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step as `ds2 train` does; return the time of the step and of its loss, forward plus backward (s)."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits, steps = self.model(batch.feats, batch.lengths)
        leaf = logits.detach().requires_grad_()
        loss_start = clock()
        lengths = steps, batch.target_lengths
        ctc_loss(leaf, batch.targets, *lengths, reduction="sum", implementation=self.implementation).backward()
        ctc_s = clock() - loss_start
        logits.backward(leaf.grad)
        torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.optim.clip * int(batch.target_lengths.sum())
        )
        self.optimizer.step()
        return clock() - start, ctc_s


def bench(config: TrainConfig, rows: Path, threads: int, count: int, repeats: int) -> Iterator[str]:
    """The table rows of one thread count."""
    torch.set_num_threads(threads)
    symbols, bins, batches = make_batches(config, rows)
    trainings = {name: TimedTraining(config, symbols, bins, name) for name in IMPLEMENTATIONS}
    times: dict[str, list[list[float]]] = {name: [] for name in IMPLEMENTATIONS}  # step and loss, per batch
    for batch in islice(batches, count):
        # the first round warms up; the fastest step and the fastest loss may be from different rounds
        rounds = [{name: training.step(batch) for name, training in trainings.items()} for _ in range(repeats + 1)]
        for name in trainings:
            times[name].append([min(times_s[name][part] for times_s in rounds[1:]) for part in (0, 1)])
    for name, per_batch in times.items():
        step_ms, ctc_ms = 1e3 * np.mean(per_batch, axis=0)
        yield f"| {threads} | {name} | {step_ms:.1f} | {ctc_ms:.2f} | {100 * ctc_ms / step_ms:.1f} % |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    config, rows = read_recipe(options)
    print("| threads | loss | step, ms | ctc, ms | share |\n|--:|:--|--:|--:|--:|")
    for threads in options.threads:
        for row in bench(config, rows, threads, options.batches, options.repeats):
            print(row, flush=True)


if __name__ == "__main__":
    main()
