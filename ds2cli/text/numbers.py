"""Numbers in digits, written as spoken."""

from __future__ import annotations

import re
from decimal import Decimal

from ds2cli.errors import BadUtterance

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DECIMAL = re.compile(r"\d+[.,](?:\d{1,2}|\d{4,})")
_MIN_DIGITS_READ_SINGLY = 4


def spell_numbers(text: str, lang: str) -> str:
    """Write the numbers in a text as spoken: "dial 20" becomes "dial twenty".

    Numbers of up to three digits and decimals are read as cardinals. Longer ones and those with a leading zero are
    extensions, years or passwords and read digit by digit. BadUtterance "digits" when `lang` is not supported, or a
    number is ambiguous: 1,000 may be a decimal, 12.05.2020 is a date.

    >>> spell_numbers("3D, extension 1234", "en")
    'three D, extension one two three four'
    """

    def words(match: re.Match[str]) -> str:
        from num2words import num2words

        number = match[0]
        try:
            if number.isdigit() and (len(number) >= _MIN_DIGITS_READ_SINGLY or (number[0] == "0" and len(number) > 1)):
                spoken = " ".join(num2words(int(digit), lang=lang) for digit in number)
            elif number.isdigit():
                spoken = num2words(int(number), lang=lang)
            elif not _DECIMAL.fullmatch(number):
                raise BadUtterance("digits", f"{number} in {text[:40]!r} is ambiguous: write it as spoken")
            else:
                spoken = num2words(Decimal(number.replace(",", ".")), lang=lang)
        except NotImplementedError:
            raise BadUtterance(
                "digits", f"{number} in {text[:40]!r}: numbers in language {lang!r} are not supported"
            ) from None
        return f" {spoken} "

    return " ".join(_NUMBER.sub(words, text).replace(" ,", ",").split()) if _NUMBER.search(text) else text
