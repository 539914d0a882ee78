"""The precision of matrix products: the one set, or the faster one, measured on the layers of the network.

Which is faster depends on the processor, not only on what it supports: with AVX512-BF16, Zen 4 multiplies bfloat16
twice as fast as float32, Golden Cove half as fast. Sums, norms, the loss and the weights are float32 in any case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from ds2cli import io, native
from ds2cli.config.base import as_dict
from ds2cli.errors import DataError
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.network import make_network
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch
from ds2cli.train.events import Precision
from ds2cli.train.job import TrainJob

NAMES = ("float32", "bfloat16", "float16")
CANDIDATES = ("float32", "bfloat16")
"""The precisions that `auto` compares on a CPU."""

MAX_FRAMES = 200
"""Frames per utterance of the batch that is timed; longer ones take proportionally longer in every precision."""

ROUNDS = 4
"""Steps in each precision, in turn; the first is not counted, and the fastest of the others is."""

MARGIN = 1.05
"""bfloat16 must be faster by this factor: differences below are noise, and float32 is more precise."""


def choose_precision(job: TrainJob, device: torch.device) -> Precision:
    """The precision set; for `auto` on a GPU bfloat16 if it has it, on a CPU the faster of CANDIDATES."""
    if job.config.precision != "auto":
        return Precision(job.config.precision)
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return Precision("bfloat16", "the GPU supports it")
        return Precision("float16", "the GPU does not support bfloat16")
    if not _has_bfloat16():
        return Precision("float32", "the processor does not support bfloat16")
    seconds = _measure_once(job)
    name = "bfloat16" if seconds["float32"] > MARGIN * seconds["bfloat16"] else "float32"
    times = ", ".join(f"{1000 * seconds[candidate]:.0f} ms in {candidate}" for candidate in CANDIDATES)
    return Precision(name, f"on this machine, a short batch takes {times}")


def measure_seconds(job: TrainJob) -> dict[str, float]:
    """Seconds that gradients of the job's network take on the CPU, by precision, for a batch of noise."""
    with torch.random.fork_rng(devices=()):
        model = make_network(job.config.model, len(job.vocab), len(job.mean))
        reducer = GradientReducer(list(model.parameters()), ProcessGroup())
        batch = _make_batch(job)
        seconds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name in CANDIDATES:
                backward = Backward(model, reducer, getattr(torch, name), job.config.ctc)
                start = time.perf_counter()
                backward([batch], seed=0)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return {name: min(times[1:]) for name, times in seconds.items()}


def _has_bfloat16() -> bool:
    # a torch without oneDNN, as on some ARM machines, does not have the second function either
    one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(one_dnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _typical_size(job: TrainJob) -> tuple[int, int]:
    """Utterances, and frames of each: of a batch of utterances of median length, cut to MAX_FRAMES."""
    frames = max(int(np.median([u.num_frames for u in job.train])), 1)
    batch_frames = 1000 * job.config.batch_s / job.features["hop_ms"]
    return max(round(batch_frames / frames), 1), min(frames, MAX_FRAMES)


def _make_batch(job: TrainJob) -> Batch:
    """A batch of noise of typical size, labels at half the rate that fits."""
    utterances, frames = _typical_size(job)
    # a batch norm needs two steps
    frames = max(frames, 2 * job.config.model.stride)
    labels = max(frames // job.config.model.stride // 4, 1)
    rng = np.random.default_rng(0)
    feats = torch.from_numpy(rng.standard_normal((utterances, frames, len(job.mean)), np.float32))
    targets = torch.from_numpy(rng.integers(1, len(job.vocab), (utterances, labels)))
    names = [str(n) for n in range(utterances)]
    return Batch(names, feats, torch.full((utterances,), frames), targets, torch.full((utterances,), labels))


def _measure_once(job: TrainJob) -> dict[str, float]:
    """`measure_seconds`, kept for the next run with the same network and batches on this kind of machine."""
    machine = [processor_name(), torch.get_num_threads(), torch.__version__]
    libraries = native.instruction_set() if native.available() else ""
    network = [as_dict(job.config.model), len(job.vocab), len(job.mean), _typical_size(job), job.config.ctc]
    digest = hashlib.sha256(json.dumps([machine, libraries, network]).encode()).hexdigest()[:16]
    try:
        file = io.cache_folder() / "precision" / f"{digest}.json"
    except RuntimeError:
        return measure_seconds(job)
    try:
        kept = json.loads(file.read_text())
        return {name: float(kept[name]) for name in CANDIDATES}
    except (OSError, ValueError, KeyError, TypeError):
        seconds = measure_seconds(job)
    # without a writable cache, the next run measures again
    with contextlib.suppress(DataError), io.open_out(str(file)) as f:
        json.dump(seconds, f)
    return seconds


def processor_name() -> str:
    """The model name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
