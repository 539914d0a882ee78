"""Language profiles: what the rules of text normalization depend on. Every command finds its profile here.

A language that no profile names has the rules of `DEFAULT`. To support another, add it to a profile, or add a profile.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_DOTTED_I = re.compile("[iı]\u0307+")
_TAG = re.compile(r"([a-z]{2,3})([-_][a-z0-9]{1,8})*", re.IGNORECASE)


@dataclass(frozen=True)
class Apostrophes:
    """Which apostrophes may stand at the edge of a word; all others there are single quotation marks.

    initial: words that always begin with one, such as 'tis.  maybe_initial: words that do, unless a quotation begins.
    final: words that end with one, such as o'.  endings: of words that may end with one (boys').
    strict: an unpaired mark at any other word is removed; otherwise it stays, as the language is not known well enough.
    letter: the apostrophe is a letter of its own, and never a quotation mark.
    """

    initial: frozenset[str] = frozenset()
    maybe_initial: frozenset[str] = frozenset()
    final: frozenset[str] = frozenset()
    endings: tuple[str, ...] = ("s", "x", "z")
    strict: bool = False
    letter: bool = False


@dataclass(frozen=True)
class Profile:
    """The rules of one or several languages.

    languages: ISO 639 codes of two and three letters.  spellings: other characters for a letter, replaced by it.
    inner: punctuation that is part of a word between two letters.  dotless_i: I is the capital of ı, and İ that of i.
    joiners: whether zero-width joiners spell words.  dotted_i: keeps the dot above an i that has an accent.
    ordinal_dot: "3." is an ordinal.  hyphenated_numbers: "20-year-old" is read as three words.
    unspaced: no space stands beside a letter of a script without spaces between words.
    wide: punctuation beside such a letter has its full width.  guillemet_spaces: spaces stand inside « and ».
    """

    name: str
    languages: tuple[str, ...] = ()
    apostrophes: Apostrophes = field(default_factory=Apostrophes)
    spellings: Mapping[str, str] = field(default_factory=dict)
    inner: Mapping[str, str] = field(default_factory=dict)
    dotless_i: bool = False
    dotted_i: bool = False
    joiners: bool = True
    ordinal_dot: bool = False
    hyphenated_numbers: bool = False
    unspaced: bool = False
    wide: bool = False
    guillemet_spaces: bool = False

    def lower(self, text: str) -> str:
        """Lower case; text in Unicode form NFC.

        >>> find_profile("tr").lower("IŞIK İzmir")
        'ışık izmir'
        """
        if self.dotless_i:
            text = text.replace("İ", "i").replace("I", "ı")
        text = text.lower()
        # str.lower writes İ as an i and a combining dot
        return text if self.dotted_i else _DOTTED_I.sub("i", text)

    def __hash__(self) -> int:
        return hash(self.name)


def word_set(text: str) -> frozenset[str]:
    """The words of a text that lists them."""
    return frozenset(text.split())


_NONE = Apostrophes(endings=(), strict=True)
_CHILLU = {"ണ": "ൺ", "ന": "ൻ", "ര": "ർ", "റ": "ർ", "ല": "ൽ", "ള": "ൾ", "ക": "ൿ"}

DEFAULT = Profile("default")
PROFILES = (
    Profile(
        "english",
        ("en", "eng"),
        Apostrophes(
            initial=word_set("tis tisn't twas twasn't twere twill twould twixt em im til tain't"),
            maybe_initial=word_set("n cause cuz coz bout round neath gainst tween fore e er ad ave ere ow ouse")
            | word_set("ome ead alf eard d ll ve re s m"),
            final=word_set("o ol ole th an t wi y d l lil ha jus mus bes las s'pose"),
            endings=("s", "x", "z", "in"),
            strict=True,
        ),
        hyphenated_numbers=True,
    ),
    Profile(
        "french",
        ("fr", "fra", "fre"),
        Apostrophes(
            final=word_set("l d j c n s m t qu jusqu lorsqu puisqu quoiqu quelqu presqu entr aujourd"),
            endings=(),
            strict=True,
        ),
        guillemet_spaces=True,
    ),
    Profile(
        "italian",
        ("it", "ita"),
        Apostrophes(
            initial=word_set("sto sta sti ste ndrangheta"),
            final=word_set("l d c un po mo be to ca va fa di da dell all nell sull dall coll quell bell sant"),
            endings=("a", "e", "i", "o", "u"),
        ),
    ),
    Profile(
        "german",
        ("de", "deu", "ger", "gsw", "nds", "lb"),
        Apostrophes(initial=word_set("s n ne nen nem ner"), endings=("s", "x", "z", "ß")),
        ordinal_dot=True,
    ),
    Profile("dutch", ("nl", "nld", "dut", "af", "fy"), Apostrophes(initial=word_set("s t n k m r"))),
    Profile("catalan", ("ca", "cat", "oc", "oci"), Apostrophes(final=word_set("l d n s m t")), inner={"·": "·"}),
    Profile("romanian", ("ro", "ron", "rum", "mo"), spellings=dict(zip("şţŞŢ", "șțȘȚ", strict=True))),
    Profile("without edge apostrophes", ("es", "spa", "pt", "por", "gl", "ru", "rus", "uk", "ukr", "be", "bg"), _NONE),
    Profile(
        "with ordinal dots",
        ("cs", "sk", "pl", "sl", "hr", "sr", "bs", "hu", "da", "no", "nb", "nn", "fi", "et", "lv", "is", "eu"),
        ordinal_dot=True,
    ),
    Profile("lithuanian", ("lt", "lit"), dotted_i=True, ordinal_dot=True),
    Profile("turkic", ("tr", "tur", "az", "aze", "crh", "gag"), _NONE, dotless_i=True, ordinal_dot=True),
    Profile(
        "with apostrophes as letters",
        ("haw", "sm", "smo", "to", "ton", "ty", "tah", "ha", "hau", "uz", "uzb"),
        Apostrophes(letter=True),
    ),
    Profile("hebrew", ("he", "heb", "iw", "yi"), inner={"״": "״", '"': "״"}, spellings={"׳": "'"}),
    Profile("arabic", ("ar", "ara", "arb", "arz", "ary", "apc", "ajp"), _NONE, joiners=False),
    Profile(
        "persian",
        ("fa", "fas", "per", "pes", "prs", "mzn", "glk", "lrc", "azb", "ckb", "ur", "urd"),
        _NONE,
        spellings={"ي": "ی", "ى": "ی", "ك": "ک"},
    ),
    Profile(
        "malayalam",
        ("ml", "mal"),
        _NONE,
        # the sequences of before Unicode 5.1
        spellings={f"{letter}\u0d4d\u200d": chillu for letter, chillu in _CHILLU.items()},
    ),
    Profile("chinese", ("zh", "zho", "chi", "cmn", "yue", "wuu", "nan", "hak"), unspaced=True, wide=True),
    Profile("japanese", ("ja", "jpn"), wide=True),
)
"""Every profile except `DEFAULT`; no language is in two."""

_BY_LANGUAGE = {language: profile for profile in PROFILES for language in profile.languages}


def is_language_tag(lang: str) -> bool:
    """Whether `lang` looks like a language code with optional subtags: en, pt-BR, az_Latn."""
    return _TAG.fullmatch(lang) is not None


@lru_cache(maxsize=256)
def find_profile(lang: str) -> Profile:
    """The profile of a language code such as tr or tr-TR; `DEFAULT` if no profile names the language."""
    return _BY_LANGUAGE.get(lang.replace("_", "-").partition("-")[0].lower(), DEFAULT)


def guess_language(symbols: Collection[str]) -> str:
    """A language whose case rules fit the symbols of a network, for texts whose language is not known."""
    return "tr" if "ı" in symbols else "en"
