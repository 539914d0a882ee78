"""Forced alignment: word times of a given text from the best CTC path. Notation: T steps, V symbols, L labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.errors import BadUtterance
from ds2cli.kernels.viterbi import steps_needed, viterbi
from ds2cli.search.ctc_cost import ctc_cost
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class Word:
    """A word with start and end (s); conf is the mean posterior of its symbols over the steps that emit them."""

    word: str
    start: float
    end: float
    conf: float


class WordSpan(NamedTuple):
    """A word with the spaces next to it: its symbols and the steps from the first of them to the last.

    The span of the first word begins with the utterance, that of the last word ends with it.
    """

    labels: slice
    steps: slice


@dataclass(frozen=True)
class Alignment:
    """words: in order.  log_prob: of the best path (nats).  cost: -log p_ctc(text) (nats).  spans: of the words."""

    words: list[Word]
    log_prob: float
    cost: float
    spans: list[WordSpan]


def align(log_probs: NDArray[np.float32], text: str, vocab: Vocab, step_s: float) -> Alignment:
    """Align a normalized transcript (Deep Speech 2, section 5.1).

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.  step_s: seconds per step.
    A word lasts from the first step of its first symbol to the last step of its last one.
    Raises BadUtterance "unspellable", "label-too-long" and "impossible-text", NeededError if one byte per step and
    symbol does not fit in memory.
    """
    return align_labels(log_probs, vocab.encode(" ".join(text.split())), vocab, step_s)


def align_labels(log_probs: NDArray[np.float32], symbols: Sequence[int], vocab: Vocab, step_s: float) -> Alignment:
    """Align a text given as symbols, without a space at either end or two in a row. See `align`."""
    labels = np.array(symbols, dtype=np.int32)
    needed = steps_needed(labels)
    if needed > len(log_probs):
        raise BadUtterance(
            "label-too-long", f"{len(labels)} symbols need {needed} steps or more, the utterance has {len(log_probs)}"
        )
    cost = ctc_cost(log_probs, labels)
    if not np.isfinite(cost):
        raise BadUtterance("impossible-text", "every path that spells the text has probability 0")
    with memory.needed(len(log_probs) * (len(labels) + 1), f"{len(log_probs)} steps x {len(labels)} symbols"):
        states = viterbi(log_probs, labels)
    label_steps = np.flatnonzero(states % 2)
    label_index = states[label_steps] // 2  # rises from step to step
    path = np.zeros(len(states), dtype=np.int64)
    path[label_steps] = labels[label_index]
    path_logp = log_probs[np.arange(len(states)), path]
    words, spans, begin = [], [], 0
    spaces = [i for i, symbol in enumerate(symbols) if vocab.symbols[symbol] == " "]
    for end in [*spaces, len(symbols)] if len(symbols) else []:
        steps = label_steps[slice(*np.searchsorted(label_index, (begin, end)))]
        # above 0 only in damaged emissions, whose posteriors are none
        conf = float(np.exp(np.minimum(path_logp[steps], 0)).mean(dtype=np.float64))
        word = vocab.decode(symbols[begin:end])
        words.append(Word(word, float(steps[0]) * step_s, float(steps[-1] + 1) * step_s, conf))
        first = label_steps[np.searchsorted(label_index, begin - 1)] if begin else 0
        after = label_steps[np.searchsorted(label_index, end + 1) - 1] + 1 if end < len(symbols) else len(log_probs)
        spans.append(WordSpan(slice(max(begin - 1, 0), min(end + 1, len(symbols))), slice(int(first), int(after))))
        begin = end + 1
    return Alignment(words, float(path_logp.sum(dtype=np.float64)), cost, spans)


def words_as_fields(words: list[Word]) -> list[dict[str, str | float]]:
    """Words in a row's format, times rounded to milliseconds."""
    return [
        {"word": w.word, "start": round(w.start, 3), "end": round(w.end, 3), "conf": round(w.conf, 4)} for w in words
    ]


def ctm_line(name: str, word: Mapping[str, str | float], channel: str = "1") -> str:
    """A word as a line of a CTM file: recording, channel, start (s), duration (s), word, and the confidence if any."""
    start, end = float(word["start"]), float(word["end"])
    conf = f" {float(word['conf']):.4f}" if "conf" in word else ""
    return f"{name} {channel} {start:.3f} {end - start:.3f} {word['word']}{conf}\n"
