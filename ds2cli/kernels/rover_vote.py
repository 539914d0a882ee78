"""ROVER, the second half: vote in each correspondence set of a network (Fiscus 1997), as NIST's `rover` does.

Notation: K systems, S words of all hypotheses in a row, C correspondence sets of K words, some of which are NULL. The
score of a word is alpha · (votes / K) + (1 - alpha) · confidence; of words with equal scores the first in the set wins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.rover import NULL

VOTES, AVERAGE, MAXIMUM, SHARE = range(4)
"""The confidence of a word in a set: none, the average of its occurrences, the highest, or their part of the total."""


def vote_ref(
    words: list[int], confs: list[float], method: int, alpha: float, null_conf: float
) -> tuple[int, int, float, bool]:
    """The word of one correspondence set with the highest score; the reference.

    words: K ids, or NULL.  confs: their confidences; that of NULL is `null_conf`.
    Score: alpha · (votes / K) + (1 - alpha) · confidence, where `method` says which confidence.
    Returns where in `words` the winner is first, its votes, its average confidence, and whether another one has the
    same score.
    """
    confs = [null_conf if word == NULL else conf for word, conf in zip(words, confs, strict=True)]
    total = sum(confs)
    scores = dict[int, float]()
    for word in words:
        own = [conf for w, conf in zip(words, confs, strict=True) if w == word]
        share = len(own) / len(words)
        if method == VOTES:
            scores[word] = share
        elif method == AVERAGE:
            scores[word] = alpha * share + (1 - alpha) * (sum(own) / len(own))
        elif method == MAXIMUM:
            scores[word] = alpha * share + (1 - alpha) * max(0.0, *own)
        else:
            scores[word] = alpha * share + ((1 - alpha) * sum(own) / total if total else 0.0)
    winner = max(scores, key=lambda word: scores[word])
    own = [conf for w, conf in zip(words, confs, strict=True) if w == winner]
    tie = sum(score == scores[winner] for score in scores.values()) > 1
    return words.index(winner), len(own), sum(own) / len(own), tie


@kernel
def vote(
    sets: NDArray[np.int32],
    ids: NDArray[np.int32],
    confs: NDArray[np.float64],
    method: int,
    alpha: float,
    null_conf: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """As `vote_ref` for each set.

    sets: (C, K) indices of words, or NULL.  ids, confs: (S,) of each word; sctk's are rounded to float32.
    Returns three arrays (C,): the column in which the winner is first, its votes, and whether it won a tie.
    """
    C, K = sets.shape
    winners = np.empty(C, dtype=np.int32)
    votes = np.empty(C, dtype=np.int32)
    ties = np.zeros(C, dtype=np.bool_)
    for c in range(C):
        total = 0.0
        for k in range(K):
            total += null_conf if sets[c, k] == NULL else confs[sets[c, k]]
        best = -np.inf
        for k in range(K):
            if not _is_first(sets[c], ids, k):
                continue
            count, conf_sum, highest = 0, 0.0, 0.0
            for other in range(k, K):
                if _same(sets[c], ids, k, other):
                    conf = null_conf if sets[c, other] == NULL else confs[sets[c, other]]
                    count += 1
                    conf_sum += conf
                    highest = max(highest, conf)
            share = count / K
            if method == VOTES:
                score = share
            elif method == AVERAGE:
                score = alpha * share + (1 - alpha) * (conf_sum / count)
            elif method == MAXIMUM:
                score = alpha * share + (1 - alpha) * highest
            elif total != 0:
                score = alpha * share + (1 - alpha) * conf_sum / total
            else:
                score = alpha * share
            if score > best:
                best = score
                winners[c], votes[c], ties[c] = k, count, False
            elif score == best:
                ties[c] = True
    return winners, votes, ties


@kernel
def _same(words: NDArray[np.int32], ids: NDArray[np.int32], a: int, b: int) -> bool:
    a, b = words[a], words[b]
    return a == b if a == NULL or b == NULL else bool(ids[a] == ids[b])


@kernel
def _is_first(words: NDArray[np.int32], ids: NDArray[np.int32], k: int) -> bool:
    before = 0
    while before < k and not _same(words, ids, before, k):
        before += 1
    return before == k


@kernel
def average_voters(
    sets: NDArray[np.int32], ids: NDArray[np.int32], winners: NDArray[np.int32], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The average of a value over the words that won each set: (C,); NaN where NULL won.  values: (S,)."""
    averages = np.full(len(sets), np.nan)
    for c in range(len(sets)):
        if sets[c, winners[c]] != NULL:
            total, count = 0.0, 0
            for k in range(sets.shape[1]):
                if _same(sets[c], ids, winners[c], k):
                    total += values[sets[c, k]]
                    count += 1
            averages[c] = total / count
    return averages
