"""Long recordings in pieces of some seconds, for formats with segments: Kaldi's data folder and Whisper's JSON.

They are divided like subtitles, but by time instead of lines: up to 15 s, and wherever a second of silence is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ds2cli.captions.cues import Limits, divide
from ds2cli.captions.tokens import Token, tokenize

MAX_PHRASE = 15.0
"""Longest piece (s), unless a single word is longer."""

_LIMITS = Limits(line_length=1000, max_lines=1, reading_speed=1e9, max_cue=MAX_PHRASE, min_cue=0.0, pause=1.0)


def make_phrases(
    words: Sequence[Mapping[str, Any]], chars: Sequence[Mapping[str, Any]] = ()
) -> list[list[dict[str, Any]]]:
    """The words of each phrase, with the same fields as `words`.

    A Chinese or Japanese text without spaces, which is one long word, is divided within it: each phrase has a part of
    the word with the times of that part.
    """
    return [_words_of(part, words) for part in divide(tokenize(words, chars), _LIMITS)]


def _words_of(tokens: Sequence[Token], words: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    numbers: list[int] = []
    for token in tokens:
        if numbers and numbers[-1] == token.word:
            found[-1] |= {"word": found[-1]["word"] + token.text, "end": round(token.end, 3)}
        else:
            numbers.append(token.word)
            times = {"word": token.text, "start": round(token.start, 3), "end": round(token.end, 3)}
            found.append({**words[token.word], **times})
    return found
