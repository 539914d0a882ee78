"""The figures that are quoted: the nearest run of the same kind, and the same table as in RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds2cli.recommend.facts import Facts, Quantiles
from ds2cli.recommend.figures import FIGURES, expect, nearest

RESULTS = Path(__file__).parents[2] / "egs/own/RESULTS.md"
SOME = Quantiles(1.0, 1.0, 2.0, 5.0, 9.0)


def facts(minutes, speakers, closed):
    words = {"words": 9000, "distinct_words": 90} if closed else {"words": 900, "distinct_words": 400}
    return Facts(utterances=100, seconds=60 * minutes, durations=SOME, rates=SOME, speakers=speakers, **words)


def span(rates):
    return "" if rates is None else f"{rates[0]:g}" if rates[0] == rates[1] else f"{rates[0]:g}-{rates[1]:g}"


def test_each_figure_is_a_row_of_the_results_and_each_row_a_figure():
    text = RESULTS.read_text("utf-8")
    table = text[text.index("| minutes |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert rows == [
        [
            f"{f.minutes:g}",
            "one" if f.one else "several",
            "few words" if f.closed else "any texts",
            *(f.corpus, f.on, span(f.greedy), span(f.lm), f.source),
        ]
        for f in FIGURES
    ]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.corpus)
def test_the_nearest_figure_is_of_the_same_kind(figure):
    speakers = 1 if figure.one else 9
    found = nearest(facts(figure.minutes * 1.05, speakers, figure.closed))
    assert found is figure
    lines = expect(facts(figure.minutes, speakers, figure.closed))
    assert figure.describe() in lines[1] and not any(line.startswith("You have") for line in lines)
    assert expect(facts(10000, speakers, figure.closed))[2].startswith("You have more")
    assert any(line.startswith("You have less") for line in expect(facts(0.01, speakers, figure.closed)))


def test_open_vocabularies_below_ten_minutes_are_discouraged():
    said = "only closed vocabularies were learned"
    assert any(said in line for line in expect(facts(9, 1, closed=False)))
    assert not any(said in line for line in expect(facts(11, 1, closed=False)))
    assert not any(said in line for line in expect(facts(2, 1, closed=True)))


def test_unknown_speakers_are_taken_as_several():
    assert nearest(facts(30, 0, closed=False)) is next(f for f in FIGURES if not f.closed and not f.one)
    # nothing was measured with one speaker and few words: several speakers are harder, so their figure is a bound
    assert nearest(facts(30, 1, closed=True)).closed
