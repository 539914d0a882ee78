"""Training steps of the paper's networks on a GPU beside the same networks of torch's own modules (plain.py).

A batch of noise, its utterances 60 to 100 % of --seconds long, in bfloat16; every step has its loss (torch's, or the
native one), gradients, clipping and the optimiser of the preset. The median step counts.

    step      ms                          audio     hours an hour, padding not counted
    TFLOP/s   of matrices and filters, three times their forward pass, padding not counted
    of peak   of what torch's product of two large matrices reaches on the device
    memory    GiB, the most a step holds  ratio     to the quicker of the plain ones

    python native/bench/bench_train_cuda.py [--networks 70m-rnn-7x1760 100m-rnn-7x2112] [--utterances 64] [--seconds 12]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from plain import PlainNetwork
from recipe import BINS, HOP_MS
from torch import nn

from ds2cli.config.base import build, read_toml
from ds2cli.config.train import TrainConfig
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.stages.model import NetworkSpec, list_layers, summarize_network
from ds2cli.train import optim
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

SYMBOLS, LABELS_PER_S = {"bigram": 700, "char": 29}, {"bigram": 8, "char": 14}
PLAIN = ("torch, padded", "torch, packed")
WARM = 3
"""Steps that are not counted: cuDNN chooses its ways in them."""


class Learner:
    """A network in training on a device."""

    def __init__(self, name: str, config: TrainConfig, symbols: int, device: torch.device, precision: torch.dtype):
        torch.manual_seed(0)
        self.config, self.device, self.precision = config, device, precision
        self.model: nn.Module
        if name in PLAIN:
            self.model = PlainNetwork(config.model, symbols, BINS, packed=name.endswith("packed")).to(device)
        else:
            model = self.model = DeepSpeech2(config.model, symbols, BINS).to(device)
            reducer = GradientReducer(list(model.parameters()), ProcessGroup(device=device))
            self.backward = Backward(model, reducer, precision, "native")
        self.optimizer = optim.build(self.model, config.optim)

    def step(self, batch: Batch) -> tuple[float, float]:
        """One step; its time (s) and the most memory it held (GiB)."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        if isinstance(self.model, PlainNetwork):
            self.model.backward(batch, self.device, self.precision)
        else:
            self.backward([batch], seed=0)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip * len(batch.ids))
        optim.step(self.optimizer, self.config.optim.lr / 1000)
        wait(self.device)
        held = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0
        return time.perf_counter() - start, held


def wait(device: torch.device) -> None:
    """Until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak(device: torch.device, precision: torch.dtype) -> float:
    """TFLOP/s of a large product."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=precision) for _ in range(2))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e12


def noise(utterances: int, seconds: float, symbols: int, labels_per_s: float) -> Batch:
    """A batch, longest first."""
    made = torch.Generator().manual_seed(0)
    lengths = (seconds * 1000 / HOP_MS * torch.linspace(1, 0.6, utterances)).long()
    counts = (lengths * HOP_MS / 1000 * labels_per_s).long()
    feats = torch.randn(utterances, int(lengths[0]), BINS, generator=made)
    targets = torch.randint(1, symbols, (utterances, int(counts[0])), generator=made)
    return Batch([str(i) for i in range(utterances)], feats, lengths, targets, counts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["70m-rnn-7x1760", "100m-rnn-7x2112", "english-icml"])
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=12.0, help="the longest utterance")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    device, precision = torch.device(options.device), getattr(torch, options.precision)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("CUDA: nothing is measured, torch sees no device")
        return
    most = peak(device, precision)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {options.precision}, a large product {most:.0f} TFLOP/s\n")
    print("| network | modules | step, ms | audio, h/h | TFLOP/s | of peak | memory, GiB | ratio |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|")
    for network in options.networks:
        config = build(TrainConfig, (network, read_toml(network)))
        symbols = SYMBOLS[config.units.kind]
        batch = noise(options.utterances, options.seconds, symbols, LABELS_PER_S[config.units.kind])
        audio_s = int(batch.lengths.sum()) * HOP_MS / 1000
        size = NetworkSpec(config.model, symbols, BINS, HOP_MS)
        work = 6 * summarize_network(size, list_layers(size))["mult_adds_per_s"] * audio_s / 1e12
        times, memory = {}, {}
        for who in (*PLAIN, "ds2"):
            # one after the other, so that the memory is its own
            learner = Learner(who, config, symbols, device, precision)
            steps = [learner.step(batch) for _ in range(WARM + options.steps)][WARM:]
            times[who], memory[who] = statistics.median(took for took, _ in steps), max(held for _, held in steps)
            del learner
        best = min(times[who] for who in PLAIN)
        for who, took in times.items():
            rates = f"{audio_s / took:.0f} | {work / took:.1f} | {100 * work / took / most:.1f} %"
            print(
                f"| {network} | {who} | {1e3 * took:.1f} | {rates} | {memory[who]:.1f} | {best / took:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
