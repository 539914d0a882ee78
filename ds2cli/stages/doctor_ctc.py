"""Do the CTC losses agree with their formulas, and how fast are they? T steps, N utterances, V symbols, L labels."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2cli.config.base import build, read_toml
from ds2cli.config.doctor import CtcDoctorConfig
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.nn.ctc.loss import Implementation, ctc, has_library
from ds2cli.nn.ctc.reference import one
from ds2cli.nn.ctc.verdict import Verdict
from ds2cli.stages.doctor_cases import Case, cases_from_rows, random_cases
from ds2cli.text.vocab import Vocab
from ds2cli.train.data import TOKENS

SYMBOLS = 29
"""Of English without a vocabulary: the letters, the apostrophe, the space, the blank."""

LOGITS = {"random": 3.0, "peaky": 50.0}
"""Logits are uniform between plus and minus this (nats)."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

COST_TOLERANCE = 1e-5
"""Of max(1, cost)."""

GRADIENT_TOLERANCE = {"float32": (1e-5, 0.0), "bfloat16": (1e-5, 2**-8)}
"""Absolute, and relative to the value: what its rounding takes."""

TIMED_S = 0.5


@dataclass(frozen=True)
class Finding:
    """How one loss did on one batch.

    cost_error: greatest, relative to max(1, cost).  gradient_error: greatest, absolute.  defined, odd: of so many
    utterances that cannot be learned from, so many have the verdict, the cost and the zero gradient they must have.
    agrees: within the tolerances.  seconds: forward and backward.
    """

    logits: str
    precision: str
    implementation: Implementation
    cost_error: float
    gradient_error: float
    defined: int
    odd: int
    agrees: bool
    seconds: float


def choose(config: CtcDoctorConfig, rows: Iterable[Row] | None, ledger: Ledger) -> tuple[list[Case], int]:
    """The batch to try, the worst of the rows or one that is made up, and how many symbols its logits have."""
    if rows is None:
        symbols = config.symbols or (len(vocabulary(config.vocab, ())) if config.vocab else SYMBOLS)
        return random_cases(symbols, config.utterances, config.seed), symbols
    found = list(rows)
    vocab = vocabulary(config.vocab, found)
    cases = cases_from_rows(found, vocab, config.stride or stride_of(config.vocab), config.utterances, ledger)
    return cases, max(config.symbols or 0, len(vocab))


def vocabulary(source: str | None, rows: Iterable[Row]) -> Vocab:
    """The symbols of an experiment folder, of a file, or the characters of the rows' texts."""
    if source is None:
        return Vocab.from_texts(row["text"] for row in rows)
    return Vocab.load(Path(source) / TOKENS if Path(source).is_dir() else source)


def stride_of(vocab: str | None) -> int:
    """Frames a step of the network of an experiment folder; of the usual network for anything else."""
    config = Path(vocab or "") / "config.toml"
    model = build(ModelConfig, (str(config), read_toml(str(config))["model"])) if config.is_file() else ModelConfig()
    return int(np.prod(model.strides[: len(model.channels)]))


def examine(cases: Sequence[Case], symbols: int, seed: int, device: str) -> Iterator[Finding]:
    """Compare each loss that is there with the reference, in every precision, on logits of every kind."""
    losses: list[Implementation] = ["native", "torch"] if has_library(device) else ["torch"]
    for kind, height in LOGITS.items():
        raw = logits_for(cases, symbols, height, seed)
        for precision, dtype in PRECISIONS.items():
            logits = raw.to(dtype)
            right = [reference(logits[:, n], case) for n, case in enumerate(cases)]
            for implementation in losses:
                yield compare(kind, precision, implementation, logits.to(device), cases, right)


def logits_for(cases: Sequence[Case], symbols: int, height: float, seed: int) -> Tensor:
    """Random logits (T, N, V) float32, a NaN in the middle of the utterances that shall have one."""
    rng = np.random.default_rng(seed)
    T = max(case.steps for case in cases)
    logits = (rng.random((T, len(cases), symbols), np.float32) * 2 - 1) * np.float32(height)
    for n, case in enumerate(cases):
        if case.verdict is Verdict.NOT_FINITE:
            logits[case.steps // 2, n, symbols // 2] = np.nan
    return torch.from_numpy(logits)


def reference(logits: Tensor, case: Case) -> tuple[float, NDArray[np.float64]]:
    """Cost and gradient (steps, V) of an utterance in float64. logits: (T, V)."""
    return one(logits[: case.steps].double().numpy(), case.labels, 0)


def compare(
    kind: str,
    precision: str,
    implementation: Implementation,
    logits: Tensor,
    cases: Sequence[Case],
    right: Sequence[tuple[float, NDArray[np.float64]]],
) -> Finding:
    """Run one loss on a batch (T, N, V), time it, and hold it against what is right."""
    step = LossStep(logits, cases, implementation)
    costs, verdicts, gradients = step.results()
    absolute, relative = GRADIENT_TOLERANCE[precision]
    defined, cost_errors, gradient_errors, excesses = [], [0.0], [0.0], [0.0]
    for n, (case, (cost, gradient)) in enumerate(zip(cases, right, strict=True)):
        found = gradients[:, n].double().cpu().numpy()
        if case.verdict is not Verdict.FINE:
            same = bool(np.array_equal(costs[n], cost, equal_nan=True)) and verdicts[n] == case.verdict
            defined.append(same and not found.any())
            continue
        padded = np.zeros_like(found)
        padded[: case.steps] = gradient
        off = np.abs(found - padded)
        cost_errors.append(abs(costs[n] - cost) / max(1.0, cost))
        gradient_errors.append(float(off.max()))
        excesses.append(float((off - relative * np.abs(padded)).max()))
    # numpy's max keeps a NaN, and a NaN is within no tolerance
    cost_error, gradient_error, excess = (float(np.max(e)) for e in (cost_errors, gradient_errors, excesses))
    agrees = cost_error <= COST_TOLERANCE and excess <= absolute and all(defined)
    counts = sum(defined), len(defined)
    return Finding(kind, precision, implementation, cost_error, gradient_error, *counts, agrees, step.seconds())


class LossStep:
    """The part of a training step that is the loss: from logits (T, N, V) to their gradient."""

    def __init__(self, logits: Tensor, cases: Sequence[Case], implementation: Implementation) -> None:
        self.logits = logits.detach().requires_grad_()
        self.implementation = implementation
        targets = torch.zeros(len(cases), max(len(case.labels) for case in cases), dtype=torch.int32)
        for row, case in zip(targets, cases, strict=True):
            row[: len(case.labels)] = torch.from_numpy(case.labels)
        steps, sizes = [case.steps for case in cases], [len(case.labels) for case in cases]
        self.targets, self.steps, self.sizes = (
            x.to(logits.device) for x in (targets, torch.tensor(steps), torch.tensor(sizes))
        )

    def results(self) -> tuple[list[float], list[int], Tensor]:
        """Costs, verdicts, and the gradient of the sum of the costs."""
        costs, verdicts = ctc(self.logits, self.targets, self.steps, self.sizes, implementation=self.implementation)
        (gradients,) = torch.autograd.grad(costs.sum(), self.logits)
        return costs.tolist(), verdicts.tolist(), gradients

    def seconds(self) -> float:
        """What a step takes: the median of as many as TIMED_S has room for."""
        times: list[float] = []
        while sum(times) < TIMED_S:
            start = time.perf_counter()
            self.results()  # reading the costs waits for the device
            if self.logits.is_cuda:
                torch.cuda.synchronize(self.logits.device)
            times.append(time.perf_counter() - start)
        return float(np.median(times))
