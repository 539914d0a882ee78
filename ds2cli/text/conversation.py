"""What transcripts of conversations have besides words: hesitations, false starts, and marks of their conventions.

Hesitations are filled pauses (uh, um): sounds that mean nothing. Answers (uh-huh, mhm) and interjections (oh, wow) are
words. A hesitation with a hyphen after it begins such a word, which is written as one: uhhuh.

False starts are kept as they are heard, as Kaldi's recipes for Switchboard and Fisher do: wor- and wor[d]- become wor.
A hyphen at the end of a word is not always one (Vor- und Nachteile), and a network learns what it hears.
"""

from __future__ import annotations

import re
from functools import lru_cache

_ENGLISH = "u+h+m*|u+m+|e+r+m*|e+h+|a+h+|m{2,}|h+m+"
_NORDIC = "ö+h+m*|ä+h+m*|e+h+m*|ø+h+m*|æ+h+m*|h+m+|m{2,}"
_SPANISH = "e+h+m*|e+m+|m{2,}|h+m+"
_RUSSIAN = "э+м*|м{2,}|х+м+|г+м+"
_CHINESE = "嗯+|呃+(?!逆)"

HESITATIONS: dict[str, str] = {
    "en": _ENGLISH,
    "de": "ä+h+m*|ö+h+m*|e+h+m+|ä+m+|h+m+|m{2,}",
    "nl": "u+h+m*|e+h+m*|h+m+|m{2,}",
    "fr": "e+u+h+|h+e+u+|h+u+m+|h+m+|m{2,}",
    "es": _SPANISH,
    "ca": _SPANISH,
    "gl": _SPANISH,
    "pt": "e+h+|ã+h*|h+ã+|a+h+n|h+u+m+|h+m+|m{2,}",
    "it": "e+h+m+|m+h+|h+m+|m{2,}",
    "pl": "y{2,}|y+m+|e{2,}|h+m+|m{2,}",
    "cs": "e{2,}|e+h+m*|h+m+|m{2,}",
    "sv": _NORDIC,
    "da": _NORDIC,
    "no": _NORDIC,
    "nb": _NORDIC,
    "nn": _NORDIC,
    "fi": "öö+|ö+h+m*|ä+h+m*|h+m+|m{2,}",
    "tr": "ı{2,}h*|ı+h+m*|e{2,}h*|h+ı+m+|h+m+|m{2,}",
    "ru": _RUSSIAN,
    "uk": "е{2,}м*|е+м+|м{2,}|х+м+|г+м+",
    "be": _RUSSIAN,
    "hi": "उम्म*|हम्म+|अं+|ऊँ+|एं+",
    "ko": "음+|으+음+|어+",
    "zh": _CHINESE,
    "yue": _CHINESE,
    "ja": "え[ーぇ]+っ?と?|えっと|あのー+|うー+ん|んー+",
}
"""Hesitations by language, as regular expressions of a whole word in lower case; in scripts without spaces between
words, of a part of the text."""

_UNSPACED = ("zh", "yue", "ja")
_CODES = {
    "eng": "en", "deu": "de", "ger": "de", "gsw": "de", "nld": "nl", "dut": "nl", "fra": "fr", "fre": "fr",
    "spa": "es", "cat": "ca", "glg": "gl", "por": "pt", "ita": "it", "pol": "pl", "ces": "cs", "swe": "sv",
    "dan": "da", "nor": "no", "fin": "fi", "tur": "tr", "rus": "ru", "ukr": "uk", "bel": "be", "hin": "hi",
    "kor": "ko", "zho": "zh", "chi": "zh", "cmn": "zh", "jpn": "ja",
}  # fmt: skip
"""Other codes of these languages."""

_ANSWERS = re.compile(r"(?<!\S)(?:(?:uh|um) (?:huh|hum)|mm hmm?)(?!\S)")
"""English answers that may also be written with a space."""

_MARK = re.compile(r"[\[%_]")
_RULES = (
    # spoken while laughing: [laughter-yes]
    (re.compile(r"\[laughter-((?:[^\[\]\s]|\[[^\[\]\s]*\])+)\]", re.IGNORECASE), r"\1"),
    # what was said, and what was meant: [it'n/isn't]
    (re.compile(r"\[((?:[^\[\]\s/]|\[[^\[\]\s/]*\])+)/[^\[\]\s]+\]"), r"\1"),
    # the part of a word that was not said: th[at]-, -[an]y
    (re.compile(r"(?<=[^\W\d_])\[[^\W\d_]+(?:'[^\W\d_]+)?\]-"), "-"),
    (re.compile(r"(?<!\S)-\[[^\W\d_]+(?:'[^\W\d_]+)?\](?=[^\W\d_])"), ""),
    # the number of a pronunciation: them_1
    (re.compile(r"(?<=[^\W\d_])_\d(?!\w)"), ""),
    # a word without a meaning: %uh
    (re.compile(r"(?<!\S)%(?=[^\W\d_])"), ""),
)


def read_marks(text: str, lang: str) -> str:
    """The text with the marks of conversations resolved, of Switchboard (LDC97S62) and other corpora of the LDC.

    >>> read_marks("uh-huh [laughter-i] [it'n/isn't] th[at]- %um them_1", "en")
    "uhhuh i it'n th- um them"
    """
    if _MARK.search(text):
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
    hesitation = _find_hyphenated(lang)
    return hesitation.sub(lambda m: m[0].replace("-", ""), text) if hesitation and "-" in text else text


def remove_hesitations(text: str, lang: str) -> str:
    """A text in letters without its hesitations; of a language that `HESITATIONS` lacks, as it is.

    >>> remove_hesitations("well uh i um uh huh", "en")
    'well i uhhuh'
    """
    language = find_language(lang)
    hesitation = _find_hesitation(language)
    if hesitation is None or not hesitation.search(text):
        return text
    if language == "en":
        text = _ANSWERS.sub(lambda m: m[0].replace(" ", ""), text)
    return " ".join(hesitation.sub("", text).split())


def find_language(lang: str) -> str:
    """The code that `HESITATIONS` has for a language such as en-US or deu."""
    code = lang.replace("_", "-").partition("-")[0].lower()
    return _CODES.get(code, code)


@lru_cache(maxsize=64)
def _find_hesitation(language: str) -> re.Pattern[str] | None:
    if language not in HESITATIONS:
        return None
    pattern = HESITATIONS[language]
    return re.compile(pattern if language in _UNSPACED else rf"(?<!\S)(?:{pattern})(?!\S)")


@lru_cache(maxsize=64)
def _find_hyphenated(lang: str) -> re.Pattern[str] | None:
    """Words that begin with a hesitation and a hyphen."""
    language = find_language(lang)
    if language not in HESITATIONS or language in _UNSPACED:
        return None
    return re.compile(rf"(?<![\w'-])(?:{HESITATIONS[language]})(?:-[^\W\d_]+)+(?![\w-])", re.IGNORECASE)
