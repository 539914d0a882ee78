"""Whisper's text normalization for scoring, by the package whisper-normalizer (an optional dependency).

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv:2212.04356, appendix C.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from importlib import resources
from typing import Any

from ds2cli.errors import UsageError

PACKAGE = "whisper-normalizer"
SOURCES = tuple(f"whisper_normalizer/{name}" for name in ("basic.py", "english.py", "normalizers/english.json"))

UNSPACED = frozenset(
    ("zh", "zho", "chi", "cmn", "yue", "wuu", "nan", "hak", "ja", "jpn", "th", "tha", "lo", "lao", "my", "mya", "bur")
)
"""Languages without spaces between words, whose letters Whisper's evaluation separates, so that their word error rate
is one of characters: Chinese (with its spoken languages), Japanese, Thai, Lao and Burmese."""

_ANALYZED = frozenset(
    (
        # 0.1.12
        "c7085b0c17b9d8f8f7308d58cb66bb91d1fa33be63e837254d20f639ccb56c34",
        # 0.1.13 to 0.1.15
        "b3515144bfd94f60e2d7d5224b9a90e5c8bdccde78b4b50c5266113ff33f7385",
    )
)
"""SHA-256 of the english.py for which `_find_triggers` is known to list every word that some rule changes."""

_LETTERS = re.compile("[a-z ]*")

Read = Callable[[str], str]


def load_whisper() -> Callable[[str, str], str]:
    """A function of a text and its language: the rules for English (numbers in digits, contractions in full, American
    spelling, no filler words), or the basic ones for another language, with separate letters in those of `UNSPACED`.

    What it returns equals the package's own output, spaces at the ends included. It raises what the package raises,
    such as AssertionError for a number of thousands of digits. UsageError if the package is not installed.

    They are the rules of the Whisper paper, with four more words (kinda, sorta, dunno, cause), and not exactly those of
    the open ASR leaderboard: its own variant changes. In August 2026 it kept the 's of a possessive, joined the letters
    of U.S.A., and forgave wrong spaces in compounds (white paper, whitepaper); 6 % of 3,893 sentences came out
    differently, references and hypotheses alike.
    """
    try:
        with warnings.catch_warnings():
            # Python warns about escapes in docstrings when it compiles them
            warnings.simplefilter("ignore")
            from whisper_normalizer.basic import BasicTextNormalizer
            from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as e:
        found = "is not installed" if (e.name or "").startswith("whisper_normalizer") else f"cannot be imported: {e}"
        raise UsageError(f"--normalizer whisper: {PACKAGE} {found} (pip install 'ds2cli[whisper]')") from e
    english = _skip_plain_texts(EnglishTextNormalizer())
    basic, letters = BasicTextNormalizer(), BasicTextNormalizer(split_letters=True)

    def normalize(text: str, lang: str) -> str:
        language = lang.lower().replace("_", "-").partition("-")[0]
        read: Read = english if language in ("en", "eng") else letters if language in UNSPACED else basic
        return read(text)

    return normalize


def _skip_plain_texts(english: Any) -> Read:
    """The same function, without the package's 50 regular expressions for texts in which no rule applies."""
    source = resources.files("whisper_normalizer").joinpath("english.py").read_bytes()
    if hashlib.sha256(source).hexdigest() not in _ANALYZED:
        return english  # type: ignore[no-any-return]
    triggers = _find_triggers(english)

    def normalize(text: str) -> str:
        if _LETTERS.fullmatch(text):
            words = text.split()
            if triggers.isdisjoint(words):
                return " ".join(words)
        normalized: str = english(text)
        return normalized

    return normalize


def _find_triggers(english: Any) -> frozenset[str]:
    """The words without which a text of the letters a to z stays as it is.

    Left out are "and", which matters only beside a number, and contractions, which have an apostrophe.
    """
    patterns = [english.ignore_patterns, *(p for p in english.replacers if "'" not in p)]
    words = {word for pattern in patterns for word in re.findall("[a-z]+", pattern.replace(r"\b", " "))}
    return frozenset(
        {*words, *english.standardize_numbers.words, *english.standardize_spellings.mapping, "half"} - {"and"}
    )
