"""Hotword files and word lists: one entry per line; lines that start with `#` are comments."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator

from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError
from ds2cli.io import read_lines
from ds2cli.text.normalize import normalize
from ds2cli.text.profiles import guess_language
from ds2cli.text.vocab import Vocab


def read_hotwords(path: str, vocab: Vocab, weight: float) -> dict[str, float]:
    """Hotwords and their weights (nats) from lines `phrase` or `phrase TAB weight`.

    weight: of phrases without their own.  A phrase that `vocab` cannot spell is normalized like a transcript.
    Raises DataError with `path:line` for a phrase without words, one that cannot be spelled, a bad weight or two
    different weights of one phrase, and for a file without hotwords.
    """
    weights: dict[str, float] = {}
    for location, line in _entries(path):
        phrase, tab, field = line.partition("\t")
        try:
            nats = float(field) if tab else weight
        except ValueError:
            nats = math.nan
        if not math.isfinite(nats):
            raise DataError(f"{location}: bad weight: expected a number (nats) after the tab, found {field!r}")
        phrase = make_spellable(" ".join(phrase.split()), vocab, location)
        if weights.setdefault(phrase, nats) != nats:
            raise DataError(f"{location}: {phrase!r} is listed twice: with weight {weights[phrase]:g} and now {nats:g}")
    if not weights:
        raise DataError(f"{path}: the file has no hotwords: expected one phrase per line")
    return weights


def read_word_list(path: str, vocab: Vocab) -> tuple[list[str], list[str]]:
    """The words of a file that `vocab` can spell, in order without duplicates, and those that it cannot.

    A word that `vocab` cannot spell is normalized like a transcript. Raises DataError with `path:line` for a line with
    several words, and for a file without a word that can be spelled.
    """
    words: dict[str, None] = {}
    unspellable = []
    for location, line in _entries(path):
        word = line.strip()
        if len(word.split()) > 1:
            raise DataError(f"{location}: expected one word per line, found {word!r}")
        try:
            words[make_spellable(word, vocab, location)] = None
        except DataError:
            unspellable.append(word)
    if not words:
        if unspellable:
            raise DataError(f"{path}: none of its {len(unspellable)} words can be written by this network")
        raise DataError(f"{path}: the file has no words: expected one word per line")
    return list(words), unspellable


def make_spellable(phrase: str, vocab: Vocab, location: str) -> str:
    """The phrase as it is, or normalized if `vocab` cannot spell it; DataError if it still cannot."""
    if not phrase:
        raise DataError(f"{location}: a weight without a phrase")
    try:
        vocab.encode(phrase)
        return phrase
    except BadUtterance:
        pass
    try:
        normalized = normalize(phrase, guess_language(vocab.symbols))
        vocab.encode(normalized)
    except BadUtterance as e:
        raise DataError(f"{location}: {phrase!r} cannot be written by this network: {e.detail}") from e
    if not normalized:
        raise DataError(f"{location}: {phrase!r} has no words")
    return normalized


def _entries(path: str) -> Iterator[tuple[str, str]]:
    """The lines that are neither blank nor comments, each with its `path:line`."""
    for number, raw in read_lines(path):
        if error := explain_undecodable(raw, path):
            raise DataError(f"{path}:{number}: {error}")
        line = unicodedata.normalize("NFC", raw)
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}:{number}", line
