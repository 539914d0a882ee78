"""What `beam.beam_search` must compute: the same search over tuples of symbols, in a dictionary, word by word.

Letters: T steps, V symbols with blank 0, N hypotheses asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.ngram import NgramTables, ngram_begin, ngram_end, ngram_score
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, OFF_TRIE, WORD_LM, BeamOptions, Lexicon, down, look_ahead

Prefix = tuple[int, ...]


def words_of(prefix: Prefix, space: int) -> list[Prefix]:
    """The words of a prefix; the last one may be unfinished, or empty after a space."""
    words: list[Prefix] = [()]
    for symbol in prefix:
        words = [*words, ()] if symbol == space else [*words[:-1], (*words[-1], symbol)]
    return words


def lm_score_ref(
    prefix: Prefix, finished: bool, lm: NgramTables, lexicon: Lexicon, options: BeamOptions
) -> tuple[float, float]:
    """log p_lm of a prefix, and what equation 12 adds to log p_ctc for it.

    The word that a prefix ends in counts when it is `finished`; then </s> does too, where the options say so. Before,
    it adds what the search looks ahead to.
    """
    units: list[int] = []
    ahead = 0.0
    if lexicon.kind == CHAR_LM:
        units = [int(lexicon.unit[symbol]) for symbol in prefix]
    elif lexicon.kind == WORD_LM:
        words = words_of(prefix, options.space)
        for word in words if finished and words[-1] else words[:-1]:
            node = 0
            for symbol in word:
                node = down(lexicon, node, symbol)
            units.append(lm.unk if node == OFF_TRIE else int(lexicon.word[node]))
        if words[-1] and not finished:
            node = 0
            for symbol in words[-1]:
                node = down(lexicon, node, symbol)
            ahead = look_ahead(lexicon, node, options)
    history = np.empty((len(units) + 1, lm.width), dtype=np.int32)
    backoff = np.empty(history.shape, dtype=np.float32)
    ngram_begin(lm, history, backoff, 0)
    total = 0.0
    for i, unit in enumerate(units):
        total += ngram_score(lm, history, backoff, i, unit, i + 1)
    bonus = options.beta * len(units) + options.unknown * units.count(lm.unk)
    if finished and options.end and lexicon.kind != NO_LM:
        total += ngram_end(lm, history, backoff, len(units))
    return total, options.alpha * total + bonus + ahead


def symbols_ref(row: NDArray[np.float32], options: BeamOptions) -> list[int]:
    """The symbols of one step worth trying, most probable first; the blank takes part but is left out."""
    ordered = sorted(range(len(row)), key=lambda c: (-row[c], c))[: options.top]
    chosen = []
    total = 0.0
    for c in ordered:
        if row[c] < options.floor or row[c] == -np.inf or (options.mass < 1.0 and total >= options.mass):
            break
        chosen.append(c)
        total += float(np.exp(row[c]))
    return [c for c in chosen if c]


def beam_search_ref(
    log_probs: NDArray[np.float32], lm: NgramTables, lexicon: Lexicon, options: BeamOptions, N: int
) -> list[tuple[Prefix, float, float, float]]:
    """The N best texts of one emission: symbols, Q, log p_ctc and log p_lm (nats), best first.

    log_probs: (T, V) float32, log-probabilities without NaN.
    """
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, -np.inf)}  # log p of the paths ending in a blank, in a label

    def score(prefix: Prefix, am: float) -> float:
        return am + lm_score_ref(prefix, False, lm, lexicon, options)[1]

    for row in log_probs.astype(np.float64):
        tried = symbols_ref(row, options)
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
        scores = {prefix: score(prefix, np.logaddexp(*p)) for prefix, p in then.items()}
        best = max(scores.values())
        good = [p for p in then if (p in beams or scores[p] > -np.inf) and scores[p] >= best - options.gap]
        kept = set(sorted(good, key=lambda p: -scores[p])[: options.width])
        beams = {prefix: then[prefix] for prefix in then if prefix in kept}
    texts: dict[Prefix, float] = {}
    for prefix, p in beams.items():
        text = prefix[:-1] if prefix and prefix[-1] == options.space else prefix
        texts[text] = np.logaddexp(texts.get(text, -np.inf), np.logaddexp(*p))
    found = []
    for text, am in texts.items():
        logp, weighted = lm_score_ref(text, True, lm, lexicon, options)
        found.append((text, float(am + weighted), float(am), logp))
    return sorted(found, key=lambda f: -f[1])[:N]
