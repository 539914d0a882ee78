"""The share of a training step on the CPU that CTC takes, with torch's loss and with the native one.

Steps are those of `ds2 train` on real batches of a recipe (egs/asterisk after its stage 2), or, where its data are not
there, on noise of the same shape. Both losses step in turn, each on a network of its own; of several steps on a batch
the quickest counts. One thread is timed by the processor's clock, several by the wall's.

    step, ctc    ms of a whole step and of its loss, forward and backward: means over the batches

    python native/bench/bench_step.py [--recipe egs/asterisk] [--lang en] [--batches 20] [--repeats 3] [--threads 1 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import recipe
import torch

from ds2cli.config.train import TrainConfig
from ds2cli.nn.ctc.loss import ctc_loss
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.train import optim
from ds2cli.train.batches import Batch

IMPLEMENTATIONS: tuple[Literal["torch", "native"], ...] = ("torch", "native")


class Learner:
    """A network in training with one implementation of the loss."""

    def __init__(
        self, config: TrainConfig, symbols: int, bins: int, implementation: Literal["torch", "native"]
    ) -> None:
        torch.manual_seed(0)
        self.config, self.implementation = config, implementation
        self.model = DeepSpeech2(config.model, symbols, bins)
        self.optimizer = optim.build(self.model, config.optim)
        self.half = optim.precision(config.precision, torch.device("cpu")) == torch.bfloat16

    def step(self, batch: Batch) -> tuple[float, float]:
        """As `ds2 train` takes it; returns the time (s) of the whole and of the loss, whose halves are put together."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits, steps = self.model(batch.feats, batch.lengths)
        leaf = logits.detach().requires_grad_()
        before = clock()
        lengths = steps, batch.target_lengths
        ctc_loss(leaf, batch.targets, *lengths, reduction="sum", implementation=self.implementation).backward()
        ctc = clock() - before
        logits.backward(leaf.grad)
        torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.optim.clip * int(batch.target_lengths.sum())
        )
        self.optimizer.step()
        return clock() - start, ctc


def bench(config: TrainConfig, rows: Path, threads: int, count: int, repeats: int) -> Iterator[str]:
    """The rows of one thread count."""
    torch.set_num_threads(threads)
    symbols, bins, batches = recipe.batches(config, rows)
    learners = {name: Learner(config, symbols, bins, name) for name in IMPLEMENTATIONS}
    times: dict[str, list[list[float]]] = {name: [] for name in IMPLEMENTATIONS}  # whole and ctc of each batch
    for batch in islice(batches, count):
        # the first turn warms up; the two parts of a step have their quickest turns each
        turns = [{name: learner.step(batch) for name, learner in learners.items()} for _ in range(repeats + 1)]
        for name in learners:
            times[name].append([min(turn[name][part] for turn in turns[1:]) for part in (0, 1)])
    for name, found in times.items():
        whole, ctc = 1e3 * np.mean(found, axis=0)
        yield f"| {threads} | {name} | {whole:.1f} | {ctc:.2f} | {100 * ctc / whole:.1f} % |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipe.options(parser)
    options = parser.parse_args()
    config, rows = recipe.settings(options)
    print("| threads | loss | step, ms | ctc, ms | share |\n|--:|:--|--:|--:|--:|")
    for threads in options.threads:
        for row in bench(config, rows, threads, options.batches, options.repeats):
            print(row, flush=True)


if __name__ == "__main__":
    main()
