"""The reference for `beam.beam_search`: the same search over tuples of symbols in dictionaries, without a tree, every
prefix scored from its first symbol.

Notation: T steps, V symbols with blank 0, N number of hypotheses requested.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.ngram import NgramTables, ngram_begin, ngram_end, ngram_score
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM, BeamOptions, Task

Prefix = tuple[int, ...]


def words_of(prefix: Prefix, space: int) -> list[Prefix]:
    """The words of a prefix; the last one may be unfinished, or empty after a space."""
    words: list[Prefix] = [()]
    for symbol in prefix:
        words = [*words, ()] if symbol == space else [*words[:-1], (*words[-1], symbol)]
    return words


def strings_of(first: NDArray[np.int32], symbol: NDArray[np.int32]) -> dict[Prefix, int]:
    """The nodes of a trie by their strings."""
    strings: list[Prefix] = [()] * len(symbol)
    for node in range(len(symbol)):
        for child in range(first[node], first[node + 1]):
            strings[child] = (*strings[node], int(symbol[child]))
    return {string: node for node, string in enumerate(strings)}


def lm_log_p(lm: NgramTables, units: Iterable[int], end: bool) -> float:
    """log p_lm of units after <s>, with that of </s> if `end` (nats)."""
    units = list(units)
    history = np.empty((len(units) + 1, lm.width), dtype=np.int32)
    backoff = np.empty(history.shape, dtype=np.float32)
    ngram_begin(lm, history, backoff, 0)
    total = 0.0
    for i, unit in enumerate(units):
        total += ngram_score(lm, history, backoff, i, unit, i + 1)
    return total + (ngram_end(lm, history, backoff, len(units)) if end else 0.0)


class TextScorer:
    """Scores a prefix by everything but its log p_ctc: language model, bonuses, lexicon and hotwords."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.nodes = strings_of(task.lexicon.first, task.lexicon.symbol)
        self.states = strings_of(task.hotwords.first, task.hotwords.symbol)
        self.cache: dict[tuple[Prefix, bool], tuple[float, float]] = {}

    def __call__(self, prefix: Prefix, final: bool) -> tuple[float, float]:
        """log p_lm, and all that is added to log p_ctc (nats), cached.

        final: the text ends here, so its last word is scored, and </s> if the options include it. Otherwise the last
        word contributes its look-ahead score.
        """
        if (prefix, final) not in self.cache:
            self.cache[prefix, final] = self.score_text(prefix, final)
        return self.cache[prefix, final]

    def score_text(self, prefix: Prefix, final: bool) -> tuple[float, float]:
        """See `__call__`."""
        lm, lexicon, _, options = self.task
        added = self.score_hotwords(prefix, final)
        units: list[int] = []
        words = words_of(prefix, options.space)
        complete = words if final and words[-1] else words[:-1]
        if lexicon.kind == WORD_LM:
            for word in complete:
                unit, bonus = self.score_word(word)
                units.append(unit)
                added += bonus
            if words[-1] and not final:
                in_trie = words[-1] in self.nodes
                lookahead = lexicon.lookahead[self.nodes[words[-1]]] if in_trie else lexicon.unk_logprob
                added += options.alpha * lookahead + (options.beta if in_trie else self.score_word(words[-1])[1])
        if lexicon.kind == CHAR_LM:
            units = [int(lexicon.unit[symbol]) for symbol in prefix]
            added += options.beta * len(units) + sum(options.unknown for unit in units if unit == lm.unk)
            listed = all(lexicon.word[self.nodes.get(word, 0)] >= 0 for word in complete) and words[-1] in self.nodes
            added += 0.0 if listed or not lexicon.closed else -np.inf
        log_p = lm_log_p(lm, units, final and options.sentence_end and lexicon.kind != NO_LM)
        return log_p, options.alpha * log_p + added

    def score_word(self, word: Prefix) -> tuple[int, float]:
        """The language model's unit for a complete word, and what the word adds besides alpha log p_lm."""
        lm, lexicon, _, options = self.task
        if word in self.nodes and lexicon.word[self.nodes[word]] >= 0:
            unit = int(lexicon.word[self.nodes[word]])
            return unit, options.beta + (options.unknown if unit == lm.unk else 0.0)
        if lexicon.closed:
            return lm.unk, -np.inf
        extra = len(word) - max(i for i in range(len(word) + 1) if word[:i] in self.nodes)
        return lm.unk, options.beta + options.unknown + (extra * options.unknown_letter if extra else 0.0)

    def score_hotwords(self, prefix: Prefix, final: bool) -> float:
        """The bonuses of the hotwords found, and unless `final` the partial bonus of a match in progress."""
        hotwords = self.task.hotwords
        start = next(string for string, state in self.states.items() if state == hotwords.start)
        text = (*start, *prefix, *((hotwords.end_symbol,) if final and hotwords.end_symbol >= 0 else ()))

        def state(end: int) -> int:
            return next(self.states[text[i:end]] for i in range(end + 1) if text[i:end] in self.states)

        total = sum(float(hotwords.bonus[state(end)]) for end in range(len(start) + 1, len(text) + 1))
        return total + (0.0 if final else float(hotwords.partial_bonus[state(len(text))]))

    def drop_forbidden_word(self, prefix: Prefix) -> Prefix:
        """The prefix, without its last word where the lexicon forbids it."""
        if self(prefix, True)[1] > -np.inf:
            return prefix
        return prefix[: max((i for i, symbol in enumerate(prefix) if symbol == self.task.options.space), default=0)]


