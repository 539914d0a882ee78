"""Files of words and phrases that a search is given: a line each, `#` begins a comment line."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator

from ds2cli.errors import BadUtterance, DataError
from ds2cli.io import open_in
from ds2cli.text.normalize import normalize
from ds2cli.text.vocab import Vocab


def read_phrases(path: str, vocab: Vocab, weight: float) -> dict[str, float]:
    """Phrases and what each adds (nats): `phrase`, or `phrase TAB weight`.

    weight: of phrases without their own.  A phrase is taken as it is where `vocab` can spell it, else cleaned as
    transcripts are. DataError with `path:line` for what has no words, cannot be spelled, or comes twice with two
    weights, and when there is none.
    """
    found: dict[str, float] = {}
    for where, line in _lines(path):
        phrase, tab, own = line.partition("\t")
        try:
            nats = float(own) if tab else weight
        except ValueError:
            nats = math.nan
        if not math.isfinite(nats):
            raise DataError(f"{where}: the weight is {own!r}, expected nats as a number after the tab")
        phrase = _spellable(" ".join(phrase.split()), vocab, where)
        if found.setdefault(phrase, nats) != nats:
            raise DataError(f"{where}: {phrase!r} came before with the weight {found[phrase]:g}, now {nats:g}")
    if not found:
        raise DataError(f"{path}: no phrase in it")
    return found


def read_words(path: str, vocab: Vocab) -> tuple[list[str], list[str]]:
    """The words of a file that `vocab` can spell, each once, in order; and those it cannot.

    A word is taken as it is where `vocab` can spell it, else cleaned as transcripts are. DataError with `path:line` for
    a line of several words, and when no word can be spelled.
    """
    words: dict[str, None] = {}
    strangers = []
    for where, line in _lines(path):
        word = line.strip()
        if len(word.split()) > 1:
            raise DataError(f"{where}: {word!r}, expected one word a line")
        try:
            words[_spellable(word, vocab, where)] = None
        except DataError:
            strangers.append(word)
    if not words:
        some = f"none of its {len(strangers)} words can be written by this network" if strangers else "no word in it"
        raise DataError(f"{path}: {some}")
    return list(words), strangers


def _spellable(phrase: str, vocab: Vocab, where: str) -> str:
    if not phrase:
        raise DataError(f"{where}: a weight without a phrase")
    try:
        vocab.encode(phrase)
        return phrase
    except BadUtterance:
        pass
    try:
        cleaned = normalize(phrase)
        vocab.encode(cleaned)
    except BadUtterance as e:
        raise DataError(f"{where}: {phrase!r} cannot be written by this network: {e.detail}") from e
    if not cleaned:
        raise DataError(f"{where}: {phrase!r} has no words")
    return cleaned


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """What is written on the lines that are not blank and no comments, each with its `path:line`."""
    with open_in(path) as f:
        for number, raw in enumerate(f, start=1):
            line = unicodedata.normalize("NFC", raw.rstrip("\r\n").lstrip("\ufeff" if number == 1 else ""))
            if any("\ud800" <= c <= "\udfff" for c in line):
                raise DataError(f"{path}:{number}: not UTF-8 (fix: iconv -f latin1 -t utf-8)")
            if line.strip() and not line.lstrip().startswith("#"):
                yield f"{path}:{number}", line
