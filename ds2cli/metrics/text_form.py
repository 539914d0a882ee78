"""Errors that are no errors of recognition: reference and hypothesis write the same words in different forms.

The forms: Unicode form (NFC, NFD, compatibility characters), case, apostrophes, punctuation, invisible characters.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ds2cli.encoding import code_point
from ds2cli.errors import BadUtterance
from ds2cli.metrics.aligner import Aligner
from ds2cli.text.characters import find_invisible
from ds2cli.text.normalize import APOSTROPHES, PLAIN, READ_AS_WORDS, normalize
from ds2cli.text.profiles import find_profile

_KEPT = READ_AS_WORDS + APOSTROPHES
"""Signs that are not removed with the punctuation."""

_ASCII_PUNCTUATION = {ord(c): " " for c in string.punctuation if unicodedata.category(c)[0] == "P" and c not in _KEPT}

_BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Line breaks and control characters."""

_APOSTROPHE = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))


def _remove_invisible(text: str, _lang: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    hidden = {*find_invisible(text), *(c for c in text if unicodedata.category(c) == "Cc" and not c.isspace())}
    return "".join(c for c in text if c not in hidden) if hidden else text


def _unify(text: str, _lang: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _unify_apostrophes(text: str, _lang: str) -> str:
    return text.translate(_APOSTROPHE)


def _lower(text: str, lang: str) -> str:
    return find_profile(lang).lower(text)


def _remove_punctuation(text: str, _lang: str) -> str:
    if text.isascii():
        return text.translate(_ASCII_PUNCTUATION)
    return "".join(" " if unicodedata.category(c)[0] == "P" and c not in _KEPT else c for c in text)


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


class Texts(NamedTuple):
    """The texts of one utterance."""

    name: str
    ref: str
    hyp: str
    lang: str = "en"


@dataclass
class FormErrors:
    """Counts errors that vanish when both texts are reduced to one form; `add_all` utterances.

    unit, aligner: those of the errors.  errors: all.  of_form: those that vanish.  kinds: how many need each kind of
    reduction; an error may need several.  example: the texts of one.
    broken: texts with line breaks or control characters.
    """

    unit: str = "word"
    aligner: Aligner = field(default_factory=Aligner)
    errors: int = 0
    of_form: int = 0
    utterances: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    example: Texts | None = None
    texts: int = 0
    broken: int = 0

    def count_broken(self, texts: Sequence[str]) -> None:
        """Count texts, and those with line breaks or control characters."""
        self.texts += len(texts)
        if _BROKEN.search("".join(texts)):
            self.broken += sum(_BROKEN.search(text) is not None for text in texts)

    def add_all(self, texts: Sequence[Texts], errors: Sequence[int]) -> None:
        """Compare the texts of utterances, without counting them. errors: of each, with its texts as they are."""
        self.errors += sum(errors)
        wrong = [
            (utterance, n)
            for utterance, n in zip(texts, errors, strict=True)
            if n and not (PLAIN.fullmatch(utterance.ref) and PLAIN.fullmatch(utterance.hyp))
        ]
        real = self._count_reduced([utterance for utterance, _ in wrong])
        found = [(u, n, left) for (u, n), left in zip(wrong, real, strict=True) if left < n]
        if not found:
            return
        self.of_form += sum(n - left for _, n, left in found)
        self.utterances += len(found)
        self.example = self.example or found[0][0]
        for kind in FORMS:
            kept = self._count_reduced([u for u, _, _ in found], kind)
            needed = sum(max(0, n - left) for n, (_, _, left) in zip(kept, found, strict=True))
            if needed:
                self.kinds[kind] += needed

    def _count_reduced(self, texts: Sequence[Texts], keep: str = "") -> list[int]:
        """The errors of each utterance that are left when its texts are reduced to one form, except for `keep`."""
        if not texts:
            return []
        refs = [reduce_form(u.ref, u.lang, keep) for u in texts]
        hyps = [reduce_form(u.hyp, u.lang, keep) for u in texts]
        counted: list[int] = self.aligner.align(self.unit, refs, hyps).counts[:, 1:].sum(axis=1).tolist()
        return counted

    def describe(self) -> str:
        """One sentence with the counts; empty if no error is one of form."""
        if not self.of_form or self.example is None:
            return ""
        kinds = ", ".join(f"{kind} ({n})" for kind, n in self.kinds.most_common())
        name, ref, hyp, _ = self.example
        utterances = "1 utterance" if self.utterances == 1 else f"{self.utterances} utterances"
        shown = f"{make_visible(ref[:40], hyp[:40])!r}, recognized as {make_visible(hyp[:40], ref[:40])!r}"
        return (
            f"{self.of_form} of {self.errors} {self.unit} errors, in {utterances}, are differences of "
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
