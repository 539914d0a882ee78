"""ROVER, the first half: align the hypotheses of several systems word by word (Fiscus 1997), as NIST's `rover` does.

Notation: P utterances, K systems, S words of all hypotheses in a row, C correspondence sets. A correspondence set is
what the systems have in one place: K words, of which some are NULL, no word.

Alignment (section 2.1 of the paper, and `Network_dpalign_n_networks` of sctk): the network begins as the words of the
first system, one set for each. The next systems are aligned to it one after the other. Costs: 0 for a word that the set
has already, 1 where it has NULL, 4 for another word, 3 to insert or to leave out a word, 0.001 to pass a set by way of
its NULL. The diagonal wins if it costs no more than the others; a deletion wins over an insertion only if it is
cheaper; of equal words of one set the first is taken. Costs are summed in float32, like sctk's: that decides ties.

An inserted word makes a new set: the word, then NULL for each system before. Otherwise a set has its words in the order
of the systems.

Of a long network only the costs before every BLOCK-th set are kept, and those between are computed a second time when
the alignment is traced back: memory grows with the number of words, not with its square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel

NULL = -1
BLOCK = 128
"""Sets between two whose costs are kept."""

_DIAGONAL, _DELETION, _INSERTION = 0, 1, 2
_GAP, _OTHER, _FILL = np.float32(3), np.float32(4), np.float32(1)
_PASS_NULL = np.float32(0.001)
_ZERO = np.float32(0)


def build_network_ref(
    ids: NDArray[np.int32], ends: NDArray[np.int64], times: NDArray[np.float64] | None = None
) -> list[list[int]]:
    """The correspondence sets of one utterance, each as K indices of words or NULL; the reference.

    ids: (S,) of the words of all systems in a row.  ends: (K,) where those of each system end.
    times: (S, 2) start and end of each word (s), for costs by time (`rover -T`): a pair of words costs the distance of
    their starts and of their ends, and 0.001 if they differ; a gap costs the duration of the word; NULL is at 0.
    """

    def gap(word: int) -> np.float32:
        if word == NULL:
            return _PASS_NULL
        return _GAP if times is None else np.float32(times[word, 1] - times[word, 0])

    def pair(a: int, b: int) -> np.float32:
        if times is not None:
            start, end = (0.0, 0.0) if a == NULL else times[a]
            differ = a == NULL or ids[a] != ids[b]
            return np.float32(abs(start - times[b, 0]) + abs(end - times[b, 1]) + (0.001 if differ else 0.0))
        if a == NULL:
            return _FILL
        return _ZERO if ids[a] == ids[b] else _OTHER

    sets = [[word] for word in range(int(ends[0]))]
    for system in range(1, len(ends)):
        words = range(int(ends[system - 1]), int(ends[system]))
        # an arc without a word, where alignments begin, then those of each set
        arcs: list[list[int | None]] = [[None], *map(list[int | None], sets)]
        cost = [[[_ZERO] * (len(words) + 1) for _ in arcs[c]] for c in range(len(arcs))]
        step = [[[_INSERTION] * (len(words) + 1) for _ in arcs[c]] for c in range(len(arcs))]
        for c, arc in enumerate(arcs):
            for r, a in enumerate(arc):
                for j in range(len(words) + 1):
                    found: list[tuple[np.float32, int]] = []
                    if a is not None and j:
                        found.append((_best(cost[c - 1], j - 1)[0] + pair(a, words[j - 1]), _DIAGONAL))
                    insertion = cost[c][r][j - 1] + gap(words[j - 1]) if j else None
                    if a is not None:
                        deletion = _best(cost[c - 1], j)[0] + gap(a)
                        if insertion is None or deletion < insertion:
                            found.append((deletion, _DELETION))
                    if insertion is not None:
                        found.append((insertion, _INSERTION))
                    if found:
                        cost[c][r][j], step[c][r][j] = min(found)
        c, j, new = len(sets), len(words), list[list[int]]()
        r = _best(cost[c], j)[1]
        while c or j:
            done = step[c][r][j]
            if done == _INSERTION:
                j -= 1
                new.append([words[j], *[NULL] * system])
                continue
            j -= done == _DIAGONAL
            new.append([*sets[c - 1], words[j] if done == _DIAGONAL else NULL])
            c -= 1
            r = _best(cost[c], j)[1]
        sets = new[::-1]
    return sets


def _best(cost: list[list[np.float32]], j: int) -> tuple[np.float32, int]:
    """The lowest cost of the arcs of a set, and the first arc that has it."""
    return min((row[j], r) for r, row in enumerate(cost))


@kernel
def build_networks(
    ids: NDArray[np.int32], ends: NDArray[np.int64], K: int, times: NDArray[np.float64], by_time: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """As `build_network_ref` for each of P utterances.

    ids: (S,).  ends: (P * K,), where the words of each system of each utterance end.  times: (S, 2) if `by_time`.
    Returns the sets of all utterances, (C, K) int32 of indices of words or NULL, and (P,) where those of each end.
    """
    P = len(ends) // K
    longest = 0
    for p in range(P):
        longest = max(longest, ends[p * K + K - 1] - (ends[p * K - 1] if p else 0))
    out = np.empty((len(ids), K), dtype=np.int32)
    set_ends = np.empty(P, dtype=np.int64)
    network = np.empty((longest, K), dtype=np.int32)
    merged = np.empty((longest, K), dtype=np.int32)
    kept = np.empty((longest // BLOCK + 1, longest + 1), dtype=np.float32)
    before = np.empty(longest + 1, dtype=np.float32)
    step = np.empty((min(longest, BLOCK), K - 1, longest + 1), dtype=np.uint8)
    chosen = np.empty((min(longest, BLOCK), longest + 1), dtype=np.uint8)
    size = 0
    for p in range(P):
        first = ends[p * K - 1] if p else 0
        sets = ends[p * K] - first
        for c in range(sets):
            network[c, 0] = first + c
        for system in range(1, K):
            begin = ends[p * K + system - 1]
            words = ends[p * K + system] - begin
            before[0] = _ZERO
            for j in range(words):
                before[j + 1] = before[j] + _word_gap(times, begin + j, by_time)
            last = max(0, sets - 1) // BLOCK
            for c in range(last * BLOCK):
                if c % BLOCK == 0:
                    kept[c // BLOCK, : words + 1] = before[: words + 1]
                _add_set(ids, times, by_time, network[c, :system], begin, words, before, step[0], chosen[0])
            kept[last, : words + 1] = before[: words + 1]
            n, c, j, r = sets + words, sets, words, -1
            while c > 0:
                start = (c - 1) // BLOCK * BLOCK
                before[: words + 1] = kept[start // BLOCK, : words + 1]
                for s in range(start, c):
                    _add_set(
                        ids,
                        times,
                        by_time,
                        network[s, :system],
                        begin,
                        words,
                        before,
                        step[s - start],
                        chosen[s - start],
                    )
                while c > start:
                    n -= 1
                    if r < 0:
                        r = chosen[c - 1 - start, j]
                    done = step[c - 1 - start, r, j]
                    if done == _INSERTION:
                        j -= 1
                        _new_set(merged[n], begin + j, system)
                        continue
                    c, r = c - 1, -1
                    merged[n, :system] = network[c, :system]
                    merged[n, system] = NULL
                    if done == _DIAGONAL:
                        j -= 1
                        merged[n, system] = begin + j
            while j > 0:
                n, j = n - 1, j - 1
                _new_set(merged[n], begin + j, system)
            for k in range(n, sets + words):
                merged[k - n, : system + 1] = merged[k, : system + 1]
            sets += words - n
            network, merged = merged, network
        out[size : size + sets] = network[:sets]
        size += sets
        set_ends[p] = size
    return out[:size].copy(), set_ends


@kernel
def _new_set(words: NDArray[np.int32], word: int, system: int) -> None:
    words[0] = word
    words[1 : system + 1] = NULL


@kernel
def _add_set(
    ids: NDArray[np.int32],
    times: NDArray[np.float64],
    by_time: bool,
    arcs: NDArray[np.int32],
    begin: int,
    words: int,
    before: NDArray[np.float32],
    step: NDArray[np.uint8],
    chosen: NDArray[np.uint8],
) -> None:
    """Replace the costs of the alignments that end before a set by those that end after it, for each number of words.

    arcs: the words of the set, or NULL.  begin, words: which words are aligned.
    before: (words + 1,), of the best arc of each set; all arcs of the next set start there.
    step: written, how each arc is reached.  chosen: written, the best arc.
    """
    first = before[: words + 1].copy()
    for r in range(len(arcs)):
        a = arcs[r]
        passing = _PASS_NULL if a == NULL else _word_gap(times, a, by_time)
        left = first[0] + passing
        step[r, 0] = _DELETION
        if r == 0 or left < before[0]:
            before[0] = left
            chosen[0] = r
        for j in range(words):
            b = begin + j
            diagonal = first[j] + _pair_cost(ids, times, a, b, by_time)
            deletion = first[j + 1] + passing
            insertion = left + _word_gap(times, b, by_time)
            if diagonal <= deletion and diagonal <= insertion:
                left = diagonal
                step[r, j + 1] = _DIAGONAL
            elif deletion < insertion:
                left = deletion
                step[r, j + 1] = _DELETION
            else:
                left = insertion
                step[r, j + 1] = _INSERTION
            if r == 0 or left < before[j + 1]:
                before[j + 1] = left
                chosen[j + 1] = r


@kernel
def _word_gap(times: NDArray[np.float64], word: int, by_time: bool) -> np.float32:
    return np.float32(times[word, 1] - times[word, 0]) if by_time else _GAP


@kernel
def _pair_cost(ids: NDArray[np.int32], times: NDArray[np.float64], a: int, b: int, by_time: bool) -> np.float32:
    if by_time:
        if a == NULL:
            return np.float32(abs(times[b, 0]) + abs(times[b, 1]) + 0.001)
        other = 0.0 if ids[a] == ids[b] else 0.001
        return np.float32(abs(times[a, 0] - times[b, 0]) + abs(times[a, 1] - times[b, 1]) + other)
    if a == NULL:
        return _FILL
    return _ZERO if ids[a] == ids[b] else _OTHER
