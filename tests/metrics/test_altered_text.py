"""Texts altered in known places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.metrics.altered_text import KINDS, AlteredText, Span, Tally, alter, place_words
from ds2cli.search.align import Gap, Word

WORDS = [f"w{i}" for i in range(200)]


@given(
    st.sampled_from([KINDS, *((kind,) for kind in KINDS)]),
    st.floats(0.01, 0.3),
    st.tuples(st.integers(1, 5), st.integers(5, 12)),
    st.integers(0, 100),
)
def test_the_altered_places_are_known(kinds, share, lengths, seed):
    text = alter(WORDS, ["x", "y"], kinds, share, lengths, seed)
    assert text == alter(WORDS, ["x", "y"], kinds, share, lengths, seed)
    kept = [source for source in text.sources if source is not None]
    assert kept == sorted(set(kept))
    assert all(word == WORDS[i] if i is not None else word in "xy" for word, i in zip(*_columns(text), strict=True))
    gone = {i for span in text.spans if span.kind != "added" for i in range(span.begin, span.end)}
    assert gone == {*range(200)} - {*kept}
    added = sum(source is None for source in text.sources)
    changed = sum(span.end - span.begin for span in text.spans if span.kind == "changed")
    removed = len(gone) - changed
    assert added >= changed and removed + added >= share * 200
    assert {span.kind for span in text.spans} <= {*kinds}
    for one, other in zip(text.spans, text.spans[1:], strict=False):
        assert other.begin - one.end >= 2


def _columns(text):
    return text.words, text.sources


def test_too_many_blocks_are_refused():
    with pytest.raises(ValueError, match="no room for 90% of altered words in 5 words"):
        alter(WORDS[:5], ["x"], ("removed",), 0.9, (3, 3), 0)


def word(name, start, end=None):
    return Word(name, start, start + 0.2 if end is None else end, 1.0)


def test_words_that_moved_or_are_lost_and_spans_that_are_reported():
    # "a b c d e" with "x" added after b and d removed
    true = [word(name, i) for i, name in enumerate("abcde")]
    text = AlteredText(["a", "b", "x", "c", "e"], [0, 1, None, 2, 4], [Span("added", 2, 2), Span("removed", 3, 4)])
    found = [word("a", 0.6), word("c", 2.1), word("e", 4)]
    gaps = [Gap(1.0, 1.6, "b x", ""), Gap(2.7, 2.9, "", "d")]
    tally = Tally()
    assert tally.add(text, true, found, gaps) == [0]
    assert (tally.correct, tally.moved, tally.lost) == (4, 1, 1)
    assert (tally.spans, tally.reported, tally.gaps, tally.false) == (2, 2, 2, 0)
    assert tally.add(text, true, [*found[:1], word("b", 1), word("x", 1.5), *found[1:]], [Gap(0.3, 0.5, "", "z")]) == [
        0
    ]
    assert (tally.spans, tally.reported, tally.gaps, tally.false) == (4, 2, 3, 1)


def test_the_words_of_a_gap_are_in_their_place():
    words = [word("a", 0.0), word("a", 2.0)]
    assert place_words(["a", "a", "a"], words, [Gap(1.0, 1.0, "a", "")]) == [words[0], None, words[1]]
    # a gap may be where a word begins
    assert place_words(["b", "a"], words[1:], [Gap(2.0, 2.0, "b", "")]) == [None, words[1]]
    assert place_words([], [], [Gap(2.0, 2.1, "", "b")]) == []
    with pytest.raises(ValueError, match="are not those of its text"):
        place_words(["a"], words, [])
