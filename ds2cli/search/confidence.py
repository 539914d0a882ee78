"""How sure a search is of each word of the text it found. Notation: T steps, V symbols, W words.

Two things speak for a word. The network: its probability of exactly this word, summed over all paths, in the steps from
the space before the word to the space after it on the best path (steps of a CTC network are independent, so that is
a probability). And the search: the share of the n-best list, weighted by their scores, that has the same word in the
same place; with a language model this counts what the network alone does not know. The confidence is

    p_ctc(word) ** scale * share

In egs/asterisk the mean posterior of the word's symbols, which `align` gives, tells right words from wrong ones worse.
A language model makes words right that the network finds improbable, so `scale` is then well below 1; `ds2 decode
--tune` fits it to a development set (metrics/calibration.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.edit import HIT, INS
from ds2cli.metrics.alignment import align_units
from ds2cli.search.align import Alignment
from ds2cli.search.ctc_cost import ctc_cost
from ds2cli.search.hypothesis import Hypothesis

COMPETITORS = 16
"""Hypotheses whose shares are compared; with 64 of them the confidences are hardly better."""

TEMPERATURE = 2.0
"""What scores are divided by to become log-probabilities: the search is too sure of its best text."""

LOWEST = 1e-4
"""Lowest confidence: rows have four decimals, and no word that was found is impossible."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for each word of a text, or for an empty text as if it were one word.

    log_probs: (W,) log p_ctc of each word in its steps (nats).  shares: (W,) of the n-best list, above 0 and at most 1.
    """

    log_probs: NDArray[np.float64]
    shares: NDArray[np.float64]

    def confidences(self, scale: float) -> NDArray[np.float64]:
        """(W,) the confidence of each word, from LOWEST to 1.  scale: 0 or more."""
        confidences: NDArray[np.float64] = np.clip(np.exp(scale * self.log_probs) * self.shares, LOWEST, 1.0)
        return confidences


def weigh_evidence(log_probs: NDArray[np.float32], alignment: Alignment, hypotheses: Sequence[Hypothesis]) -> Evidence:
    """What speaks for the words of the best hypothesis, in their order.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN or -inf.  alignment: of the best hypothesis.
    hypotheses: the n-best list, best first; one is enough, and then has the share 1.
    """
    first = hypotheses[0]
    labels = np.array(first.labels, np.int32)
    assert alignment.cost is not None
    logs = [-ctc_cost(log_probs[steps], labels[part]) for part, steps in alignment.spans] or [-alignment.cost]
    # rounding may take a probability above 1
    return Evidence(np.minimum(np.array(logs, np.float64), 0.0), _shares(hypotheses))


def _shares(hypotheses: Sequence[Hypothesis]) -> NDArray[np.float64]:
    first = hypotheses[0]
    scores = np.array([h.score for h in hypotheses])
    weights: NDArray[np.float64] = np.exp((scores - scores[0]) / TEMPERATURE)
    weights /= weights.sum()
    if not first.text:
        return weights[:1]
    texts = [h.text.split(" ") for h in hypotheses]
    alignments = align_units([texts[0]] * len(texts), texts)
    shares = np.zeros(len(texts[0]))
    for i, weight in enumerate(weights.tolist()):
        steps = alignments.steps[alignments.slice(i)]
        shares += weight * (steps[steps != INS] == HIT)
    return np.minimum(shares, 1.0)
