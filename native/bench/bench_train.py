"""A training step of `ds2 train` on the CPU beside the same network written straight down with torch's own modules.

The plain network (plain.py) runs on padded batches, and on packed ones, with torch's CTC loss and the same optimiser.
All step in turn on the same batches; of several steps on a batch the quickest counts. One thread is timed by the
processor's clock, several by the wall's.

    step     ms, the mean over the batches      audio    hours an hour, padding not counted
    ratio    to the quicker of the plain ones

    make bench-train
    python native/bench/bench_train.py [--recipe egs/asterisk] [--lang en] [--batches 20] [--repeats 3] [--threads 1 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import recipe
import torch
from plain import PlainNetwork
from torch import nn

from ds2cli.config.train import TrainConfig
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.train import optim
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

PLAIN = ("torch, padded", "torch, packed")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Learner:
    """A network in training."""

    def __init__(self, name: str, config: TrainConfig, symbols: int, bins: int, precision: torch.dtype) -> None:
        torch.manual_seed(0)
        self.config, self.precision = config, precision
        self.model: nn.Module
        if name in PLAIN:
            self.model = PlainNetwork(config.model, symbols, bins, packed=name.endswith("packed"))
        else:
            model = self.model = DeepSpeech2(config.model, symbols, bins)
            self.backward = Backward(
                model, GradientReducer(list(model.parameters()), ProcessGroup()), precision, "native"
            )
        self.optimizer = optim.build(self.model, config.optim)

    def step(self, batch: Batch) -> float:
        """One step; returns its time (s)."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        if isinstance(self.model, PlainNetwork):
            self.model.backward(batch, torch.device("cpu"), self.precision)
        else:
            self.backward([batch], seed=0)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip * int(batch.target_lengths.sum()))
        optim.step(self.optimizer, self.config.optim.lr / 10)
        return clock() - start


def bench(
    config: TrainConfig, rows: Path, threads: int, precision: str, count: int, repeats: int
) -> Iterator[tuple[str, float, float]]:
    """Name, ms a step and hours an hour of each."""
    torch.set_num_threads(threads)
    symbols, bins, found = recipe.batches(config, rows)
    learners = {name: Learner(name, config, symbols, bins, PRECISIONS[precision]) for name in (*PLAIN, "ds2")}
    times: dict[str, list[float]] = {name: [] for name in learners}
    audio_s = 0.0
    for batch in islice(found, count):
        audio_s += int(batch.lengths.sum()) * recipe.HOP_MS / 1000
        # the first turn warms up
        turns = [{name: learner.step(batch) for name, learner in learners.items()} for _ in range(repeats + 1)]
        for name in learners:
            times[name].append(min(turn[name] for turn in turns[1:]))
    for name, each in times.items():
        yield name, 1e3 * float(np.mean(each)), audio_s / sum(each)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipe.options(parser)
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    options = parser.parse_args()
    config, rows = recipe.settings(options)
    print("| threads | factors | network | step, ms | audio, h/h | ratio |\n|--:|:--|:--|--:|--:|--:|")
    for threads in options.threads:
        for precision in options.precisions:
            found = list(bench(config, rows, threads, precision, options.batches, options.repeats))
            best = min(ms for name, ms, _ in found if name in PLAIN)
            for name, ms, speed in found:
                print(f"| {threads} | {precision} | {name} | {ms:.1f} | {speed:.0f} | {best / ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
