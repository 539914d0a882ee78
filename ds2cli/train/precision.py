"""The precision of matrix products: the one set, or the faster one, measured on the network to be trained.

Which is faster depends on the processor, not only on what it supports: with AVX512-BF16, Zen 4 multiplies bfloat16
twice as fast as float32, Golden Cove half as fast. Sums, norms, the loss and the weights are float32 in any case.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ds2cli import __version__, io, native
from ds2cli.config.base import as_dict
from ds2cli.errors import DataError
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.network import Network
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch
from ds2cli.train.events import Precision
from ds2cli.train.examples import num_frames
from ds2cli.train.job import TrainJob

NAMES = ("float32", "bfloat16", "float16")
CANDIDATES = ("float32", "bfloat16")
"""The precisions that `auto` compares on a CPU."""

MAX_SECONDS = 10.0
"""Audio of the batch that is timed; longer ones take proportionally longer in every precision."""

MIN_STEPS = 8
"""Output steps of each utterance of a batch that is cut to MAX_SECONDS, before utterances are left out."""

ROUNDS = 4
"""Steps in each precision, in turn; the fastest counts, the first one only if there is no other."""

BUDGET_S = 10.0
"""Seconds after which no further round begins."""

PROCESSORS = Path("/proc/cpuinfo")
PROCESSOR_FIELDS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
)  # fmt: skip
"""Fields of PROCESSORS, on x86 and on ARM, that decide how fast a precision is."""

MARGIN = 1.05
"""bfloat16 must be faster by this factor: differences below are noise, and float32 is more precise."""


@dataclass(frozen=True)
class Measured:
    """Seconds of a batch by precision. file: where they are kept, None where the cache cannot be written."""

    seconds: dict[str, float]
    file: Path | None


def choose_precision(
    job: TrainJob, group: ProcessGroup, model: Network, checkpoint: Mapping[str, Any] | None = None
) -> Precision:
    """As set; for `auto` that of the checkpoint, so that a run stays in its precision, or the choice of rank 0.

    That is bfloat16 on a GPU that has it, and the faster of CANDIDATES on a CPU. The model must not communicate with
    other processes; its gradients are removed, and nothing else of it is changed.
    """
    if job.config.precision != "auto":
        return Precision(job.config.precision)
    if (started_with := (checkpoint or {}).get("precision")) in NAMES:
        return Precision(started_with, "as when the training was started")
    chosen = None if group.rank else _choose(job, group, model)
    return cast(Precision, group.broadcast_object(chosen))


def must_measure(job: TrainJob, group: ProcessGroup, checkpoint: Mapping[str, Any] | None = None) -> bool:
    """Whether `choose_precision` is going to measure, which takes seconds, in this process."""
    is_set = job.config.precision != "auto" or (checkpoint or {}).get("precision") in NAMES
    is_known = group.device.type == "cuda" or not _has_bfloat16()
    return not (is_set or is_known or group.rank) and _read_measured(_cache_file(job, group.size)) is None


def measure_seconds(job: TrainJob, model: Network, processes: int = 1) -> dict[str, float]:
    """Seconds that gradients of the model take on the CPU, by precision, for a batch of noise.

    processes: that divide each batch; this one is timed with its share.
    """
    utterances, frames = _typical_size(job, processes)
    # the first of all steps reserves memory; of a large network there may be no more than one of each size
    warm_up, batch = _make_batch(job, min(utterances, 2), 1), _make_batch(job, utterances, frames)
    reducer = GradientReducer(list(model.parameters()), ProcessGroup())
    seconds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    with torch.random.fork_rng(devices=()):
        begin = time.perf_counter()
        for done in range(ROUNDS):
            for name, times in seconds.items():
                backward = Backward(model, reducer, getattr(torch, name), job.config.ctc)
                for timed in (batch,) if done else (warm_up, batch):
                    start = time.perf_counter()
                    backward([timed], seed=0)
                    elapsed = time.perf_counter() - start
                    backward.restore_statistics()
                times.append(elapsed)
            if time.perf_counter() - begin >= BUDGET_S:
                break
    for p in model.parameters():
        p.grad = None
    return {name: min(times[1:] or times) for name, times in seconds.items()}


def _choose(job: TrainJob, group: ProcessGroup, model: Network) -> Precision:
    if group.device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return Precision("bfloat16", "the GPU supports it")
        return Precision("float16", "the GPU does not support bfloat16")
    if not _has_bfloat16():
        return Precision("float32", "the processor does not support bfloat16")
    measured = _measure_once(job, model, group.size)
    seconds = measured.seconds
    name = "bfloat16" if seconds["float32"] > MARGIN * seconds["bfloat16"] else "float32"
    times = ", ".join(f"{1000 * seconds[candidate]:.0f} ms in {candidate}" for candidate in CANDIDATES)
    again = f"; to measure again, delete {measured.file}" if measured.file else ""
    return Precision(name, f"a short batch takes {times}{again}")


def _has_bfloat16() -> bool:
    # a torch without oneDNN, as on some ARM machines, does not have the second function either
    one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(one_dnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _typical_size(job: TrainJob, processes: int) -> tuple[int, int]:
    """Utterances, and frames of each, of the share that one process has of a batch, cut to MAX_SECONDS.

    Utterances are of median length. They are shortened first: how fast the recurrent layers are in a precision depends
    on the number of utterances, which share each product with the weights, and hardly on the number of steps.
    """
    config, frames_per_s = job.config, 1000 / job.features["hop_ms"]
    frames = max(int(np.median(num_frames(job.train))), 1)
    utterances = round(config.batch_s * frames_per_s / frames)
    if config.batch_utts is not None:
        utterances = min(utterances, config.batch_utts)
    utterances, max_frames = max(round(utterances / processes), 1), round(MAX_SECONDS * frames_per_s)
    if utterances * frames > max_frames:
        frames = min(frames, max(max_frames // utterances, MIN_STEPS * config.model.stride))
        utterances = min(utterances, max(max_frames // frames, 2))
    return utterances, frames


def _make_batch(job: TrainJob, utterances: int, frames: int) -> Batch:
    """A batch of noise, with labels at half the rate that fits."""
    # a batch norm needs two steps
    frames = max(frames, 2 * job.config.model.stride)
    labels = max(frames // job.config.model.stride // 4, 1)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((utterances, frames, len(job.mean)), np.float32)
    feats = torch.from_numpy(job.mean + job.std * noise)
    targets = torch.from_numpy(rng.integers(1, len(job.vocab), (utterances, labels)))
    names = [str(n) for n in range(utterances)]
    return Batch(names, feats, torch.full((utterances,), frames), targets, torch.full((utterances,), labels))


def _measure_once(job: TrainJob, model: Network, processes: int) -> Measured:
    """`measure_seconds`, kept for the next run with the same network and batches on this kind of machine."""
    file = _cache_file(job, processes)
    if kept := _read_measured(file):
        return Measured(kept, file)
    seconds = measure_seconds(job, model, processes)
    if file is not None:
        try:
            with io.open_out(str(file)) as f:
                json.dump(seconds, f)
        except DataError:
            # the next run measures again
            file = None
    return Measured(seconds, file)


def _read_measured(file: Path | None) -> dict[str, float] | None:
    """The seconds that are kept in the file; None if there are none."""
    try:
        kept = json.loads(file.read_text()) if file else {}
        return {name: float(kept[name]) for name in CANDIDATES}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cache_file(job: TrainJob, processes: int) -> Path | None:
    """Where the measurement for the job is kept, named after all that it depends on; None for a user without a home.

    The name of the machine is not part of it: where a home is shared by machines with the same processor, a network is
    measured once, and all of them choose the same precision.
    """
    machine = [processor(), torch.get_num_threads(), torch.__version__, __version__]
    libraries = native.instruction_set() if native.available() else ""
    network = [as_dict(job.config.model), len(job.vocab), len(job.mean), _typical_size(job, processes), job.config.ctc]
    digest = hashlib.sha256(json.dumps([machine, libraries, network]).encode()).hexdigest()[:16]
    try:
        return io.cache_folder() / "precision" / f"{digest}.json"
    except RuntimeError:
        return None


def processor() -> dict[str, str]:
    """What identifies the first processor, as Linux gives it; elsewhere what Python knows.

    The model name alone does not: a hypervisor may give several generations the same, and hide features of one.
    """
    try:
        lines = PROCESSORS.read_text("utf-8", "replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {name: fields[name] for name in PROCESSOR_FIELDS if name in fields} or {
        "processor": platform.processor(),
        "machine": platform.machine(),
    }
