"""NIST's trn: lines of the words of an utterance and its id in parentheses. Lines that begin with `;;` are comments.

What sclite 2.4.10 reads as something other than a plain word was found by trying: of `word;tag` it compares `word`
only, it removes every backslash and the last `*` of a longer word, a `{` begins alternatives, `@` is the null word, and
it crashes on words of more than 1,000 bytes. Parentheses are harmless in words, not in ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from ds2cli.atomic import together
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.io import open_out
from ds2cli.manifest import Row
from ds2cli.transcripts.texts import COMMENT, read_texts

LONGEST_WORD = 1000
"""Bytes of a word that sclite can read."""

_COMMENT_INFO = "**"
"""What else begins a comment for sclite."""

_SPECIAL = re.compile(r"[{\\;@*\0\t\n\r\f\v]")
_REPLACED = str.maketrans({"\\": "\uff3c", "\0": "\u2400"})
_SHOWN_BRACE = "\uff5b"
_SPACE, _SHOWN_SPACE = re.compile(r"\s"), "\u2423"
_NULL_WORD, _SHOWN_NULL_WORD = "@", "\uff20"


def read(path: str, field: str = "text", ledger: Ledger | None = None) -> Iterator[Row]:
    """Yield a row with the text in `field` for each utterance, sorted by id; see `read_texts`.

    The id is what the last parentheses of the line enclose, as for sclite. Markup counts as plain words (`texts.py`).
    """
    return read_texts(path, (COMMENT, _COMMENT_INFO), field, _parse, ledger)


class TrnWriter:
    """Writes utterances to `f` so that sclite compares the units that it is given.

    `;` is written as `\\;`, a longer word that ends in `*` with another one; `read` undoes both. For `{`, the backslash
    and the word `@`, which sclite cannot read, their full-width forms are written, and for a space (a unit of character
    error rates) its sign; `replaced` counts these words.
    markup: leave `{` and `@` to sclite in texts whose alternatives it can read, as in NIST's references.
    """

    def __init__(self, f: TextIO, *, markup: bool = False) -> None:
        self.f = f
        self.markup = markup
        self.replaced = 0

    def write(self, id_: str, units: Sequence[str]) -> None:
        """Write an utterance. DataError for parentheses in the id, or a word that is too long for sclite."""
        if "(" in id_ or ")" in id_:
            raise DataError(f"id {id_!r} cannot be written as trn, which encloses it in parentheses (rename it)")
        text = " ".join(units)
        if len(text) >= LONGEST_WORD // 4 or text.count(" ") >= len(units) or _SPECIAL.search(text):
            keep = self.markup and has_readable_alternatives(text)
            text = " ".join([self._escape(id_, unit, keep) for unit in units])
        # sclite takes a line that begins with ** for a comment; U+FEFF at the begin of a file is no text
        margin = " " if text.startswith(("*", "\ufeff")) else ""
        self.f.write(f"{margin}{text} ({id_})\n" if text else f"({id_})\n")

    def _escape(self, id_: str, unit: str, keep_markup: bool) -> str:
        word = _SPACE.sub(_SHOWN_SPACE, unit.translate(_REPLACED))
        if not keep_markup:
            word = _SHOWN_NULL_WORD if word == _NULL_WORD else word.replace("{", _SHOWN_BRACE)
        self.replaced += word != unit
        word = word.replace(";", "\\;")
        if len(word) > 1 and word.endswith("*"):
            word += "*"
        if len(word) > LONGEST_WORD // 4 and len(word.encode("utf-8", "replace")) > LONGEST_WORD:
            raise DataError(
                f"utterance {id_!r} has a word of {len(word)} characters, which sclite cannot read: expected at most "
                f"{LONGEST_WORD} bytes (--unit char or mixed for texts without spaces)"
            )
        return word


class TrnFiles:
    """References and hypotheses as two trn files with the same ids."""

    def __init__(self, ref: TrnWriter, hyp: TrnWriter) -> None:
        self.ref, self.hyp = ref, hyp

    def add(self, id_: str, ref: Sequence[str], hyp: Sequence[str] | None) -> None:
        """Write an utterance; a missing hypothesis is written as an empty one, since sclite skips what it lacks."""
        self.ref.write(id_, ref)
        self.hyp.write(id_, hyp or ())

    def describe_replaced(self) -> str:
        """A warning about words that were written differently; "" if there are none."""
        number = self.ref.replaced + self.hyp.replaced
        if not number:
            return ""
        return (
            f"words with a backslash, {{ or spaces, or that are @, which sclite reads as markup: {number}: written "
            "with similar characters in the trn files"
        )


@contextmanager
def open_trn(prefix: str, *, markup: bool = False) -> Iterator[TrnFiles]:
    """Write PREFIX.ref.trn and PREFIX.hyp.trn, both whole or neither.

    markup: as of `TrnWriter`, for the references.
    """
    with together(), open_out(f"{prefix}.ref.trn") as ref, open_out(f"{prefix}.hyp.trn") as hyp:
        yield TrnFiles(TrnWriter(ref, markup=markup), TrnWriter(hyp))


def has_readable_alternatives(text: str) -> bool:
    """Whether every `{` of a text begins alternatives that sclite can read: others make it crash or skip words.

    A brace begins a word or an alternative, and is closed; something is between the braces; the outer ones are not
    further apart than the longest word.
    """
    groups: list[int] = []
    for i, sign in enumerate(text):
        if sign == "{":
            if i and text[i - 1] not in (" {/" if groups else " "):
                return False
            groups.append(i)
        elif sign == "}" and groups:
            group = text[groups.pop() : i + 1]
            if not group.strip("{}/ ") or len(group.encode("utf-8", "replace")) > LONGEST_WORD:
                return False
    return not groups


def _parse(line: str) -> tuple[str, str]:
    begin, end = line.rfind("("), line.rfind(")")
    if begin < 0 or end < begin:
        raise BadUtterance("no-id", "the line does not end in an id, expected WORDS (ID)")
    text = line[:begin].strip()
    if ";" in text or "*" in text:
        text = " ".join(map(_unescape, text.split()))
    return line[begin + 1 : end].strip(), text


def _unescape(word: str) -> str:
    word = word.replace("\\;", ";")
    return word[:-1] if len(word) > 1 and word.endswith("*") else word
