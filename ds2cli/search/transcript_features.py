"""The six numbers by which Deep Speech 2 tells wrong transcripts (section 5.1)."""

from __future__ import annotations

FEATURES = ("ctc_cost", "cost_per_step", "cost_per_char", "steps_per_char", "num_words", "num_chars")
"""The names of the features, in the order of the paper."""

_LARGEST = 1e12
"""No text has more symbols and no emission more steps; a number in a row may be any."""


def transcript_features(cost: float, steps: int, text: str) -> list[float]:
    """The numbers named in FEATURES, all finite.

    cost: -log p_ctc(text) (nats).  steps: of the network's output.  text: its characters include the spaces between
    words; one without characters counts as one character where it is a divisor.
    """
    words = text.split()
    chars = sum(map(len, words)) + max(0, len(words) - 1)
    length, symbols = float(min(steps, _LARGEST)), max(1.0, float(chars))
    return [float(cost), cost / max(1.0, length), cost / symbols, length / symbols, float(len(words)), float(chars)]
