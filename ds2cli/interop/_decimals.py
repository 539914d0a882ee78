"""Seconds as texts, so that sums and differences of times are exact."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ds2cli.errors import BadUtterance
from ds2cli.manifest import MAX_SECONDS


def format_seconds(seconds: float) -> str:
    """The shortest text that reads as the same number, without an exponent.

    >>> format_seconds(1e-06)
    '0.000001'
    """
    text = repr(seconds)
    return format(Decimal(text), "f") if "e" in text else text


def add_seconds(first: float, second: float) -> str:
    """The text of a sum.

    >>> add_seconds(0.1, 0.2)
    '0.3'
    """
    return format(Decimal(repr(first)) + Decimal(repr(second)), "f")


def subtract_seconds(end: str, start: str) -> float:
    """The difference of two times that are texts. BadUtterance as of `parse_seconds`."""
    parse_seconds(start), parse_seconds(end)
    return float(Decimal(end) - Decimal(start))


def parse_seconds(text: str) -> float:
    """The number of a text; BadUtterance "wrong-type" if it is none from 0 to MAX_SECONDS."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        seconds = Decimal("NaN")
    if not seconds.is_finite() or not 0 <= seconds <= MAX_SECONDS:
        raise BadUtterance("wrong-type", f"expected seconds from 0 to {MAX_SECONDS:g}, got {text[:40]!r}")
    return float(seconds)
