"""Audacity's label track (File > Import > Labels): lines of begin (s), end (s) and text, separated by tabs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ds2cli.captions.spans import clean

ENDING = ".labels.txt"


def format_labels(words: Iterable[Mapping[str, Any]]) -> str:
    """A label for each word; labels may overlap, and one without a duration is a point."""
    return "".join(f"{w['start']:.6f}\t{w['end']:.6f}\t{clean(w['word'])}\n" for w in words)
