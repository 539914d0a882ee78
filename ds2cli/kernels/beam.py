"""CTC prefix beam search with an n-gram model (Hannun et al. 1408.2873; Deep Speech 2 section 3.8, equation 12).

Q(y) = log p_ctc(y) + alpha log p_lm(y) + beta word_count(y). A hypothesis is a node of a prefix tree (its parent and
its last symbol), so equal prefixes are the same number and merge without comparing strings. A run of spaces is one
space and a leading one is none, so log p_ctc is that of the text, summed over every path the beam kept.

A word is scored when it ends. Until then hypotheses are ranked as if it will be the likeliest word that starts as it
does (look-ahead in the lexicon's trie), else the beam fills with words that only put off their price.

Letters: T steps, V symbols with blank 0, W beams, N hypotheses asked for. Natural logarithms throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.ngram import NgramTables, ngram_begin, ngram_end, ngram_score
from ds2cli.kernels.prefix import (
    AHEAD,
    CHAR_LM,
    CHILD,
    END_LM,
    END_WEIGHTED,
    LM,
    NO_LM,
    NO_SPACE,
    PARENT,
    ROOT,
    SLOT,
    STATE,
    SYMBOL,
    TRIE,
    WEIGHTED,
    WORD_LM,
    BeamOptions,
    Lexicon,
    child,
    down,
    end_word,
    kth_largest,
    look_ahead,
    more_rows,
    pick_symbols,
    prefix_length,
)


@kernel
def _best(ints, logs, history, backoff, node, am, n, lm, lexicon, options, N):
    """Finish the n hypotheses of the last step, merge those of equal text, and trace the N best."""
    last = np.empty(n, np.int64)
    scores = np.empty((n, 3))
    m = 0
    for i in range(n):
        ints[node[i], SLOT] = -1
    for i in range(n):
        x = node[i]
        if x != ROOT and ints[x, SYMBOL] == options.space:
            x = ints[x, PARENT]
        if ints[x, SLOT] >= 0:
            j = ints[x, SLOT]
            scores[j, 1] = log_add(scores[j, 1], am[i])
            continue
        total, weighted = logs[x, LM], logs[x, WEIGHTED]
        if lexicon.kind == WORD_LM and x != ROOT:
            end_word(ints, logs, history, backoff, x, lm, lexicon, options)
            total += logs[x, END_LM]
            weighted += logs[x, END_WEIGHTED]
        if lexicon.kind != NO_LM and options.end:
            logp = ngram_end(lm, history, backoff, x)
            total += logp
            weighted += options.alpha * logp
        ints[x, SLOT] = m
        last[m] = x
        scores[m, 0], scores[m, 1], scores[m, 2] = weighted, am[i], total
        m += 1
    # the best N by selection, each taken from the front among equals
    N = min(N, m)
    best = np.empty((N, 3))
    chosen = np.empty(N, np.int64)
    longest = 0
    for j in range(N):
        top = -1
        for i in range(m):
            if last[i] >= 0 and (top < 0 or scores[i, 0] + scores[i, 1] > best[j, 0]):
                top = i
                best[j, 0] = scores[i, 0] + scores[i, 1]
        best[j, 1], best[j, 2] = scores[top, 1], scores[top, 2]
        chosen[j] = last[top]
        last[top] = -1
        longest = max(longest, prefix_length(ints, chosen[j]))
    labels = np.zeros((N, longest), np.int32)
    for j in range(N):
        x = chosen[j]
        for length in range(prefix_length(ints, x) - 1, -1, -1):
            labels[j, length] = ints[x, SYMBOL]
            x = ints[x, PARENT]
    return labels, best


@kernel
def beam_search(
    log_probs: NDArray[np.float32], lm: NgramTables, lexicon: Lexicon, options: BeamOptions, N: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The N best texts of one emission, best first; of two equal scores the one found earlier.

    log_probs: (T, V) float32, log-probabilities without NaN. Returns labels (N', L) int32, padded with blanks behind,
    and scores (N', 3) float64: Q, log p_ctc and log p_lm (nats); N' <= N texts, at least one.
    """
    T, V = log_probs.shape
    W = options.width
    word_lm, char_lm = lexicon.kind == WORD_LM, lexicon.kind == CHAR_LM
    ints = np.zeros((max(1024, 4 * W), 8), np.int64)
    logs = np.zeros((len(ints), 5))
    history = np.zeros((len(ints), lm.order - 1), np.int32)
    backoff = np.zeros(history.shape, np.float32)
    ngram_begin(lm, history, backoff, ROOT)
    ints[ROOT, PARENT], ints[ROOT, CHILD] = -1, -1
    ints[ROOT, SYMBOL] = -1 if options.space == NO_SPACE else options.space
    count: Any = np.int64(1)  # a plain 1 would compile `child` once more for the literal
    room = W * min(V, options.top)
    node, new_node = np.zeros(W, np.int64), np.empty(W, np.int64)
    blank, new_blank = np.full(W, -np.inf), np.empty(W)
    label, new_label = np.full(W, -np.inf), np.empty(W)
    total, rank = np.empty(W), np.empty(W)
    head, link = np.empty(W, np.int64), np.empty(W, np.int64)
    stay_blank, stay_label = np.empty(W), np.empty(W)
    target = np.full(V, -1, np.int64)
    picked = np.empty(V, np.int64)
    grown = np.empty((room, 4), np.int64)  # slot of the parent, symbol, trie node, row of the state
    gained = np.empty((room, 4))  # log p_ctc, log p_lm, weighted, ahead
    scores, scratch = np.empty(W + room), np.empty(W + room)
    n: Any = np.int64(1)
    blank[0] = 0.0
    for t in range(T):
        row = log_probs[t]
        tried = pick_symbols(row, options, picked)
        best = -np.inf
        for i in range(n):
            total[i] = log_add(blank[i], label[i])
            symbol = ints[node[i], SYMBOL]
            stay_blank[i] = total[i] + row[0]
            if symbol == options.space:
                stay_label[i] = total[i] + row[symbol]
            else:
                stay_label[i] = label[i] + row[symbol] if symbol >= 0 else -np.inf
            rank[i] = logs[node[i], WEIGHTED] + logs[node[i], AHEAD]
            best = max(best, stay_blank[i] + rank[i], stay_label[i] + rank[i])
            head[i] = -1
        for i in range(1 if node[0] == ROOT else 0, n):
            k = ints[ints[node[i], PARENT], SLOT]
            if k >= 0:
                link[i] = head[k]
                head[k] = i
        m = 0
        for i in range(n):
            x = node[i]
            symbol = ints[x, SYMBOL]
            weighted = logs[x, WEIGHTED]
            k = head[i]
            while k >= 0:
                target[ints[node[k], SYMBOL]] = k
                k = link[k]
            for j in range(tried):
                c = picked[j]
                if c == symbol and c == options.space:
                    continue
                am = (blank[i] if c == symbol else total[i]) + row[c]
                k = target[c]
                if k >= 0:
                    stay_label[k] = log_add(stay_label[k], am)
                    continue
                lm_logp, then, state = logs[x, LM], weighted, ints[x, STATE]
                trie, ahead = ROOT, 0.0
                if word_lm and c == options.space:
                    end_word(ints, logs, history, backoff, x, lm, lexicon, options)
                    lm_logp += logs[x, END_LM]
                    then += logs[x, END_WEIGHTED]
                    state = x
                elif word_lm:
                    trie = down(lexicon, ints[x, TRIE], c)
                    ahead = look_ahead(lexicon, trie, options)
                elif char_lm:
                    logp = ngram_score(lm, history, backoff, x, lexicon.unit[c], -1)
                    lm_logp += logp
                    then += options.alpha * logp + options.beta
                    if lexicon.unit[c] == lm.unk:
                        then += options.unknown
                score = am + then + ahead
                if score == -np.inf or score < best - options.gap:
                    continue
                best = max(best, score)
                grown[m, 0], grown[m, 1], grown[m, 2], grown[m, 3] = i, c, trie, state
                gained[m, 0], gained[m, 1], gained[m, 2], gained[m, 3] = am, lm_logp, then, ahead
                scratch[m] = score
                m += 1
            k = head[i]
            while k >= 0:
                target[ints[node[k], SYMBOL]] = -1
                k = link[k]
        for j in range(m):
            scores[n + j] = scratch[j]
        for i in range(n):
            scores[i] = log_add(stay_blank[i], stay_label[i]) + rank[i]
            best = max(best, scores[i])
            ints[node[i], SLOT] = -1
        bound, worst, ties = best - options.gap, np.inf, W
        if n + m > W:
            for i in range(n + m):
                scratch[i] = scores[i]
            worst = kth_largest(scratch, n + m, W)
            bound = max(bound, worst)
            for i in range(n + m):
                ties -= scores[i] > worst
        if count + W > len(ints):
            ints, logs, history, backoff = more_rows(ints), more_rows(logs), more_rows(history), more_rows(backoff)
        q = 0
        for i in range(n + m):
            if scores[i] < bound or (scores[i] == worst and ties == 0):
                continue
            if scores[i] == worst:
                ties -= 1
            if i < n:
                new_node[q], new_blank[q], new_label[q] = node[i], stay_blank[i], stay_label[i]
            else:
                j = i - n
                x, count = child(ints, count, node[grown[j, 0]], grown[j, 1])
                ints[x, TRIE], ints[x, STATE] = grown[j, 2], grown[j, 3]
                if char_lm:
                    ngram_score(lm, history, backoff, ints[x, PARENT], lexicon.unit[grown[j, 1]], x)
                logs[x, LM], logs[x, WEIGHTED], logs[x, AHEAD] = gained[j, 1], gained[j, 2], gained[j, 3]
                new_node[q], new_blank[q], new_label[q] = x, -np.inf, gained[j, 0]
            q += 1
        node, new_node = new_node, node
        blank, new_blank = new_blank, blank
        label, new_label = new_label, label
        n = q
        for i in range(n):
            ints[node[i], SLOT] = i
    for i in range(n):
        total[i] = log_add(blank[i], label[i])
    found: tuple[NDArray[np.int32], NDArray[np.float64]] = _best(
        ints, logs, history, backoff, node, total, n, lm, lexicon, options, N
    )
    return found
