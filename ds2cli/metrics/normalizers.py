"""What `ds2 score --normalizer` does to references and hypotheses before it counts, with an identity for certificates.

Scores are comparable only if both were normalized alike. So each normalizer has a description for people, and an
identity that changes with its rules.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import metadata, resources

from ds2cli import __version__
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.metrics import whisper_rules
from ds2cli.metrics.text_form import normalize_or_reduce, reduce_form
from ds2cli.text.characters import INVISIBLE
from ds2cli.text.normalize import NOT_SPEECH, TextRules
from ds2cli.text.profiles import find_profile
from ds2cli.text.rule_sets import RULE_SETS, SOURCES

NAMES = ("none", "basic", "english", "chinese", "prepare", "conversation", "whisper")

FIXED = {"english": "en", "chinese": "zh"}
"""Normalizers of one language, whatever the row says."""

Rules = Callable[[str, str], tuple[str, bool]]
"""text, language -> normalized text, and whether the rules could read all of it."""

PREPARE_SOURCES = (*(f"ds2cli/text/{name}.py" for name in SOURCES), "ds2cli/metrics/text_form.py")
"""The files that have the rules of `ds2 prepare`."""

BASIC_SOURCES = ("ds2cli/metrics/normalizers.py", "ds2cli/text/characters.py", "ds2cli/text/profiles.py")


@dataclass(frozen=True)
class Normalizer:
    """The rules of `--normalizer NAME`.

    description: one line for people, such as `whisper (whisper-normalizer 0.1.15, en)`.
    lang: of texts without a language of their own.  sources: files that have the rules, as package/path.
    packages: other distributions whose version changes what the rules return.
    """

    name: str
    description: str
    lang: str
    rules: Rules = field(repr=False)
    sources: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hexadecimal) of the name, the language, the files with the rules and the versions of the packages.

        Equal identities give equal texts, on the same version of Unicode. A release of ds2cli alone does not change it.
        """
        versions = [f"{name} {metadata.version(name)}" for name in self.packages]
        digest = hashlib.sha256("\0".join([self.name, self.lang.lower(), *versions]).encode("utf-8", "surrogatepass"))
        for source in self.sources:
            package, _, path = source.partition("/")
            text = resources.files(package).joinpath(path).read_bytes().replace(b"\r\n", b"\n")
            digest.update(source.encode() + hashlib.sha256(text).digest())
        return digest.hexdigest()

    def normalize(self, text: str, lang: str | None = None) -> tuple[str, bool]:
        """The normalized text and True; False if the rules could not read it and it was only reduced to plain writing.

        lang: of the text, if it is known.
        """
        return self.rules(text, lang or self.lang)


def create_normalizer(name: str, lang: str = "en") -> Normalizer:
    """The normalizer of that name (one of `NAMES`); lang: of texts without a language of their own.

    none: the text as it is.  prepare: as `ds2 prepare --numbers spell`, in the language of each text.
    conversation: as `ds2 prepare --text-rules conversation`: without hesitations and tags of sounds.
    english, chinese: the same rules in that language, whatever the language of the text.
    basic: plain writing of any language (see `basic`).  whisper: the rules of `whisper_rules.py`; a text on which they
    fail is reduced by `basic`.
    UsageError for another name or if the package of whisper is not installed.
    """
    if name == "none":
        return Normalizer(name, name, "", lambda text, _: (text, True))
    if name == "whisper":
        read, package = _or_basic(whisper_rules.load_whisper()), whisper_rules.PACKAGE
        description = f"{name} ({package} {metadata.version(package)}, {lang})"
        return Normalizer(name, description, lang, _cached(read), whisper_rules.SOURCES, (package,))
    description = f"{name} (ds2cli {__version__}, {FIXED.get(name, lang)})"
    if name == "basic":
        return Normalizer(name, description, lang, lambda text, lang: (basic(text, lang), True), BASIC_SOURCES)
    if name == "prepare":
        return Normalizer(name, description, lang, _cached(_prepare), PREPARE_SOURCES, ("num2words",))
    if name == "conversation":
        return Normalizer(name, description, lang, _cached(_conversation), PREPARE_SOURCES, ("num2words",))
    if name in FIXED:
        read = _fix_language(_cached(_prepare), FIXED[name])
        return Normalizer(name, description, FIXED[name], read, PREPARE_SOURCES, ("num2words",))
    raise UsageError(f"--normalizer {name}: expected one of {', '.join(NAMES)}")


def _cached(rules: Rules) -> Rules:
    # a reference and its hypothesis are often the same
    return lru_cache(4096)(rules)


def _fix_language(rules: Rules, lang: str) -> Rules:
    return lambda text, _: rules(text, lang)


def _prepare(text: str, lang: str) -> tuple[str, bool]:
    try:
        return normalize_or_reduce(text, lang)
    except ValueError:
        # Python converts no number of more than 4300 digits
        return " ".join(reduce_form(text, lang).split()), False


_CONVERSATION = RULE_SETS["conversation"]
_CONVERSATION_RULES = TextRules(numbers=_CONVERSATION.numbers, rule_set=_CONVERSATION)


def _conversation(text: str, lang: str) -> tuple[str, bool]:
    try:
        return _CONVERSATION_RULES.normalize(text, lang), True
    except BadUtterance as e:
        # hesitations alone are no words
        return ("", True) if e.reason == NOT_SPEECH else (basic(text, lang), False)
    except ValueError:
        # Python converts no number of more than 4300 digits
        return basic(text, lang), False


def _or_basic(read: Callable[[str, str], str]) -> Rules:
    def rules(text: str, lang: str) -> tuple[str, bool]:
        try:
            return read(text, lang), True
        except Exception:
            return basic(text, lang), False

    return rules


class _PlainCharacters(dict[int, str]):
    """A table for str.translate: punctuation, symbols, controls and white space become a space, all else stays."""

    def __missing__(self, code: int) -> str:
        c = chr(code)
        self[code] = " " if unicodedata.category(c)[0] in "PSZ" or unicodedata.category(c) == "Cc" else c
        return self[code]


_PLAIN = _PlainCharacters()


def basic(text: str, lang: str = "en") -> str:
    """Plain writing of any language: NFKC, lower case, words separated by one space, no punctuation or symbols.

    Near to Whisper's BasicTextNormalizer, but marks stay, without which the words of India's scripts fall apart; words
    in brackets stay, as a score should not lose any; invisible characters are removed; the case is that of the
    language (Turkish I); letters are never separated; and no space is left at the ends.

    >>> basic("“It's” ÉTÉ: 5 % (ﬁne)!")
    'it s été 5 fine'
    """
    if text.isascii():
        # Turkish alone has another lower case for an ASCII letter
        lowered = text.lower() if "I" not in text else find_profile(lang).lower(text)
    else:
        unified = INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        lowered = unicodedata.normalize("NFKC", find_profile(lang).lower(unified))
    return " ".join(lowered.translate(_PLAIN).split())
