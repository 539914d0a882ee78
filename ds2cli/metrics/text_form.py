"""Errors that are no errors of recognition: reference and hypothesis write the same words in different forms.

The forms: Unicode form (NFC, NFD, compatibility characters), case, apostrophes, punctuation, invisible characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ds2cli.encoding import code_point
from ds2cli.errors import BadUtterance
from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import UNITS
from ds2cli.text.characters import find_invisible
from ds2cli.text.normalize import APOSTROPHES, PLAIN, READ_AS_WORDS, normalize
from ds2cli.text.profiles import find_profile

_BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Line breaks and control characters."""

_APOSTROPHE = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))


def _remove_invisible(text: str, _lang: str) -> str:
    hidden = {*find_invisible(text), *(c for c in text if unicodedata.category(c) == "Cc" and not c.isspace())}
    return "".join(c for c in text if c not in hidden) if hidden else text


def _unify(text: str, _lang: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _unify_apostrophes(text: str, _lang: str) -> str:
    return text.translate(_APOSTROPHE)


def _lower(text: str, lang: str) -> str:
    return find_profile(lang).lower(text)


def _remove_punctuation(text: str, _lang: str) -> str:
    kept = READ_AS_WORDS + APOSTROPHES
    return "".join(" " if unicodedata.category(c)[0] == "P" and c not in kept else c for c in text)


FORMS: dict[str, Callable[[str, str], str]] = {
    "invisible characters": _remove_invisible,
    "Unicode form": _unify,
    "apostrophes": _unify_apostrophes,
    "case": _lower,
    "punctuation": _remove_punctuation,
}
"""What each form of writing is reduced by, in this order."""


def reduce_form(text: str, lang: str = "en", keep: str = "") -> str:
    """The text without differences of form, except those of the kind `keep`; never fails, and so is not normalization.

    >>> reduce_form("It’s Now Muted.").split()
    ["it's", 'now', 'muted']
    """
    for name, reduce in FORMS.items():
        if name != keep:
            text = reduce(text, lang)
    return text


@dataclass
class FormErrors:
    """Counts errors that vanish when both texts are reduced to one form; `add` one utterance at a time.

    unit: of the errors, "word" or "char".  errors: all.  of_form: those that vanish.  kinds: how many need each kind of
    reduction; an error may need several.  example: id, reference and hypothesis of one.
    broken: texts with line breaks or control characters.
    """

    unit: str = "word"
    errors: int = 0
    of_form: int = 0
    utterances: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    example: tuple[str, str, str] | None = None
    texts: int = 0
    broken: int = 0

    def count_broken(self, texts: Sequence[str]) -> None:
        """Count texts, and those with line breaks or control characters."""
        self.texts += len(texts)
        if _BROKEN.search("".join(texts)):
            self.broken += sum(_BROKEN.search(text) is not None for text in texts)

    def add(self, name: str, ref: str, hyp: str, lang: str = "en") -> None:
        """Compare the texts of one utterance, without counting them."""
        split = UNITS[self.unit]
        if split(ref) == split(hyp):
            return
        errors = count(split(ref), split(hyp)).errors
        self.errors += errors
        if PLAIN.fullmatch(ref) and PLAIN.fullmatch(hyp):
            return

        def remaining(keep: str = "") -> int:
            return count(split(reduce_form(ref, lang, keep)), split(reduce_form(hyp, lang, keep))).errors

        real = remaining()
        if real >= errors:
            return
        self.of_form += errors - real
        self.utterances += 1
        self.kinds.update({kind: n for kind in FORMS if (n := remaining(kind) - real) > 0})
        self.example = self.example or (name, ref, hyp)

    def describe(self) -> str:
        """One sentence with the counts; empty if no error is one of form."""
        if not self.of_form or self.example is None:
            return ""
        kinds = ", ".join(f"{kind} ({n})" for kind, n in self.kinds.most_common())
        name, ref, hyp = self.example
        shown = f"{make_visible(ref[:40], hyp[:40])!r}, recognized as {make_visible(hyp[:40], ref[:40])!r}"
        return (
            f"{self.of_form} of {self.errors} {self.unit} errors, in {self.utterances} utterances, are differences of "
            f"writing, not of recognition: {kinds or 'several at once'}, such as {name}: {shown}"
        )


def make_visible(text: str, other: str) -> str:
    """A word or text for a person to read: control characters, and where `text` and `other` look the same, the marks
    and invisible characters that tell them apart, are written as <U+0301>.

    >>> make_visible("e\\u0301", "\\u00e9")
    'e<U+0301>'
    """
    alike = text != other and _look(text) == _look(other)
    return "".join(f"<{code_point(c)}>" if _is_hidden(c, alike) else c for c in text)


def normalize_or_reduce(text: str, lang: str) -> tuple[str, bool]:
    """The text normalized as by `ds2 prepare --numbers spell`, and True; else, reduced to one form, and False."""
    try:
        return normalize(text, lang, numbers="spell"), True
    except BadUtterance:
        return " ".join(reduce_form(text, lang).split()), False


def _look(text: str) -> str:
    return _unify(_remove_invisible(text, ""), "")


def _is_hidden(c: str, alike: bool) -> bool:
    category = unicodedata.category(c)
    return category in ("Cc", "Cs") or (alike and category in ("Mn", "Mc", "Me", "Cf"))
