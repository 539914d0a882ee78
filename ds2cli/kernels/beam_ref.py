"""What `beam.beam_search` must compute: the same search over tuples of symbols, in dictionaries, every text judged from
its beginning.

Letters: T steps, V symbols with blank 0, N hypotheses asked for.
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
    """log p_lm of units from <s> on, with `end` that of </s> too (nats)."""
    units = list(units)
    history = np.empty((len(units) + 1, lm.width), dtype=np.int32)
    backoff = np.empty(history.shape, dtype=np.float32)
    ngram_begin(lm, history, backoff, 0)
    total = 0.0
    for i, unit in enumerate(units):
        total += ngram_score(lm, history, backoff, i, unit, i + 1)
    return total + (ngram_end(lm, history, backoff, len(units)) if end else 0.0)


class TextScorer:
    """What a task thinks of a text beside its log p_ctc."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.nodes = strings_of(task.lexicon.first, task.lexicon.symbol)
        self.states = strings_of(task.phrases.first, task.phrases.symbol)
        self.judged: dict[tuple[Prefix, bool], tuple[float, float]] = {}

    def __call__(self, prefix: Prefix, finished: bool) -> tuple[float, float]:
        """log p_lm, and what is added to log p_ctc (nats); worked out once.

        The word that a prefix ends in counts when it is `finished`; then </s> does too, where the options say so.
        Before, it adds what the search looks ahead to.
        """
        if (prefix, finished) not in self.judged:
            self.judged[prefix, finished] = self.of_text(prefix, finished)
        return self.judged[prefix, finished]

    def of_text(self, prefix: Prefix, finished: bool) -> tuple[float, float]:
        """See `__call__`."""
        lm, lexicon, _, options = self.task
        added = self.of_phrases(prefix, finished)
        units: list[int] = []
        words = words_of(prefix, options.space)
        said = words if finished and words[-1] else words[:-1]
        if lexicon.kind == WORD_LM:
            for word in said:
                unit, bonus = self.of_word(word)
                units.append(unit)
                added += bonus
            if words[-1] and not finished:
                known = words[-1] in self.nodes
                lookahead = lexicon.lookahead[self.nodes[words[-1]]] if known else lexicon.unk_logprob
                added += options.alpha * lookahead + (options.beta if known else self.of_word(words[-1])[1])
        if lexicon.kind == CHAR_LM:
            units = [int(lexicon.unit[symbol]) for symbol in prefix]
            added += options.beta * len(units) + sum(options.unknown for unit in units if unit == lm.unk)
            listed = all(lexicon.word[self.nodes.get(word, 0)] >= 0 for word in said) and words[-1] in self.nodes
            added += 0.0 if listed or not lexicon.closed else -np.inf
        log_p = lm_log_p(lm, units, finished and options.sentence_end and lexicon.kind != NO_LM)
        return log_p, options.alpha * log_p + added

    def of_word(self, word: Prefix) -> tuple[int, float]:
        """The unit that a whole word is to the model, and what it adds beside alpha log p_lm."""
        lm, lexicon, _, options = self.task
        if word in self.nodes and lexicon.word[self.nodes[word]] >= 0:
            unit = int(lexicon.word[self.nodes[word]])
            return unit, options.beta + (options.unknown if unit == lm.unk else 0.0)
        if lexicon.closed:
            return lm.unk, -np.inf
        strange = len(word) - max(i for i in range(len(word) + 1) if word[:i] in self.nodes)
        return lm.unk, options.beta + options.unknown + (strange * options.unknown_letter if strange else 0.0)

    def of_phrases(self, prefix: Prefix, finished: bool) -> float:
        """The phrases that were said, and unless the text is `finished` what is lent to one under way."""
        phrases = self.task.phrases
        begin = next(string for string, state in self.states.items() if state == phrases.begin)
        text = (*begin, *prefix, *((phrases.close,) if finished and phrases.close >= 0 else ()))

        def state(end: int) -> int:
            return next(self.states[text[i:end]] for i in range(end + 1) if text[i:end] in self.states)

        total = sum(float(phrases.earned[state(end)]) for end in range(len(begin) + 1, len(text) + 1))
        return total + (0.0 if finished else float(phrases.lent[state(len(text))]))

    def may_end(self, prefix: Prefix) -> Prefix:
        """The prefix, or where it ends in a word that may not be written, what comes before this word."""
        if self(prefix, True)[1] > -np.inf:
            return prefix
        return prefix[: max((i for i, symbol in enumerate(prefix) if symbol == self.task.options.space), default=0)]


