"""The six numbers by which Deep Speech 2 tells wrong transcripts (section 5.1). Notation: T steps, V symbols."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.search.ctc_cost import ctc_cost
from ds2cli.text.vocab import Vocab

FEATURES = ("ctc_cost", "cost_per_step", "cost_per_char", "steps_per_char", "num_words", "num_chars")
"""The names of the features, in the order of the paper."""

UNFIT = ("label-too-long", "impossible-text")
"""The faults of texts that no path through an emission spells: their cost is infinite."""

_LARGEST = 1e12
"""No text has more symbols and no emission more steps; a number in a row may be any."""


def text_cost(log_probs: NDArray[np.float32], text: str, vocab: Vocab) -> float:
    """-log p_ctc(text) (nats), as `ds2 align` writes it.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.
    BadUtterance "unspellable", "label-too-long" and "impossible-text".
    """
    labels = np.array(vocab.encode(" ".join(text.split())), dtype=np.int32)
    needed = steps_needed(labels)
    if needed > len(log_probs):
        raise BadUtterance(
            "label-too-long", f"{len(labels)} symbols need {needed} steps or more, the utterance has {len(log_probs)}"
        )
    cost = ctc_cost(log_probs, labels)
    if not math.isfinite(cost):
        raise BadUtterance("impossible-text", "every path that spells the text has probability 0")
    return cost


def transcript_features(cost: float, steps: int, text: str) -> list[float]:
    """The numbers named in FEATURES, all finite.

    cost: -log p_ctc(text) (nats).  steps: of the network's output.  text: its characters include the spaces between
    words; one without characters counts as one character where it is a divisor.
    """
    words = text.split()
    chars = sum(map(len, words)) + max(0, len(words) - 1)
    length, symbols = float(min(steps, _LARGEST)), max(1.0, float(chars))
    return [float(cost), cost / max(1.0, length), cost / symbols, length / symbols, float(len(words)), float(chars)]
