"""CTC by torch's own loss, with the results of the native library where those of torch are NaN or undefined.

T steps, N utterances, V symbols, L labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ds2cli.nn.ctc.verdict import Verdict

OK, TOO_SHORT, IMPOSSIBLE, NOT_FINITE, BAD_LABEL, BAD_LENGTH = (verdict.value for verdict in Verdict)

MIN_LOG_PROB = -22_000.0
"""Log-probabilities below this count as probability zero (native/include/ds2_native.h)."""


def ctc_torch(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """Costs (N,) and verdicts (N,) int32 of logits (T, N, V) float32 or float64, on any device that torch supports."""
    device = logits.device
    targets, steps, labels = (x.to(device).long() for x in (targets, input_lengths, target_lengths))
    max_logits = logits.detach().amax(-1)
    verdicts = find_verdicts(max_logits, targets, steps, labels, logits.shape[2], blank)
    ok = verdicts.eq(OK)
    T, N, _ = logits.shape
    if not (T and N):
        costs = logits.sum(-1).sum(0)  # zeros that a gradient flows through
    else:
        if not max_logits.isfinite().all():
            # masked before the softmax, because NaN times a gradient of zero would be NaN
            counts = (torch.arange(T, device=device)[:, None] < steps) & ok
            logits = logits.where(counts[..., None], 0)
        log_probs = logits.log_softmax(-1)
        if log_probs.detach().amin() < MIN_LOG_PROB:
            # torch's gradient is NaN at a symbol of probability zero; masked_fill sets it to zero
            log_probs = log_probs.masked_fill(log_probs < MIN_LOG_PROB, -math.inf)
        steps, labels = steps.where(ok, 0), labels.where(ok, 0)
        # unlike functional.ctc_loss, zero_infinity here keeps infinite costs and only zeroes their gradients
        costs = torch._ctc_loss(log_probs, targets, steps, labels, blank, True)[0]
    verdicts = verdicts.masked_fill(ok & costs.isinf(), IMPOSSIBLE)
    infinite = verdicts.eq(TOO_SHORT) | verdicts.eq(IMPOSSIBLE)
    return costs.where(verdicts.eq(OK), math.nan).masked_fill(infinite, math.inf), verdicts


def find_verdicts(
    max_logits: Tensor, targets: Tensor, steps: Tensor, labels: Tensor, symbols: int, blank: int
) -> Tensor:
    """Verdicts (N,) int32 that do not depend on the cost: all but IMPOSSIBLE.

    max_logits: (T, N), the highest logit per step.  steps, labels: (N,) counts.
    """
    (T, N), L = max_logits.shape, targets.shape[1]
    label = torch.arange(L, device=max_logits.device) < labels[:, None]
    bad = ((targets < 0) | (targets >= symbols) | (targets == blank)) & label
    repeats = ((targets[:, 1:] == targets[:, :-1]) & label[:, 1:]).sum(1)
    within = torch.arange(T, device=max_logits.device)[:, None] < steps
    verdicts = torch.zeros(N, dtype=torch.int32, device=max_logits.device)
    # in order of increasing precedence
    verdicts = verdicts.masked_fill((~max_logits.isfinite() & within).any(0), NOT_FINITE)
    verdicts = verdicts.masked_fill(labels + repeats > steps, TOO_SHORT)
    verdicts = verdicts.masked_fill(bad.any(1), BAD_LABEL)
    return verdicts.masked_fill((steps < 0) | (steps > T) | (labels < 0) | (labels > L), BAD_LENGTH)