def symbols_ref(row: NDArray[np.float32], options: BeamOptions) -> list[int]:
    """The symbols of one step worth trying; the blank takes part but is left out.

    Most probable first where the options choose by that, else in the order of the alphabet.
    """
    by_chance = options.prune_mass < 1.0 or options.prune_top < len(row)
    ordered = sorted(range(len(row)), key=lambda c: (-row[c], c))[: options.prune_top] if by_chance else range(len(row))
    chosen: list[int] = []
    total = 0.0
    for c in ordered:
        if chosen and options.prune_mass < 1.0 and total >= options.prune_mass:
            break
        if row[c] >= options.prune_logp and row[c] > -np.inf:
            chosen.append(c)
            total += float(np.exp(row[c]))
    return [c for c in chosen if c]


def beam_search_ref(log_probs: NDArray[np.float32], task: Task, N: int) -> list[tuple[Prefix, float, float, float]]:
    """The N best texts of one emission: symbols, Q, log p_ctc and log p_lm (nats), best first.

    log_probs: (T, V) float32, log-probabilities without NaN.
    """
    options, scorer = task.options, TextScorer(task)
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, -np.inf)}  # log p of the paths ending in a blank, in a label
    for row in log_probs.astype(np.float64):
        tried = symbols_ref(row.astype(np.float32), options)
        then = dict.fromkeys(beams, (-np.inf, -np.inf))
        for prefix, (blank, label) in beams.items():
            total = np.logaddexp(blank, label)
            last = prefix[-1] if prefix else options.space
            after_space = last == options.space
            stay = (total if after_space else label) + row[last] if last >= 0 else -np.inf
            then[prefix] = (total + row[0], np.logaddexp(then[prefix][1], stay))
            for c in tried:
                if c == options.space and after_space:
                    continue
                longer = (*prefix, c)
                before = then.get(longer, (-np.inf, -np.inf))
                am = (blank if c == last else total) + row[c]
                then[longer] = (before[0], np.logaddexp(before[1], am))
        scores = {prefix: np.logaddexp(*p) + scorer(prefix, False)[1] for prefix, p in then.items()}
        best = max(scores.values())
        good = [p for p in then if (p in beams or scores[p] > -np.inf) and scores[p] >= best - options.beam_gap]
        kept = set(sorted(good, key=lambda p: -scores[p])[: options.beam])
        beams = {prefix: then[prefix] for prefix in then if prefix in kept}
    ends = [prefix[:-1] if prefix and prefix[-1] == options.space else prefix for prefix in beams]
    found = texts_ref(ends, list(beams.values()), scorer)
    if found[0][1] == -np.inf:
        found = texts_ref([scorer.may_end(prefix) for prefix in ends], list(beams.values()), scorer)
    return [text for text in found if text[1] > -np.inf][:N] or found[:1]


def texts_ref(
    texts: list[Prefix], logs: list[tuple[float, float]], scorer: TextScorer
) -> list[tuple[Prefix, float, float, float]]:
    """The texts with Q, log p_ctc and log p_lm (nats), best first; those of one text joined."""
    joined: dict[Prefix, float] = {}
    for text, log in zip(texts, logs, strict=True):
        joined[text] = np.logaddexp(joined.get(text, -np.inf), np.logaddexp(*log))
    found = []
    for text, am in joined.items():
        log_p, weighted = scorer(text, True)
        found.append((text, float(am + weighted), float(am), log_p))
    return sorted(found, key=lambda f: -f[1])
