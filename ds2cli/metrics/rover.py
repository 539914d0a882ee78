"""Combine the hypotheses of several systems by voting on each word: ROVER (Fiscus 1997).

Notation: P utterances, K systems, S words of all hypotheses, C correspondence sets (places in which the systems vote).
`kernels/rover.py` explains the alignment, `kernels/rover_vote.py` the vote; both agree with NIST's `rover` (sctk),
which also cuts a recording where the first system pauses for more than 1 s, or has ended, and all others have a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal, NamedTuple

import numpy as np

from ds2cli.kernels.apart import run_apart
from ds2cli.kernels.rover import NULL, build_networks
from ds2cli.kernels.rover_vote import AVERAGE, MAXIMUM, SHARE, VOTES, average_voters, vote

MAX_SYSTEMS = 255
"""More would not fit the type of an array of `build_networks`."""

VoteMethod = Literal["votes", "average", "maximum", "share"]
"""The confidence of a word in its score: none; `-m meth1`, `-m maxconf` and `-m avgconf` of NIST's rover."""

_METHODS = {"votes": VOTES, "average": AVERAGE, "maximum": MAXIMUM, "share": SHARE}


@dataclass(frozen=True)
class VoteRule:
    """How a word wins: by alpha · (votes / K) + (1 - alpha) · confidence; of equal scores that of the earlier system.

    null_conf: confidence of the empty word, that is of systems without a word in a place. Those of words are rounded to
    float32 for the vote, as in sctk, so that 0.6 of a word is a bit more than 0.6 here.
    by_time: align words by their times instead of by their spelling.
    """

    method: VoteMethod = "votes"
    alpha: float = 1.0
    null_conf: float = 0.0
    by_time: bool = False

    @property
    def needs_confs(self) -> bool:
        """Whether every word must have a confidence."""
        return self.method != "votes"


class Hypothesis(NamedTuple):
    """The words of one system for one utterance.

    confs: the confidence of each word, 0 to 1; None if they have none.
    times: start and end of each word (s); None if they have none.
    """

    words: Sequence[str]
    confs: Sequence[float] | None = None
    times: Sequence[tuple[float, float]] | None = None


class VotedWord(NamedTuple):
    """A word that won, with the number of systems that voted for it.

    conf, start, end: averages over those systems; None if the hypotheses have none.
    """

    word: str
    votes: int
    conf: float | None
    start: float | None
    end: float | None


@dataclass
class Places:
    """Counts of correspondence sets; they add up over calls of `combine`.

    unanimous: all systems have the same word.
    ties: another word had the same score as the winner, which comes from an earlier system.
    """

    total: int = 0
    unanimous: int = 0
    ties: int = 0


def combine(
    utterances: Sequence[Sequence[Hypothesis]], rule: VoteRule, places: Places | None = None
) -> list[list[VotedWord]]:
    """The combined words of each of P utterances, of which each has K hypotheses in the order of the systems.

    The order matters: the words of the first system are the network that the others are aligned to, and ties are won
    by earlier systems. A system without words votes for the empty word everywhere.
    places: adds the counts of these utterances.
    ValueError if the rule needs confidences or times that a hypothesis with words does not have, or for fewer than two
    or more than MAX_SYSTEMS systems.
    """
    if not utterances:
        return []
    K = len(utterances[0])
    if not 2 <= K <= MAX_SYSTEMS:
        raise ValueError(f"{K} systems: expected 2 to {MAX_SYSTEMS}")
    hypotheses = list(chain.from_iterable(utterances))
    numbers: dict[str, int] = {}
    ids = np.array(
        [numbers.setdefault(word, len(numbers)) for hypothesis in hypotheses for word in hypothesis.words], np.int32
    )
    ends = np.cumsum([len(hypothesis.words) for hypothesis in hypotheses], dtype=np.int64)
    unknown, no_times = (np.nan,), ((np.nan, np.nan),)
    confs = np.array([c for h in hypotheses for c in (h.confs or unknown * len(h.words))], np.float64)
    times = np.array([t for h in hypotheses for t in (h.times or no_times * len(h.words))], np.float64).reshape(-1, 2)
    if not len(ids) == len(confs) == len(times):
        raise ValueError("a hypothesis has another number of words than of confidences or times")
    if (rule.needs_confs and np.isnan(confs).any()) or (rule.by_time and np.isnan(times).any()):
        raise ValueError("a hypothesis lacks the confidences or times that the rule needs")
    sets, set_ends = run_apart(build_networks, ids, ends, K, times, rule.by_time)
    # sctk holds the confidences of words in float32, that of the empty word in double: that decides ties
    rounded = confs.astype(np.float32).astype(np.float64)
    winners, votes, ties = run_apart(vote, sets, ids, rounded, _METHODS[rule.method], rule.alpha, rule.null_conf)
    if places is not None:
        places.total += len(sets)
        places.unanimous += int((votes == K).sum())
        places.ties += int(ties.sum())
    columns = [
        _without_nan(run_apart(average_voters, sets, ids, winners, values))
        for values in (confs, times[:, 0].copy(), times[:, 1].copy())
    ]
    first = sets[np.arange(len(sets)), winners]
    words = list(numbers)
    named = [words[i] if place != NULL else None for i, place in zip(_take(ids, first), first.tolist(), strict=True)]
    voted = zip(named, votes.tolist(), *columns, strict=True)
    all_words = [None if word is None else VotedWord(word, *rest) for word, *rest in voted]
    begins = [0, *set_ends.tolist()]
    return [[word for word in all_words[begin:end] if word is not None] for begin, end in pairwise(begins)]


def _take(ids: np.ndarray, places: np.ndarray) -> list[int]:
    """The id at each place; any for NULL."""
    return ids[places].tolist() if len(ids) else [0] * len(places)  # type: ignore[no-any-return]


def _without_nan(values: np.ndarray) -> Sequence[float | None]:
    if np.isnan(values).all():
        return [None] * len(values)
    return [None if value != value else value for value in values.tolist()]
