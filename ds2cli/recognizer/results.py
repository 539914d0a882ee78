"""The fields of a row that describe the hypotheses of an emission. Notation: T steps, V symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ds2cli.config.decode import SearchConfig
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission
from ds2cli.recognizer.timing import timing_of
from ds2cli.search.align import Word, align_labels, words_as_fields
from ds2cli.search.confidence import COMPETITORS, Evidence, weigh_evidence
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.text.vocab import Vocab

MIN_LOG_PROB = -1e4
"""Finite stand-in for probability 0: a text found by way of extra spaces may need such a step in its alignment."""


def needed_hypotheses(config: SearchConfig) -> int:
    """How many hypotheses `describe` wants."""
    return max(1, config.nbest, COMPETITORS if config.timestamps else 1)


def describe(config: SearchConfig, item: Emission, hypotheses: Sequence[Hypothesis], vocab: Vocab) -> Row:
    """`pred_text` and `pred_score`, and if configured `nbest`, `pred_words` and `pred_conf` (see stages/decode.py).

    BadUtterance "impossible" if no text has a probability above 0.
    """
    if not np.isfinite(hypotheses[0].score):
        raise BadUtterance(
            "impossible", "every text has probability 0: a step has none, or no allowed word fits the emission"
        )
    first = hypotheses[0]
    row: Row = {"pred_text": first.text, "pred_score": round(first.score, 4)}
    if config.nbest:
        row["nbest"] = [
            {"text": h.text, "score": round(h.score, 4), "am": round(h.am, 4), "lm": round(h.lm, 4)}
            for h in hypotheses[: config.nbest]
        ]
    if config.timestamps:
        row |= _align_words(config, item, hypotheses, vocab)
    return row


def find_evidence(item: Emission, hypotheses: Sequence[Hypothesis], vocab: Vocab) -> tuple[list[Word], Evidence]:
    """The words of the best hypothesis with their times, and what speaks for each of them."""
    log_probs = np.maximum(item.log_probs, np.float32(MIN_LOG_PROB))
    alignment = align_labels(log_probs, hypotheses[0].labels, vocab, item.step_s)
    return alignment.words, weigh_evidence(log_probs, alignment, hypotheses)


def _align_words(config: SearchConfig, item: Emission, hypotheses: Sequence[Hypothesis], vocab: Vocab) -> Row:
    """The fields `pred_words` and `pred_conf`."""
    assert config.confidence_scale is not None
    words, evidence = find_evidence(item, hypotheses, vocab)
    words = timing_of(config).correct_words(words, len(item.log_probs) * item.step_s)
    confidences = evidence.confidences(config.confidence_scale).tolist()
    # an empty text has a confidence, but no words
    timed = [replace(word, conf=conf) for word, conf in zip(words, confidences, strict=False)]
    return {"pred_words": words_as_fields(timed), "pred_conf": round(sum(confidences) / len(confidences), 4)}
