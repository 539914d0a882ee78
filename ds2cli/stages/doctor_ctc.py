"""Compare the CTC implementations with a float64 reference, and time them.

Notation: T steps, N utterances, V symbols, L labels.
"""

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
from ds2cli.config.model import NetworkConfig
from ds2cli.drops import Ledger
from ds2cli.experiment_files import is_bundle
from ds2cli.manifest import Row
from ds2cli.nn.ctc.loss import Implementation, ctc, is_native_available
from ds2cli.nn.ctc.reference import compute_utterance_cost
from ds2cli.nn.ctc.verdict import Verdict
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.runtime.file import read_network
from ds2cli.stages.doctor_cases import Case, generate_cases, select_cases
from ds2cli.text.vocab import Vocab

SYMBOLS = 29
"""Default number of symbols, without a vocabulary: English letters, apostrophe, space and blank."""

LOGITS = {"random": 3.0, "peaky": 50.0}
"""Kinds of random logits: uniform between plus and minus this limit (nats)."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

COST_TOLERANCE = 1e-5
"""Largest allowed error of a cost, relative to max(1, cost)."""

GRADIENT_TOLERANCE = {"float32": (1e-5, 0.0), "bfloat16": (1e-5, 2**-8)}
"""Largest allowed error of a gradient: absolute, plus relative to the value (the rounding error of the precision)."""

TIMING_S = 0.5
"""Time spent timing each implementation (seconds)."""


@dataclass(frozen=True)
class Comparison:
    """One implementation compared with the reference on one batch.

    cost_error: largest, relative to max(1, cost).  gradient_error: largest, absolute.  invalid: number of utterances
    with an invalid label, length or logits; invalid_ok: how many of them have the expected verdict and cost and a
    zero gradient.  agrees: all errors are within tolerance.  seconds: median time of a forward and backward pass.
    """

    logits: str
    precision: str
    implementation: Implementation
    cost_error: float
    gradient_error: float
    invalid_ok: int
    invalid: int
    agrees: bool
    seconds: float


def choose_batch(config: CtcDoctorConfig, rows: Iterable[Row] | None, ledger: Ledger) -> tuple[list[Case], int]:
    """The batch, selected from the rows (generated if there are none), and the number of symbols of its logits."""
    if rows is None:
        symbols = config.symbols or (len(load_vocabulary(config.vocab, ())) if config.vocab else SYMBOLS)
        return generate_cases(symbols, config.utterances, config.seed), symbols
    rows = list(rows)
    vocab = load_vocabulary(config.vocab, rows)
    cases = select_cases(rows, vocab, config.stride or read_stride(config.vocab), config.utterances, ledger)
    return cases, max(config.symbols or 0, len(vocab))


def load_vocabulary(source: str | None, rows: Iterable[Row]) -> Vocab:
    """The vocabulary of an experiment folder or file; without either, the characters in the texts of the rows."""
    if source is None:
        return Vocab.from_texts(" ".join(row["text"].split()) for row in rows)
    return open_vocab(source)


def read_stride(vocab: str | None) -> int:
    """Frames per output step of the network of an experiment, or of the default network if there is none."""
    if vocab and is_bundle(vocab):
        return read_network(vocab).config.stride
    config = Path(vocab or "") / "config.toml"
    saved = read_toml(str(config)).get("model", {}) if config.is_file() else {}
    return build(NetworkConfig, (f"{config}: model", saved)).stride


def compare_losses(cases: Sequence[Case], symbols: int, seed: int, device: str) -> Iterator[Comparison]:
    """Compare each available implementation with the reference, at every precision, for every kind of logits."""
    implementations: list[Implementation] = ["native", "torch"] if is_native_available(device) else ["torch"]
    for kind, limit in LOGITS.items():
        float_logits = make_logits(cases, symbols, limit, seed)
        for precision, dtype in PRECISIONS.items():
            logits = float_logits.to(dtype)
            references = [compute_reference(logits[:, n], case) for n, case in enumerate(cases)]
            for implementation in implementations:
                yield compare_loss(kind, precision, implementation, logits.to(device), cases, references)


def make_logits(cases: Sequence[Case], symbols: int, limit: float, seed: int) -> Tensor:
    """Random logits (T, N, V) float32, with a NaN in the middle of the utterances expected to be NOT_FINITE."""
    rng = np.random.default_rng(seed)
    T = max(case.steps for case in cases)
    logits = (rng.random((T, len(cases), symbols), np.float32) * 2 - 1) * np.float32(limit)
    for n, case in enumerate(cases):
        if case.verdict is Verdict.NOT_FINITE:
            logits[case.steps // 2, n, symbols // 2] = np.nan
    return torch.from_numpy(logits)


def compute_reference(logits: Tensor, case: Case) -> tuple[float, NDArray[np.float64]]:
    """Cost and gradient (steps, V) of an utterance in float64. logits: (T, V)."""
    return compute_utterance_cost(logits[: case.steps].double().numpy(), case.labels, 0)


def compare_loss(
    kind: str,
    precision: str,
    implementation: Implementation,
    logits: Tensor,
    cases: Sequence[Case],
    references: Sequence[tuple[float, NDArray[np.float64]]],
) -> Comparison:
    """Run one implementation on logits (T, N, V), compare it with the reference costs and gradients, and time it."""
    run = LossRun(logits, cases, implementation)
    costs, verdicts, gradients = run.compute()
    absolute, relative = GRADIENT_TOLERANCE[precision]
    invalid_ok, cost_errors, gradient_errors, excesses = [], [0.0], [0.0], [0.0]
    for n, (case, (cost, gradient)) in enumerate(zip(cases, references, strict=True)):
        actual = gradients[:, n].double().cpu().numpy()
        if case.verdict is not Verdict.OK:
            matches = bool(np.array_equal(costs[n], cost, equal_nan=True)) and verdicts[n] == case.verdict
            invalid_ok.append(matches and not actual.any())
            continue
        padded = np.zeros_like(actual)
        padded[: case.steps] = gradient
        error = np.abs(actual - padded)
        cost_errors.append(abs(costs[n] - cost) / max(1.0, cost))
        gradient_errors.append(float(error.max()))
        excesses.append(float((error - relative * np.abs(padded)).max()))
    # np.max propagates NaN, and NaN is not within any tolerance
    cost_error, gradient_error, excess = (float(np.max(e)) for e in (cost_errors, gradient_errors, excesses))
    agrees = cost_error <= COST_TOLERANCE and excess <= absolute and all(invalid_ok)
    counts = sum(invalid_ok), len(invalid_ok)
    return Comparison(
        kind, precision, implementation, cost_error, gradient_error, *counts, agrees, run.measure_seconds()
    )


class LossRun:
    """One implementation on one batch of logits (T, N, V): costs, and the gradient with respect to the logits."""

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

    def compute(self) -> tuple[list[float], list[int], Tensor]:
        """Costs, verdicts, and the gradient of the sum of the costs."""
        costs, verdicts = ctc(self.logits, self.targets, self.steps, self.sizes, implementation=self.implementation)
        (gradients,) = torch.autograd.grad(costs.sum(), self.logits)
        return costs.tolist(), verdicts.tolist(), gradients

    def measure_seconds(self) -> float:
        """Median time of `compute`, repeated for TIMING_S seconds."""
        times: list[float] = []
        while sum(times) < TIMING_S:
            start = time.perf_counter()
            self.compute()  # reading the costs waits for the device
            if self.logits.is_cuda:
                torch.cuda.synchronize(self.logits.device)
            times.append(time.perf_counter() - start)
        return float(np.median(times))
