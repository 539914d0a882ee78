"""Whether a network has learned: its loss and its dev errors compared with those of knowing nothing.

A network that only knows how frequent the symbols are has a loss near the entropy of the letters (the plateau at which
CTC trainings start, and at which failed ones stay), and errors no lower than those of writing the same text each time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import UNITS, Counts

LEARNED, BEGUN = 0.5, 0.8
"""Shares of the baseline's character errors: below the first a network has learned, below the second begun to."""

KNOWS_TRAINING = 0.5
"""Share of the entropy of the letters: with a lower loss, a network knows the texts it was trained on."""

MOST_CANDIDATES = 50
"""Frequent texts that are tried as the one that is written each time."""

State = Literal["learned", "begun to learn", "learned by heart", "not learned", "diverged"]


@dataclass(frozen=True)
class Verdict:
    """What became of a training.

    cer, baseline: character error rates of the network (greedy) and of the same text each time, on dev (percent).
    text: that text; "" is the empty one.  loss, first_loss, entropy: nats per letter: of the last and first epoch, and
    of knowing only how frequent each letter is.  epoch: the one with the lowest dev CER.
    """

    state: State
    cer: float
    baseline: float
    text: str
    loss: float
    first_loss: float
    entropy: float
    epoch: int
    epochs: int

    def describe(self) -> str:
        """One or two sentences."""
        always = f"always {self.text!r}" if self.text else "always nothing"
        dev = f"on dev {self.cer:.1f} % of the characters are wrong; writing {always} gets {self.baseline:.1f} %"
        first = f"{self.first_loss:.2f} after one epoch, " if self.epochs > 1 else ""
        loss = f"The loss was {first}{self.loss:.2f} at the end (nats per symbol)"
        chance = f"knowing only how frequent each letter is gives {self.entropy:.2f}"
        heart = ""
        if self.state == "begun to learn" and self.loss < KNOWS_TRAINING * self.entropy:
            heart = " It knows the training texts by heart: more epochs will not help."
        return f"The network has {self.state}: {dev}. {loss}; {chance}.{heart}"

    def advice(self, *, is_closed: bool, minutes: float) -> list[str]:
        """What to do about it, the most promising first."""
        more = "record more: ten times as much speech helps more than any setting"
        closed = "record a closed vocabulary: few words, each many times by each speaker"
        init = "start from a trained network, also of another language (--init EXP)"
        suspects = "look for wrong transcripts: ds2 data suspects EXP"
        longer = "train for more epochs: the best one was the last (run.sh --conf FILE with epochs = …)"
        still_falling = [longer] if self.epoch == self.epochs else []
        few_words = [] if is_closed or minutes > 60 else [closed]
        if self.state == "learned":
            return still_falling
        if self.state == "diverged":
            return ["a lower learning rate (run.sh --conf FILE with lr = 5e-4 in its section [optim])", suspects]
        if self.state == "learned by heart":
            return [more, *few_words, init]
        if self.state == "begun to learn":
            return [*still_falling, more, *few_words, init]
        texts = "check that the texts are those of the recordings: listen to some rows of ds2 data show"
        return [texts, suspects, *still_falling, more, *few_words, init]


def letter_entropy(texts: Iterable[str]) -> float:
    """The entropy of the letters, spaces included, nats per letter."""
    letters = Counter[str]()
    for text in texts:
        letters.update(" ".join(text.split()))
    total = letters.total()
    return -sum(n / total * math.log(n / total) for n in letters.values()) if total else 0.0


def baseline(train: Iterable[str], dev: Sequence[str]) -> tuple[float, str]:
    """The lowest CER on dev (percent) of writing one text each time, and this text.

    It is nothing, or one of the most frequent texts of training: those are found without looking at dev.
    """
    frequent = [text for text, _ in Counter(train).most_common(MOST_CANDIDATES)]
    return min((_rate(text, dev), text) for text in ("", *frequent))


def decide(
    epochs: Sequence[Mapping[str, float | None]], cer: float, train: Iterable[str], dev: Sequence[str]
) -> Verdict:
    """The verdict on a training.

    epochs: the rows of train.jsonl, with `loss` and `dev_cer`.  cer: of the greedy texts of dev (percent).
    train, dev: the texts.
    """
    texts = list(train)
    losses = [math.nan if row.get("loss") is None else float(row["loss"] or 0.0) for row in epochs]
    rates = [math.inf if row.get("dev_cer") is None else float(row["dev_cer"] or 0.0) for row in epochs]
    entropy, (chance, text) = letter_entropy(texts), baseline(texts, dev)
    state: State
    if not math.isfinite(losses[-1]) or losses[-1] > 3 * max(losses[0], entropy):
        state = "diverged"
    elif cer < LEARNED * chance:
        state = "learned"
    elif cer < BEGUN * chance:
        state = "begun to learn"
    else:
        state = "learned by heart" if losses[-1] < KNOWS_TRAINING * entropy else "not learned"
    best = rates.index(min(rates)) + 1
    return Verdict(state, cer, chance, text, losses[-1], losses[0], entropy, best, len(epochs))


def _rate(text: str, dev: Sequence[str]) -> float:
    total = Counts()
    for ref in dev:
        total += count(UNITS["char"](ref), UNITS["char"](text))
    return total.rate
