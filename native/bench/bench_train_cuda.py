"""Training steps of the paper's networks on a GPU, compared with the same networks built from torch's own modules.

The batch is noise, with utterances of 60 to 100 % of --seconds. Each step has its loss (torch's CTC for the torch
networks, the native one otherwise), gradients, clipping and the optimizer of the preset. The median step counts.

    step      ms                                     audio     hours of audio per hour, without padding
    TFLOP/s   matrix products and convolutions: three times their forward pass, without padding
    of peak   relative to the rate of torch's product of two large matrices on the same device
    memory    peak memory of a step, GiB             ratio     speed relative to the faster torch network

    python native/bench/bench_train_cuda.py [--networks 70m-rnn-7x1760 100m-rnn-7x2112] [--utterances 64] [--seconds 12]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn
from torch_network import TorchNetwork
from training_batches import BINS, HOP_MS

from ds2cli.config.base import build, read_toml
from ds2cli.config.train import TrainConfig
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.network import make_network
from ds2cli.stages.model import NetworkSpec, list_layers, summarize_network
from ds2cli.train import optim
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

SYMBOLS, LABELS_PER_S = {"bigram": 700, "char": 29}, {"bigram": 8, "char": 14}
TORCH_NETWORKS = ("torch, padded", "torch, packed")
NETWORKS = ["70m-rnn-7x1760", "100m-rnn-7x2112", "english-icml"]
WARM_UP_STEPS = 3
"""Steps that are not counted: in them cuDNN selects its algorithms."""


class TimedTraining:
    """A network in training on a device."""

    def __init__(self, name: str, config: TrainConfig, symbols: int, device: torch.device, precision: torch.dtype):
        torch.manual_seed(0)
        self.config, self.device, self.precision = config, device, precision
        self.model: nn.Module
        if name in TORCH_NETWORKS:
            self.model = TorchNetwork(config.model, symbols, BINS, packed=name.endswith("packed")).to(device)
        else:
            model = self.model = make_network(config.model, symbols, BINS).to(device)
            reducer = GradientReducer(list(model.parameters()), ProcessGroup(device=device))
            self.backward = Backward(model, reducer, precision, "native")
        self.optimizer = optim.build_optimizer(self.model, config.optim)

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step; return its time (s) and its peak memory (GiB, 0 on the CPU)."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        if isinstance(self.model, TorchNetwork):
            self.model.backward(batch, self.device, self.precision)
        else:
            self.backward([batch], seed=0)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip * len(batch.ids))
        optim.take_optimizer_step(self.optimizer, self.config.optim.lr / 1000)
        synchronize(self.device)
        memory_gib = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0
        return time.perf_counter() - start, memory_gib


def synchronize(device: torch.device) -> None:
    """Wait until the device has completed all queued tflop."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_peak(device: torch.device, precision: torch.dtype) -> float:
    """TFLOP/s of a large matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=precision) for _ in range(2))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e12


def make_noise_batch(utterances: int, seconds: float, symbols: int, labels_per_s: float) -> Batch:
    """A batch of noise, longest utterance first."""
    generator = torch.Generator().manual_seed(0)
    lengths = (seconds * 1000 / HOP_MS * torch.linspace(1, 0.6, utterances)).long()
    counts = (lengths * HOP_MS / 1000 * labels_per_s).long()
    feats = torch.randn(utterances, int(lengths[0]), BINS, generator=generator)
    targets = torch.randint(1, symbols, (utterances, int(counts[0])), generator=generator)
    return Batch([str(i) for i in range(utterances)], feats, lengths, targets, counts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="presets or config files")
    parser.add_argument("--utterances", type=int, default=64, help="batch spec (utterances)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the longest utterance (s)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--device", default="cuda", help="torch device")
    precisions = ["float32", "bfloat16"]
    parser.add_argument("--precision", default="bfloat16", choices=precisions, help="precision of matrix products")
    options = parser.parse_args()
    device, precision = torch.device(options.device), getattr(torch, options.precision)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("CUDA: nothing measured, torch finds no device")
        return
    peak_tflops = measure_peak(device, precision)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {options.precision}, a large matrix product {peak_tflops:.0f} TFLOP/s\n")
    print("| network | modules | step, ms | audio, h/h | TFLOP/s | of peak | memory, GiB | ratio |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|")
    for network in options.networks:
        config = build(TrainConfig, (network, read_toml(network)))
        symbols = SYMBOLS[config.units.kind]
        batch = make_noise_batch(options.utterances, options.seconds, symbols, LABELS_PER_S[config.units.kind])
        audio_s = int(batch.lengths.sum()) * HOP_MS / 1000
        spec = NetworkSpec(config.model, symbols, BINS, HOP_MS)
        tflop = 6 * summarize_network(spec, list_layers(spec))["mult_adds_per_s"] * audio_s / 1e12
        times, memory = {}, {}
        for modules in (*TORCH_NETWORKS, "ds2"):
            # one network at a time, so that the memory measured is its own
            training = TimedTraining(modules, config, symbols, device, precision)
            steps = [training.step(batch) for _ in range(WARM_UP_STEPS + options.steps)][WARM_UP_STEPS:]
            times[modules] = statistics.median(step_s for step_s, _ in steps)
            memory[modules] = max(memory_gib for _, memory_gib in steps)
            del training
        best = min(times[modules] for modules in TORCH_NETWORKS)
        for modules, step_s in times.items():
            rates = f"{audio_s / step_s:.0f} | {tflop / step_s:.1f} | {100 * tflop / step_s / peak_tflops:.1f} %"
            print(
                f"| {network} | {modules} | {1e3 * step_s:.1f} | {rates} | {memory[modules]:.1f} "
                f"| {best / step_s:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
