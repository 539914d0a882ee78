"""Wrong transcripts of known utterances: the errors of careless transcribers and of wrong cuts, planted on purpose."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from random import Random

KINDS = ("delete", "insert", "substitute", "cut-start", "cut-end", "attach", "shift", "other")
"""The kinds of errors.

delete, insert, substitute: single words, up to half as many as the text has; inserted ones are words of other
utterances, substitutes those of similar frequency.
cut-start, cut-end: the text lacks its first or last words.
attach: the last words of the utterance before, or the first ones of the next, are in this text.
shift: both, as of a text that was cut some words too late or too early.
other: the text of another utterance.
"""

_RANKS = 10
"""A substitute is at most this many ranks more or less frequent than the word."""


class ErrorPlanter:
    """Plants errors in the texts of a set of utterances, in the order in which they were said.

    What is planted in an utterance follows from the seed, its id, and the texts of all.
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str], seed: int) -> None:
        self._ids, self._texts, self._seed = ids, [text.split() for text in texts], seed
        counts = Counter(chain.from_iterable(self._texts))
        self._ranking = sorted(counts, key=lambda word: (-counts[word], word))
        self._rank = {word: rank for rank, word in enumerate(self._ranking)}

    def plant(self, place: int, copies: int) -> list[tuple[str, str]]:
        """Wrong texts of the utterance at `place`, each with its kind: all different, up to `copies` of each kind.

        A kind is left out where it is impossible, such as a shorter text of one word.
        """
        random = Random(_digest(self._seed, self._ids[place]))
        found = {tuple(self._texts[place]): ""}
        for kind in KINDS:
            make = getattr(self, f"_{kind.replace('-', '_')}")
            for _ in range(copies):
                words = make(place, list(self._texts[place]), random)
                if words:
                    found.setdefault(tuple(words), kind)
        return [(kind, " ".join(words)) for words, kind in found.items() if kind]

    def _delete(self, place: int, words: list[str], random: Random) -> list[str]:
        gone = set(random.sample(range(len(words)), _some(random, len(words) // 2)))
        return [word for i, word in enumerate(words) if i not in gone]

    def _insert(self, place: int, words: list[str], random: Random) -> list[str]:
        for _ in range(_some(random, max(1, len(words) // 2))):
            other = self._choose_other(place, random)
            if other:
                words.insert(random.randint(0, len(words)), random.choice(other))
        return words

    def _substitute(self, place: int, words: list[str], random: Random) -> list[str]:
        for i in random.sample(range(len(words)), _some(random, max(len(words) // 2, min(1, len(words))))):
            rank = self._rank[words[i]]
            nearby = self._ranking[max(0, rank - _RANKS) : rank + _RANKS + 1]
            nearby.remove(words[i])
            words[i] = random.choice(nearby) if nearby else words[i]
        return words

    def _cut_start(self, place: int, words: list[str], random: Random) -> list[str]:
        return words[_some(random, len(words) - 1) :]

    def _cut_end(self, place: int, words: list[str], random: Random) -> list[str]:
        return words[: len(words) - _some(random, len(words) - 1)]

    def _attach(self, place: int, words: list[str], random: Random) -> list[str]:
        before, after = self._borders(place, random)
        return [*before, *words, *after]

    def _shift(self, place: int, words: list[str], random: Random) -> list[str]:
        before, after = self._borders(place, random)
        gone = _some(random, len(words) - 1)
        return [*before, *(words[: len(words) - gone] if before else words[gone:]), *after]

    def _other(self, place: int, words: list[str], random: Random) -> list[str]:
        return self._choose_other(place, random)

    def _borders(self, place: int, random: Random) -> tuple[list[str], list[str]]:
        """Words of the utterance before, or of the next one: one of the two lists is empty."""
        last = len(self._texts) - 1
        is_before = place == last or (place > 0 and random.random() < 0.5)
        near = self._texts[place - 1 if is_before else place + 1] if last else []
        number = _some(random, len(near))
        return (near[len(near) - number :], []) if is_before else ([], near[:number])

    def _choose_other(self, place: int, random: Random) -> list[str]:
        """The words of another utterance; none if there is no other."""
        if len(self._texts) == 1:
            return []
        other = random.randrange(len(self._texts) - 1)
        return self._texts[other + (other >= place)]


def shuffle_by_id(ids: Sequence[str], seed: int) -> list[int]:
    """The places of the ids in a random order that follows from the seed and the ids alone."""
    return sorted(range(len(ids)), key=lambda place: (_digest(seed, ids[place]), ids[place]))


def _some(random: Random, most: int) -> int:
    """A number from 1 to `most`; 0 if that is less than 1."""
    return random.randint(1, most) if most >= 1 else 0


def _digest(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode("utf-8", "surrogatepass"), digest_size=16).digest())
