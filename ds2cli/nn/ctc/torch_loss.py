"""CTC by torch's own loss, with the results that the native library defines where torch's are NaN or left open.

T steps, N utterances, V symbols, L labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ds2cli.nn.ctc.verdict import Verdict

FINE, TOO_SHORT, IMPOSSIBLE, NOT_FINITE, BAD_LABEL, BAD_LENGTH = (verdict.value for verdict in Verdict)

LEAST = -22_000.0
"""Log-probabilities below this are zero probability (native/include/ds2_native.h)."""


def ctc_torch(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """Costs (N,) and verdicts (N,) int32 of logits (T, N, V) float32 or float64, on any device torch's loss has."""
    device = logits.device
    targets, steps, labels = (x.to(device).long() for x in (targets, input_lengths, target_lengths))
    best = logits.detach().amax(-1)
    verdicts = verdicts_of(best, targets, steps, labels, logits.shape[2], blank)
    fine = verdicts.eq(FINE)
    T, N, _ = logits.shape
    if not (T and N):
        costs = logits.sum(-1).sum(0)  # zeros that a gradient flows through
    else:
        if not best.isfinite().all():
            # what does not count is put out of sight before it is normalised: NaN times a gradient of zero would be NaN
            counts = (torch.arange(T, device=device)[:, None] < steps) & fine
            logits = logits.where(counts[..., None], 0)
        log_probs = logits.log_softmax(-1)
        if log_probs.detach().amin() < LEAST:
            # torch's gradient is NaN at a symbol of probability zero: this takes it out again
            log_probs = log_probs.masked_fill(log_probs < LEAST, -math.inf)
        steps, labels = steps.where(fine, 0), labels.where(fine, 0)
        # as functional.ctc_loss, but zero_infinity keeps the infinite costs and zeroes their gradients only
        costs = torch._ctc_loss(log_probs, targets, steps, labels, blank, True)[0]
    verdicts = verdicts.masked_fill(fine & costs.isinf(), IMPOSSIBLE)
    endless = verdicts.eq(TOO_SHORT) | verdicts.eq(IMPOSSIBLE)
    return costs.where(verdicts.eq(FINE), math.nan).masked_fill(endless, math.inf), verdicts


def verdicts_of(best: Tensor, targets: Tensor, steps: Tensor, labels: Tensor, symbols: int, blank: int) -> Tensor:
    """Verdicts (N,) int32, as far as they can be known without the loss: IMPOSSIBLE is not among them.

    best: (T, N), the highest logit of each frame.  steps, labels: (N,), how many.
    """
    (T, N), L = best.shape, targets.shape[1]
    label = torch.arange(L, device=best.device) < labels[:, None]
    wrong = ((targets < 0) | (targets >= symbols) | (targets == blank)) & label
    repeats = ((targets[:, 1:] == targets[:, :-1]) & label[:, 1:]).sum(1)
    read = torch.arange(T, device=best.device)[:, None] < steps
    verdicts = torch.zeros(N, dtype=torch.int32, device=best.device)
    # the last of them counts
    verdicts = verdicts.masked_fill((~best.isfinite() & read).any(0), NOT_FINITE)
    verdicts = verdicts.masked_fill(labels + repeats > steps, TOO_SHORT)
    verdicts = verdicts.masked_fill(wrong.any(1), BAD_LABEL)
    return verdicts.masked_fill((steps < 0) | (steps > T) | (labels < 0) | (labels > L), BAD_LENGTH)
