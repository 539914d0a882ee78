"""Forced alignment: word times of a given text from the best CTC path. Notation: T steps, V symbols, L labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.viterbi import viterbi
from ds2cli.search.ctc_cost import text_cost
from ds2cli.search.greedy import collapse, collapse_spaces
from ds2cli.search.trellis import WILDCARD, Columns, GapCosts, Spelling, build_target, spell, spelling_of
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class Word:
    """A word, or a character, with start and end (s).

    conf: the mean posterior of its symbols over the steps that emit them; None if the network cannot spell it.
    """

    word: str
    start: float
    end: float
    conf: float | None


class WordSpan(NamedTuple):
    """A word with the spaces next to it: its symbols and the steps from the first of them to the last.

    The span of the first word begins with the utterance, that of the last word ends with it.
    """

    labels: slice
    steps: slice


@dataclass(frozen=True)
class Gap:
    """Where text and recording differ, from start to end (s).

    text: the words that were not said there.  heard: what the network hears there, by its most probable symbols.
    """

    start: float
    end: float
    text: str
    heard: str


@dataclass(frozen=True)
class Alignment:
    """words: in order, without those in gaps.  log_prob: of the best path (nats), without wildcards and gaps.

    cost: -log p_ctc(text) (nats); None if gaps are allowed.  spans: of the words.  gaps: in order.
    chars: the symbols of the words, if asked for.  Of a part of an alignment, log_prob is None.
    """

    words: list[Word]
    log_prob: float | None
    cost: float | None
    spans: list[WordSpan]
    chars: list[Word]
    gaps: list[Gap]


def _go_on(_: float) -> None:
    pass


def align(
    log_probs: NDArray[np.float32],
    text: str,
    vocab: Vocab,
    step_s: float,
    costs: GapCosts | None = None,
    *,
    chars: bool = False,
    check: Callable[[float], None] = _go_on,
) -> Alignment:
    """Align a normalized transcript (Deep Speech 2, section 5.1).

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.  step_s: seconds per step.
    costs: allow gaps, where words were not said or speech is not in the text; None for none.
    chars: whether to find the times of the symbols, too.
    check: called with the share of the work that is done; may raise to stop.
    A word lasts from the first step of its first symbol to the last step of its last one; Chinese and Japanese
    characters are words. A word that the network cannot spell gets what is left between its neighbors.
    Raises BadUtterance "unspellable", "label-too-long" and "impossible-text".
    """
    spelling = spell(text, vocab)
    if costs is not None and spelling.words and not len(log_probs):
        raise BadUtterance("label-too-long", "a gap needs one step or more, the utterance has 0")
    cost = text_cost(log_probs, spelling.labels) if costs is None else None
    return align_columns(
        Columns.select(log_probs, spelling, gaps=costs is not None), spelling, vocab, step_s, costs, cost, chars, check
    )


def align_labels(log_probs: NDArray[np.float32], symbols: Sequence[int], vocab: Vocab, step_s: float) -> Alignment:
    """Align a text given as symbols, without a space at either end or two in a row. See `align`."""
    spelling = spelling_of(symbols, vocab)
    cost = text_cost(log_probs, spelling.labels)
    return align_columns(Columns.select(log_probs, spelling, gaps=False), spelling, vocab, step_s, None, cost)


def align_columns(
    columns: Columns,
    spelling: Spelling,
    vocab: Vocab,
    step_s: float,
    costs: GapCosts | None,
    cost: float | None = None,
    chars: bool = False,
    check: Callable[[float], None] = _go_on,
) -> Alignment:
    """Align a text with the columns of one or more emissions. cost: -log p_ctc(text), if it is known. See `align`."""
    if costs is not None and " " in vocab.symbols and (space := vocab.symbols.index(" ")) in spelling.labels:
        columns.allow_silent_spaces(space)
    states = viterbi(columns.log_probs, build_target(spelling, columns, costs), check)
    path = _Path.build(columns, spelling, states, step_s)
    words = [path.word(where, text) for where, text in spelling.words]
    singles = [
        path.word(slice(i, i + 1), vocab.symbols[label])
        for i, label in enumerate(spelling.labels if chars else ())
        if label != WILDCARD and vocab.symbols[label] != " "
    ]
    return Alignment(
        [word for word in words if word is not None],
        path.log_prob,
        cost,
        [path.span(where, spelling, vocab) for where, _ in spelling.words] if costs is None else [],
        [word for word in singles if word is not None],
        [*_find_gaps(columns, spelling, states, path, vocab)] if costs is not None else [],
    )


@dataclass(frozen=True)
class _Path:
    """Where the best path emits the labels of a text.

    steps, index, logp: of each step that emits a label, that label and its log-probability (0 for a wildcard).
    first, last: (L,) the place of each label in `steps`, last excluded; equal for one that was left out.
    log_prob: of labels and blanks (nats).
    """

    labels: NDArray[np.int32]
    steps: NDArray[np.int64]
    index: NDArray[np.int64]
    logp: NDArray[np.float32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    log_prob: float
    num_steps: int
    step_s: float

    @classmethod
    def build(cls, columns: Columns, spelling: Spelling, states: NDArray[np.int32], step_s: float) -> _Path:
        labels = np.array(spelling.labels, np.int32)
        places = np.zeros(len(states), np.int32)
        is_spelled = states <= 2 * len(labels)
        steps = np.flatnonzero(is_spelled & (states % 2 == 1))
        index = (states[steps] // 2).astype(np.int64)
        places[steps] = columns.of_labels(spelling.labels)[index]
        logp = columns.log_probs[np.arange(len(states)), places]
        is_spelled[steps[labels[index] == WILDCARD]] = False
        logp[~is_spelled] = 0
        first, last = (np.searchsorted(index, np.arange(len(labels)), side=side) for side in ("left", "right"))
        total = float(logp.sum(dtype=np.float64))
        return cls(labels, steps, index, logp[steps], first, last, total, len(states), step_s)

    def word(self, where: slice, text: str) -> Word | None:
        """The word that consists of these labels; None if it was left out."""
        begin, end = self.first[where.start], self.last[where.stop - 1]
        if begin == end:
            return None
        start, stop = float(self.steps[begin]) * self.step_s, float(self.steps[end - 1] + 1) * self.step_s
        if self.labels[where.start] == WILDCARD:
            return Word(text, start, stop, None)
        # above 0 only in damaged emissions, whose posteriors are none
        conf = float(np.exp(np.minimum(self.logp[begin:end], 0)).mean(dtype=np.float64))
        return Word(text, start, stop, conf)

    def span(self, where: slice, spelling: Spelling, vocab: Vocab) -> WordSpan:
        """The span of a word in a text of which nothing was left out."""
        begin, end = where.start, where.stop
        first, after = 0, self.num_steps
        if begin:
            begin -= vocab.symbols[spelling.labels[begin - 1]] == " "
            first = int(self.steps[self.first[begin]])
        if end < len(self.labels):
            end += vocab.symbols[spelling.labels[end]] == " "
            after = int(self.steps[self.last[end - 1] - 1]) + 1
        return WordSpan(slice(begin, end), slice(first, after))


def _find_gaps(
    columns: Columns, spelling: Spelling, states: NDArray[np.int32], path: _Path, vocab: Vocab
) -> Iterator[Gap]:
    """The gaps of a path, each with what was left out and heard; silence in which nothing was left out is none.

    A gap lasts from the first sound in it to the last one; one without a sound is in the middle of the pause.
    """
    in_gap = np.concatenate([[False], states > 2 * len(path.labels), [False]])
    edges = np.flatnonzero(in_gap[1:] != in_gap[:-1])
    starts = [where.start for where, _ in spelling.words]
    silent = [i for i, symbol in enumerate(vocab.symbols) if i == 0 or symbol == " "]
    for begin, end in edges.reshape(-1, 2).tolist():
        before, after = np.searchsorted(path.steps, (begin, end)).tolist()
        said = path.index[before - 1] + 1 if before else 0
        word, next_word = np.searchsorted(
            starts, (said, path.index[after] if after < len(path.index) else len(path.labels))
        ).tolist()
        text = " ".join(text for _, text in spelling.words[word:next_word])
        sounds = np.flatnonzero(~np.isin(columns.top[begin:end], silent))
        if len(sounds):
            begin, end = begin + int(sounds[0]), begin + int(sounds[-1]) + 1
        else:
            ended = path.steps[path.last[spelling.words[word - 1][0].stop - 1] - 1] + 1 if word else 0
            starting = path.steps[after] if after < len(path.steps) else path.num_steps
            begin = end = int(ended + starting) // 2
        heard = hear(columns, begin, end, vocab)
        if text or heard:
            yield Gap(begin * path.step_s, end * path.step_s, text, heard)


def hear(columns: Columns, begin: int, end: int, vocab: Vocab) -> str:
    """The text of the most probable symbols of some steps."""
    labels = collapse(columns.top[begin:end].astype(np.int64))
    if " " in vocab.symbols:
        labels = collapse_spaces(labels, vocab.symbols.index(" "))
    return vocab.decode(labels.tolist())


def words_as_fields(words: Sequence[Word], name: str = "word") -> list[dict[str, str | float]]:
    """Words in a row's format, times rounded to milliseconds.  name: the field of the word itself."""
    fields: list[dict[str, str | float]] = []
    for w in words:
        fields.append({name: w.word, "start": round(w.start, 3), "end": round(w.end, 3)})
        if w.conf is not None:
            fields[-1]["conf"] = round(w.conf, 4)
    return fields


def gaps_as_fields(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """Gaps in a row's format, times rounded to milliseconds."""
    return [{"start": round(g.start, 3), "end": round(g.end, 3), "text": g.text, "heard": g.heard} for g in gaps]


def ctm_line(name: str, word: Mapping[str, str | float], channel: str = "1") -> str:
    """A word as a line of a CTM file: recording, channel, start (s), duration (s), word, and the confidence if any."""
    start, end = float(word["start"]), float(word["end"])
    conf = f" {float(word['conf']):.4f}" if "conf" in word else ""
    return f"{name} {channel} {start:.3f} {end - start:.3f} {word['word']}{conf}\n"