def symbols_ref(row: NDArray[np.float32], options: BeamOptions) -> list[int]:
    """The symbols that survive the pruning of one step; the blank counts toward the limits but is not returned.

    Most probable first where prune_mass or prune_top applies, else in the order of the alphabet.
    """
    ordered = options.prune_mass < 1.0 or options.prune_top < len(row)
    symbols = sorted(range(len(row)), key=lambda c: (-row[c], c))[: options.prune_top] if ordered else range(len(row))
    picked: list[int] = []
    total = 0.0
    for c in symbols:
        if picked and options.prune_mass < 1.0 and total >= options.prune_mass:
            break
        if row[c] >= options.prune_logp and row[c] > -np.inf:
            picked.append(c)
            total += float(np.exp(row[c]))
    return [c for c in picked if c]


def beam_search_ref(log_probs: NDArray[np.float32], task: Task, N: int) -> list[tuple[Prefix, float, float, float]]:
    """The N best texts of one emission: symbols, Q, log p_ctc and log p_lm (nats), best first.

    log_probs: (T, V) float32, log-probabilities without NaN.
    """
    options, scorer = task.options, TextScorer(task)
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -np.inf)}  # log p of the paths ending in a blank, in a label
    for row in log_probs.astype(np.float64):
        picked = symbols_ref(row.astype(np.float32), options)
        candidates = dict.fromkeys(beam, (-np.inf, -np.inf))
        for prefix, (blank, label) in beam.items():
            total = np.logaddexp(blank, label)
            last = prefix[-1] if prefix else options.space
            after_space = last == options.space
            repeated = (total if after_space else label) + row[last] if last >= 0 else -np.inf
            candidates[prefix] = (total + row[0], np.logaddexp(candidates[prefix][1], repeated))
            for c in picked:
                if c == options.space and after_space:
                    continue
                extended = (*prefix, c)
                before = candidates.get(extended, (-np.inf, -np.inf))
                am = (blank if c == last else total) + row[c]
                candidates[extended] = (before[0], np.logaddexp(before[1], am))
        scores = {prefix: np.logaddexp(*p) + scorer(prefix, False)[1] for prefix, p in candidates.items()}
        best = max(scores.values())
        close = [p for p in candidates if (p in beam or scores[p] > -np.inf) and scores[p] >= best - options.beam_gap]
        kept = set(sorted(close, key=lambda p: -scores[p])[: options.beam])
        beam = {prefix: candidates[prefix] for prefix in candidates if prefix in kept}
    ends = [prefix[:-1] if prefix and prefix[-1] == options.space else prefix for prefix in beam]
    texts = texts_ref(ends, list(beam.values()), scorer)
    if texts[0][1] == -np.inf:
        texts = texts_ref([scorer.drop_forbidden_word(prefix) for prefix in ends], list(beam.values()), scorer)
    return [text for text in texts if text[1] > -np.inf][:N] or texts[:1]


def texts_ref(
    prefixes: list[Prefix], logs: list[tuple[float, float]], scorer: TextScorer
) -> list[tuple[Prefix, float, float, float]]:
    """Distinct final texts with Q, log p_ctc and log p_lm (nats), best first; equal prefixes are merged."""
    merged: dict[Prefix, float] = {}
    for prefix, log in zip(prefixes, logs, strict=True):
        merged[prefix] = np.logaddexp(merged.get(prefix, -np.inf), np.logaddexp(*log))
    texts = []
    for prefix, am in merged.items():
        log_p, weighted = scorer(prefix, True)
        texts.append((prefix, float(am + weighted), float(am), log_p))
    return sorted(texts, key=lambda text: -text[1])
