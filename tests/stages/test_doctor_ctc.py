from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.config.doctor import CtcDoctorConfig
from ds2cli.drops import Ledger
from ds2cli.nn.ctc.loss import CtcCosts, Verdict, ctc
from ds2cli.stages import doctor_cases, doctor_ctc
from ds2cli.stages.doctor_cases import Case

CASES = doctor_cases.add_edge_cases([
    Case("", "long", 40, np.array([1, 2, 2, 3, 1], np.int32)),
    Case("", "short", 2, np.array([4], np.int32)),
])  # fmt: skip


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(doctor_ctc, "TIMING_S", 1e-9)


def test_correct_losses_agree():
    comparisons = list(doctor_ctc.compare_losses(CASES, 5, 0, "cpu"))
    losses = ["native", "torch"] if native.available() else ["torch"]
    assert [(c.logits, c.precision, c.implementation) for c in comparisons] == [
        (kind, precision, loss) for kind in ("random", "peaky") for precision in ("float32", "bfloat16")
        for loss in losses
    ]  # fmt: skip
    assert all(c.agrees for c in comparisons if c.implementation == "native")
    assert all(c.cost_error < 1e-6 and c.gradient_error < 5e-3 for c in comparisons)
    assert all((c.invalid_ok, c.invalid) == (2, 2) for c in comparisons)


def make_wrong_loss(error):
    """The CTC loss with one error built in."""

    def loss(logits, *others, **options):
        costs, verdicts = ctc(logits, *others, **options)
        ok = verdicts == 0
        return CtcCosts(*{
            "cost": lambda: (costs * (1 + 3e-5 * ok), verdicts),
            "nan": lambda: (torch.where(ok, math.nan * costs, costs), verdicts),
            "gradient": lambda: (costs + (logits - logits.detach()).nan_to_num(0)[0, 0, 0] * 3e-5, verdicts),
            "verdict": lambda: (costs, verdicts.masked_fill(~ok, Verdict.IMPOSSIBLE)),
            "gradient of an invalid utterance": lambda: (costs + torch.where(ok, 0, logits[0, :, 0]), verdicts),
            "padding": lambda: (costs + (logits - logits.detach())[-1, 1, 0], verdicts),
        }[error]())  # fmt: skip

    return loss


@pytest.mark.parametrize("error", ["cost", "nan", "gradient", "verdict", "gradient of an invalid utterance", "padding"])
def test_a_wrong_loss_does_not_agree(monkeypatch, error):
    monkeypatch.setattr(doctor_ctc, "ctc", make_wrong_loss(error))
    comparisons = [
        c for c in doctor_ctc.compare_losses(CASES, 5, 0, "cpu") if c.logits == "random" and c.precision == "float32"
    ]
    assert comparisons and not any(c.agrees for c in comparisons)


def test_symbols_and_stride_come_from_the_experiment_or_the_options(tmp_path):
    rows = [{"id": "a", "num_frames": 90, "text": "abba"}]
    cases, symbols = doctor_ctc.choose_batch(CtcDoctorConfig(), rows, Ledger())
    assert symbols == 3 and cases[0].steps == 30
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\nb\nc\n")
    (tmp_path / "config.toml").write_text("[model]\nchannels = [8, 8]\nkernels = [3, 3]\nstrides = [2, 1]\n")
    cases, symbols = doctor_ctc.choose_batch(CtcDoctorConfig(vocab=str(tmp_path)), rows, Ledger())
    assert symbols == 5 and cases[0].steps == 45 and cases[0].labels.tolist() == [2, 3, 3, 2]
    config = CtcDoctorConfig(vocab=str(tmp_path / "tokens.txt"), stride=4, symbols=50)
    cases, symbols = doctor_ctc.choose_batch(config, rows, Ledger())
    assert symbols == 50 and cases[0].steps == 23
    assert doctor_ctc.choose_batch(CtcDoctorConfig(), None, Ledger())[1] == 29
    assert doctor_ctc.choose_batch(CtcDoctorConfig(vocab=str(tmp_path)), None, Ledger())[1] == 5
    # no fewer than those of the vocabulary
    assert doctor_ctc.choose_batch(CtcDoctorConfig(vocab=str(tmp_path), symbols=2), rows, Ledger())[1] == 5
    cases, symbols = doctor_ctc.choose_batch(CtcDoctorConfig(symbols=7, utterances=8), None, Ledger())
    assert (len(cases), symbols) == (8, 7)
    other, _ = doctor_ctc.choose_batch(CtcDoctorConfig(symbols=7, utterances=8, seed=1), None, Ledger())
    assert cases[0].labels.tolist() != other[0].labels.tolist()


@pytest.mark.parametrize("limit", [3.0, 50.0])
def test_logits_lie_between_their_limits_and_depend_on_the_seed(limit):
    logits, other = (doctor_ctc.make_logits(CASES, 5, limit, seed) for seed in (0, 1))
    values = logits[logits.isfinite()]
    assert -limit <= values.min() < -0.9 * limit and 0.9 * limit < values.max() <= limit
    assert not torch.equal(logits.nan_to_num(), other.nan_to_num())


def test_each_kind_of_logits_has_its_limit_and_the_seed(monkeypatch):
    made, make = [], doctor_ctc.make_logits
    monkeypatch.setattr(doctor_ctc, "make_logits", lambda *a: made.append(a[1:]) or make(*a))
    list(doctor_ctc.compare_losses(CASES, 5, 3, "cpu"))
    assert made == [(5, 3.0, 3), (5, 50.0, 3)]


def test_the_time_is_the_median_of_the_repetitions(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 1.4, 2.0, 2.2])
    monkeypatch.setattr(doctor_ctc, "TIMING_S", 0.6)
    monkeypatch.setattr(doctor_ctc, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    run = doctor_ctc.LossRun(doctor_ctc.make_logits(CASES, 5, 3.0, 0), CASES, "torch")
    assert run.measure_seconds() == pytest.approx(0.2)


def test_a_bfloat16_gradient_beyond_its_rounding_does_not_agree(monkeypatch):
    def loss(*arguments, **options):
        costs, verdicts = ctc(*arguments, **options)
        return CtcCosts(costs + 0.02 * (costs - costs.detach()).nan_to_num(0), verdicts)

    monkeypatch.setattr(doctor_ctc, "ctc", loss)
    comparisons = [c for c in doctor_ctc.compare_losses(CASES, 5, 0, "cpu") if c.precision == "bfloat16"]
    assert comparisons and not any(c.agrees for c in comparisons)
