"""Texts altered in blocks, in known places, and what an alignment with gaps makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from ds2cli.search.align import Gap, Word

Kind = Literal["removed", "changed", "added"]
KINDS: tuple[Kind, ...] = ("removed", "changed", "added")

NEAR_S = 0.3
"""An altered span is reported by a gap at most this far from it (s)."""

MOVED_S = 0.5
"""A word that starts or ends further than this from where it was has moved (s)."""


class Span(NamedTuple):
    """A place in the right text: words `begin` to `end`, last excluded; of added words both are the next word."""

    kind: Kind
    begin: int
    end: int


@dataclass(frozen=True)
class AlteredText:
    """words: of the altered text.  sources: the place of each in the right text, None if it is not from there."""

    words: list[str]
    sources: list[int | None]
    spans: list[Span]


def alter(
    words: Sequence[str], pool: Sequence[str], kinds: Sequence[Kind], share: float, lengths: tuple[int, int], seed: int
) -> AlteredText:
    """Alter a text in blocks, until at least `share` of its words are removed, changed, or as many are added.

    words: the right text.  pool: words that replace others, or are added.  lengths: the least and the largest number
    of words in a block. Between two blocks, and at both ends, two or more right words are left.
    ValueError if there is no room for the blocks.
    """
    random = Random(f"{seed} {' '.join(kinds)} {lengths}")
    blocks: list[tuple[Span, int]] = []
    done, tries = 0, 0
    while done < share * len(words):
        tries += 1
        if tries > 100 * len(words):
            raise ValueError(f"no room for {share:.0%} of altered words in {len(words)} words")
        kind, length = random.choice(kinds), random.randint(*lengths)
        begin = random.randint(2, max(2, len(words) - 2))
        end = begin if kind == "added" else begin + length
        if end > len(words) - 2 or any(begin - 2 < span.end and span.begin < end + 2 for span, _ in blocks):
            continue
        blocks.append((Span(kind, begin, end), length))
        done += length
    blocks.sort()
    blocks.sort(key=lambda block: block[0].begin)
    altered: list[tuple[str, int | None]] = []
    at = 0
    for (kind, begin, end), length in blocks:
        altered += [(words[i], i) for i in range(at, begin)]
        if kind != "removed":
            altered += [(random.choice(pool), None) for _ in range(length)]
        at = end
    altered += [(words[i], i) for i in range(at, len(words))]
    return AlteredText([word for word, _ in altered], [i for _, i in altered], [span for span, _ in blocks])


@dataclass
class Tally:
    """correct: words of the right text in the altered one, of which `moved` have other times and `lost` are in gaps.

    spans: altered ones, of which `reported` have a gap.  gaps: all, of which `false` are at no altered span.
    worst: examples of what moved.
    """

    correct: int = 0
    moved: int = 0
    lost: int = 0
    spans: int = 0
    reported: int = 0
    gaps: int = 0
    false: int = 0

    def add(self, text: AlteredText, true: Sequence[Word], words: Sequence[Word], gaps: Sequence[Gap]) -> list[int]:
        """Count one alignment, and return the places of the words that moved, in the right text.

        true: the words of the right text, as they were aligned.  words, gaps: of the altered text.
        """
        moved = []
        for found, source in zip(place_words(text.words, words, gaps), text.sources, strict=True):
            if source is None:
                continue
            self.correct += 1
            if found is None:
                self.lost += 1
            elif max(abs(found.start - true[source].start), abs(found.end - true[source].end)) > MOVED_S:
                moved.append(source)
        self.moved += len(moved)
        places = [_place(span, true) for span in text.spans]
        for start, end in places:
            self.spans += 1
            self.reported += any(_is_near(gap, start, end) for gap in gaps)
        self.gaps += len(gaps)
        self.false += sum(not any(_is_near(gap, start, end) for start, end in places) for gap in gaps)
        return moved


def place_words(text: Sequence[str], words: Sequence[Word], gaps: Sequence[Gap]) -> list[Word | None]:
    """For each word of a text, the aligned one, or None if it is in a gap.

    ValueError if words and gaps together are not the text.
    """
    events: list[tuple[float, int, list[str], Word | None]] = [(word.start, 1, [word.word], word) for word in words]
    events += [(gap.start, 0, gap.text.split(), None) for gap in gaps]
    events.sort(key=lambda event: event[:2])
    placed = [(word, found) for _, _, part, found in events for word in part]
    if [word for word, _ in placed] != list(text):
        raise ValueError("the words and gaps of an alignment are not those of its text")
    return [found for _, found in placed]


def _place(span: Span, true: Sequence[Word]) -> tuple[float, float]:
    if span.kind == "added":
        return true[span.begin - 1].end, true[span.begin].start
    return true[span.begin].start, true[span.end - 1].end


def _is_near(gap: Gap, start: float, end: float) -> bool:
    return gap.start < end + NEAR_S and gap.end > start - NEAR_S
