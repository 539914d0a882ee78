"""What networks reached on little data: the figures from which an expectation is taken, each with the run it is from.

egs/own/RESULTS.md has the same table; a test compares the two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ds2cli.recommend.facts import Facts

LEAST_MINUTES = 10.0
"""Below this, only closed vocabularies were learned."""


class Figure(NamedTuple):
    """Word error rates of runs on one corpus, lowest and highest (percent).

    closed: few words, each said many times.  one: one speaker.  on: what was recognized.  greedy: without, lm: with a
    language model of the training transcripts.  source: the runs.
    """

    minutes: float
    closed: bool
    one: bool
    corpus: str
    on: str
    greedy: tuple[float, float]
    lm: tuple[float, float] | None
    source: str

    def describe(self) -> str:
        """`20 minutes of one speaker, any texts: WER 34-45 % on new texts, 24-29 % with a language model (…)`."""
        speakers = "one speaker" if self.one else "several speakers"
        vocabulary = "few words, each many times" if self.closed else "any texts"
        rates = f"WER {_span(self.greedy)} on {self.on}"
        if self.lm:
            rates += f", {_span(self.lm)} with a language model of the training texts"
        return f"{self.minutes:g} minutes of {speakers}, {vocabulary}: {rates} ({self.corpus}; {self.source})"


FIGURES = (
    Figure(1.6, True, False, "FSDD", "new recordings of the same speakers", (10, 10), (3.3, 3.3), "egs/own/RESULTS.md"),
    Figure(2.7, False, True, "asterisk, 70 utterances", "new texts", (85, 89), (67, 70), "egs/own/RESULTS.md"),
    Figure(20, False, True, "asterisk, English", "new texts", (34, 45), (24, 29), "egs/asterisk/RESULTS.md"),
    Figure(38, True, False, "AN4 cepstra", "new speakers", (13.9, 13.9), (9.2, 9.2), "egs/an4/RESULTS.md"),
    Figure(46, False, False, "LibriSpeech mini", "new speakers", (99, 105), (92, 98), "egs/librispeech/RESULTS.md"),
)
"""The runs, by minutes."""


def expect(facts: Facts) -> list[str]:
    """What to expect of a training on data with these facts, in sentences."""
    amount = f"{facts.minutes:.1f} minutes" if facts.hours < 2 else f"{facts.hours:.1f} hours"
    speakers = (
        "one speaker"
        if facts.has_one_speaker
        else f"{facts.speakers} speakers"
        if facts.speakers
        else "unknown speakers"
    )
    kind = "few words, each many times" if facts.is_closed else "any texts"
    lines = [f"{amount} of {speakers}, {kind} ({facts.distinct_words} different words)."]
    figure = nearest(facts)
    if figure is None:
        lines.append("Nothing comparable was measured.")
    else:
        lines.append(f"The nearest that was measured: {figure.describe()}.")
        if facts.minutes > 3 * figure.minutes:
            lines.append("You have more: expect fewer errors than that.")
        elif facts.minutes < figure.minutes / 2:
            lines.append("You have less: expect more errors than that.")
    if facts.minutes < LEAST_MINUTES and not facts.is_closed:
        lines.append(
            f"Below {LEAST_MINUTES:g} minutes only closed vocabularies were learned (digits, commands: few words, each "
            "many times). Record more, or start from a trained network (--init)."
        )
    return lines


def nearest(facts: Facts) -> Figure | None:
    """The run with the same kind of vocabulary and of speakers whose amount of speech is nearest."""
    alike = [f for f in FIGURES if (f.closed, f.one) == (facts.is_closed, facts.has_one_speaker)]
    # fewer speakers are easier, so runs on several say something about one, but not the other way round
    alike = alike or [f for f in FIGURES if f.closed == facts.is_closed and facts.has_one_speaker]
    return min(alike, key=lambda f: abs(math.log(max(facts.minutes, 0.01) / f.minutes)), default=None)


def _span(rates: tuple[float, float]) -> str:
    low, high = rates
    return f"{low:g} %" if low == high else f"{low:g}-{high:g} %"
