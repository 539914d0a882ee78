"""Digits as the words that are said."""

from __future__ import annotations

import re
from decimal import Decimal

from ds2cli.errors import BadUtterance

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DECIMAL = re.compile(r"\d+[.,](?:\d{1,2}|\d{4,})")
_FOUR_DIGITS_AND_MORE = 4


def spell_numbers(text: str, lang: str) -> str:
    """Write out the numbers of a text: "dial 20" is "dial twenty".

    Up to three digits are a cardinal, as is a decimal; four digits and more, and those with a leading zero, are an
    extension, a year or a password and are read digit by digit. BadUtterance "digits" for a language not known here,
    and for what may be thousands or a decimal, as 1,000, or a date.

    >>> spell_numbers("3D, extension 1234", "en")
    'three D, extension one two three four'
    """

    def words(match: re.Match[str]) -> str:
        from num2words import num2words

        number = match[0]
        try:
            if number.isdigit() and (len(number) >= _FOUR_DIGITS_AND_MORE or (number[0] == "0" and len(number) > 1)):
                spoken = " ".join(num2words(int(digit), lang=lang) for digit in number)
            elif number.isdigit():
                spoken = num2words(int(number), lang=lang)
            elif not _DECIMAL.fullmatch(number):
                raise BadUtterance("digits", f"{number} in {text[:40]!r} can be read in several ways: spell it out")
            else:
                spoken = num2words(Decimal(number.replace(",", ".")), lang=lang)
        except NotImplementedError:
            raise BadUtterance("digits", f"{number} in {text[:40]!r}: numbers of {lang!r} are not known here") from None
        return f" {spoken} "

    return " ".join(_NUMBER.sub(words, text).replace(" ,", ",").split()) if _NUMBER.search(text) else text
