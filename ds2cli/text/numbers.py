"""Numbers in digits, written as spoken, where there is one way to speak them."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from ds2cli.errors import BadUtterance
from ds2cli.text.profiles import find_profile
from ds2cli.text.units import is_run

_CHUNK = re.compile(r"[^\s—]*\d[^\s—]*")
_MISSING_SPACE = re.compile(r"(?<=\d[.,;:!?])(?=[^\W\d_])")
_DASH_BEFORE = re.compile(r"(?:^|\s)[-–−+±]\s*$")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DECIMAL = re.compile(r"\d+[.,](?:\d?[1-9]|\d{3,}[1-9])")
"""A zero at the end is read in a price (2.50) or a version (3.0), and left out by num2words."""

_OPENING, _CLOSING = "\"'([{<«“„‘‚¿¡", "\"')]}>»”’.,;:!?…、。，"
_QUOTES = "\"'’”′″"
_ORDINAL_ENDINGS = ("st", "nd", "rd", "th", "s")
_MIN_DIGITS_READ_SINGLY = 4
_YEARS = range(1500, 2100)
_MONTHS = frozenset(
    (
        *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
        *("November", "December", "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec"),
    )
)

_NEAR = 16
"""Characters before and after a number that are looked at, more than any month has."""

_CODES = {
    "eng": "en", "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "spa": "es", "ita": "it", "rus": "ru", "por": "pt",
    "nld": "nl", "dut": "nl", "tur": "tr", "aze": "az", "fas": "fa", "per": "fa", "ara": "ar", "ukr": "uk", "pol": "pl",
    "jpn": "ja", "kor": "ko", "nb": "no", "nn": "no", "heb": "he", "kk": "kz",
}  # fmt: skip
"""Other codes of languages that num2words knows."""


def spell_numbers(text: str, lang: str) -> str:
    """Write the numbers in a text as spoken: "dial 20" becomes "dial twenty".

    Numbers of up to three digits and decimals are read as cardinals. Longer ones and those with a leading zero are
    extensions or passwords and read digit by digit, but may not be a year or a round number. A number stands alone,
    after a word and a hyphen (covid-19), after capital letters (MP3) or before one (3D).
    BadUtterance "digits" when `lang` is not supported, a number is ambiguous (1,000 may be a decimal, 12.05.2020 is a
    date, 1999 may be a year), or is part of something that is read in another way: 1st, 90s, -5, 1/2, 10:30, 5km,
    May 5.

    >>> spell_numbers("3D, extension 1234", "en")
    'three D, extension one two three four'
    """
    if not any(c.isdigit() for c in text):
        return text
    text = _MISSING_SPACE.sub(lambda m: " " if text[m.start()].isupper() else "", text)
    parts: list[str] = []
    end, previous = 0, None
    for match in _CHUNK.finditer(text):
        between = text[end : match.start()]
        spoken, number = _spell_chunk(match, lang)
        if number and _DASH_BEFORE.search(between):
            raise _unreadable(match[0], text, "after a dash or sign is ambiguous")
        if number and previous and not _may_follow(previous, number, between):
            raise _unreadable(previous + between + match[0], text, "is ambiguous")
        parts += [between, spoken]
        end, previous = match.end(), number
    return " ".join("".join([*parts, text[end:]]).replace(" ,", ",").split()) if parts else text


def _spell_chunk(match: re.Match[str], lang: str) -> tuple[str, str | None]:
    """The spoken words of characters without a space, and the number if there is nothing else."""
    text, chunk = match.string, match[0]
    core = chunk.lstrip(_OPENING).rstrip(_CLOSING)
    start = chunk.index(core)
    before, after = chunk[:start], chunk[start + len(core) :]
    if after[:1] in tuple(_QUOTES) and not any(q in text[: match.start() + start] for q in _QUOTES + "“‘„"):
        raise _unreadable(chunk, text)

    def read(digits: str) -> str:
        return f" {_read(digits, chunk, text, lang)} "

    profile = find_profile(lang)
    if _NUMBER.fullmatch(core):
        words_before = text[max(0, match.start() - _NEAR) : match.start()].rstrip(" .").split()
        rest = text[match.end() : match.end() + _NEAR].lstrip()
        if not _MONTHS.isdisjoint((*words_before[-1:], *re.findall(r"^\w+", rest))):
            raise _unreadable(chunk, text, "may be a date")
        if profile.ordinal_dot and core.isdigit() and after == "." and rest[:1].isalpha():
            raise _unreadable(chunk, text, "may be an ordinal")
        return before + read(core) + after, core if not before and not after else None
    if m := re.fullmatch(r"((?:[^\W\d_]+-)+)(\d+)|([A-Z]+)(\d{1,3})", core):
        return before + (m[1] or m[3]).replace("-", " ") + read(m[2] or m[4]) + after, None
    if m := re.fullmatch(r"(\d{1,3})([DG])", core):
        return before + read(m[1]) + m[2] + after, None
    if profile.hyphenated_numbers and (m := re.fullmatch(r"(\d{1,3})((?:-[^\W\d_]+)+)", core)):
        words = m[2].replace("-", " ")
        if words.split()[0].lower() not in _ORDINAL_ENDINGS:
            return before + read(m[1]) + words + after, None
    if (m := re.fullmatch(r"(\D*)(\d+)(\D*)", core)) and _without_spaces(m[1] + m[3]):
        return before + m[1] + read(m[2]).strip() + m[3] + after, None
    raise _unreadable(chunk, text)


def _may_follow(previous: str, number: str, between: str) -> bool:
    """Whether two numbers with only a space between them are surely two: 1 000 may be a thousand."""
    return between.strip() != "" or (between == " " and max(len(previous), len(number)) <= 2)


def _without_spaces(letters: str) -> bool:
    """Whether all letters are of scripts without spaces between words: Chinese and Japanese."""
    return letters.isalpha() and not any(map(is_run, letters))


def _read(number: str, chunk: str, text: str, lang: str) -> str:
    if number.isdigit():
        if len(number) >= _MIN_DIGITS_READ_SINGLY or (number[0] == "0" and len(number) > 1):
            # Python converts no number of more than 4300 digits
            if number[0] != "0" and (int(number[-3:]) == 0 or (len(number) == 4 and int(number) in _YEARS)):
                raise _unreadable(chunk, text, "is ambiguous: a year, a round number or single digits")
            return " ".join(_cardinal(int(digit), number, text, lang) for digit in number)
        return _cardinal(int(number), number, text, lang)
    if not _DECIMAL.fullmatch(number):
        raise _unreadable(chunk, text, "is ambiguous")
    return _cardinal(Decimal(number.replace(",", ".")), number, text, lang)


def _cardinal(value: int | Decimal, number: str, text: str, lang: str) -> str:
    import num2words

    code = _num2words_code(lang)
    if code not in num2words.CONVERTER_CLASSES:
        raise BadUtterance("digits", f"{number} in {text[:40]!r}: numbers in language {lang!r} are not supported")
    try:
        words = str(num2words.num2words(value, lang=code))
    except Exception:
        # converters of some languages fail at decimals or large numbers, each with errors of its own
        words = ""
    # Arabic decimals come with a comma in them
    if not words or any(unicodedata.category(c)[0] in "NPS" and c not in "-'’" for c in words):
        raise _unreadable(number, text, f"cannot be read in language {lang!r}")
    return words


def _num2words_code(lang: str) -> str:
    """pt-BR as pt_BR, deu as de; num2words itself would take fil for Finnish."""
    language, _, region = lang.replace("_", "-").partition("-")
    language = _CODES.get(language.lower(), language.lower())
    import num2words

    with_region = f"{language}_{region.upper()}"
    return with_region if with_region in num2words.CONVERTER_CLASSES else language


def _unreadable(chunk: str, text: str, why: str = "is not a plain number") -> BadUtterance:
    return BadUtterance("digits", f"{chunk!r} in {text.strip()[:40]!r} {why}: write it as spoken")
