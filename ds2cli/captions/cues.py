"""How words become subtitles: the division into cues of least cost, by dynamic programming.

A cue has at most `max_lines` lines of `line_length` columns, and its speech lasts at most `max_cue` seconds; a token
that alone is longer is a cue, or a line, of its own. Among the divisions within these limits, the one of least cost is
taken: each cue costs 1, a break without a pause 2 (5 within a word, 1 after a comma, 0 after a sentence), and a pause
within a cue the square of its length, 1 for that of `pause` seconds; time that is missing to read a cue costs, too. A
greedy division, which fills each cue, would break at the last word that fits instead of the pause before it, and leave
single words over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ds2cli.captions.spans import Span, milliseconds, separate
from ds2cli.captions.tokens import Token, join, tokenize

FULL_PAUSE = 0.5
"""Silence (s) at which a break costs nothing."""

LEAD_OUT = 0.4
"""Seconds that a cue stays after its last word: a network ends words up to 0.4 s before their sound (measured)."""

_SENTENCE_ENDS = ".?!…。？！"
_CLAUSE_ENDS = ",;:—、，；："
_MARKS = _SENTENCE_ENDS + _CLAUSE_ENDS


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a division.

    line_length: columns.  reading_speed: columns per second.  max_cue, min_cue: seconds.
    pause: silence (s) at which a new cue begins although it would fit into the one before.
    """

    line_length: int = 42
    max_lines: int = 2
    reading_speed: float = 20.0
    max_cue: float = 7.0
    min_cue: float = 1.0
    pause: float = 0.6


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle: its lines and its times (ms)."""

    lines: tuple[str, ...]
    start: int
    end: int


def make_cues(
    words: Sequence[Mapping[str, Any]],
    limits: Limits,
    chars: Sequence[Mapping[str, Any]] = (),
    duration: float | None = None,
) -> list[Cue]:
    """The subtitles of a recording: in order, without overlap, each of 1 ms or more.

    A cue begins with its first word. It ends 0.4 s after its last word, or later if it would be shorter than `min_cue`
    or too short to be read, but not after `max_cue`, the begin of the next cue or the end of the recording.
    duration: of the recording (s), if known.
    """
    parts = divide(tokenize(words, chars), limits)
    spans = []
    for part in parts:
        start, spoken = part[0].start, max(token.end for token in part)
        shown = max(spoken + LEAD_OUT, start + max(limits.min_cue, _columns(part) / limits.reading_speed))
        if duration is not None:
            shown = max(spoken, min(shown, duration))
        spans.append(Span("", milliseconds(start), milliseconds(min(shown, start + limits.max_cue))))
    times = separate(spans)
    return [Cue(break_lines(part, limits), t.start, t.end) for part, t in zip(parts, times, strict=True)]


def divide(tokens: Sequence[Token], limits: Limits) -> list[Sequence[Token]]:
    """Divide tokens into the cues of least cost."""
    size = len(tokens)
    least, previous = [0.0] + [float("inf")] * size, [0] * (size + 1)
    for begin in range(size):
        lines, column, columns, inner, spoken = 1, 0, 0, 0.0, tokens[begin].end
        for i in range(begin, size):
            token = tokens[i]
            space = int(token.is_first and i > begin)
            if i > begin:
                inner += _cost_within(tokens[i - 1], token, limits)
            columns += space + token.width
            if i > begin and column + space + token.width > limits.line_length:
                lines, column = lines + 1, token.width
            else:
                column += space + token.width
            spoken = max(spoken, token.end)
            if i > begin and (lines > limits.max_lines or spoken - tokens[begin].start > limits.max_cue):
                break
            following = tokens[i + 1] if i + 1 < size else None
            cost = least[begin] + inner + _cost(tokens[begin], token, following, columns, limits)
            if cost < least[i + 1]:
                least[i + 1], previous[i + 1] = cost, begin
    parts, end = list[Sequence[Token]](), size
    while end:
        parts.append(tokens[previous[end] : end])
        end = previous[end]
    return parts[::-1]


def break_lines(tokens: Sequence[Token], limits: Limits) -> tuple[str, ...]:
    """The lines of a cue: as few as possible, and as even as possible; a break within a word only where needed."""
    size = len(tokens)
    # of the first `end` tokens: least cost (lines, breaks within words, squares of widths), and the last line's begin
    least: list[tuple[tuple[int, int, int], int]] = [((0, 0, 0), 0)]
    for end in range(1, size + 1):
        columns, best = 0, None
        for begin in range(end - 1, -1, -1):
            columns += tokens[begin].width + (int(tokens[begin + 1].is_first) if begin + 1 < end else 0)
            if columns > limits.line_length and begin < end - 1:
                break
            lines, divided, squares = least[begin][0]
            divided += bool(begin and not tokens[begin].is_first and tokens[begin - 1].text[-1:] not in _MARKS)
            cost = (lines + 1, divided, squares + columns**2)
            if best is None or cost < best[0]:
                best = cost, begin
        assert best is not None
        least.append(best)
    lines_found, end = list[str](), size
    while end:
        begin = least[end][1]
        lines_found.append(join(tokens[begin:end]))
        end = begin
    return tuple(lines_found[::-1])


def _columns(tokens: Sequence[Token]) -> int:
    return sum(token.width + token.is_first for token in tokens)


def _cost_within(before: Token, after: Token, limits: Limits) -> float:
    """What it costs that a cue has no break between two tokens: more than a cue if they are `pause` seconds apart."""
    pause = max(0.0, after.start - before.end) / limits.pause
    return pause**2 + (0.5 if before.text[-1:] in _SENTENCE_ENDS else 0.0)


def _cost(first: Token, last: Token, following: Token | None, columns: int, limits: Limits) -> float:
    """What a cue costs: itself, the break after it, and the time that is missing to read it."""
    capacity = limits.line_length * limits.max_lines
    cost = 1 + 0.3 * max(0.0, 1 - columns / capacity) ** 2
    if following is None:
        return cost
    room = min(following.start - first.start, limits.max_cue)
    cost += 2 * max(0.0, columns / limits.reading_speed - room) + 3 * max(0.0, limits.min_cue - room)
    mark = last.text[-1:]
    abrupt = max(0.0, 1 - max(0.0, following.start - last.end) / FULL_PAUSE)
    if mark in _CLAUSE_ENDS:
        return cost + abrupt
    if mark in _SENTENCE_ENDS:
        return cost
    return cost + abrupt * (2 if following.is_first else 5)
