"""Models that give unknown words no probability: those without <unk>, as SRILM's ngram-count writes them."""

from __future__ import annotations

from collections.abc import Sequence

from ds2cli.kernels.ngram import LN10
from ds2cli.lm.arpa import LOG10_ZERO, UNK, Arpa
from ds2cli.lm.lint import Finding
from ds2cli.lm.probing import UNK_SPELLINGS
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import SPECIAL_TOKENS, UNIT_PLURAL, detect_unit, symbol_to_token

FIX = f"ngram-count -unk or ds2 lm TEXT… OUT estimates a model with {UNK}; --closed if only its words may be written"


def is_closed(lm: NgramLm) -> bool:
    """Whether a word that the model does not list is as good as impossible."""
    # LOG10_ZERO stands for 0 in ARPA files; -100 for a missing <unk>, here and in KenLM
    return float(lm.unigrams()[lm.tables.unk]) <= 0.999 * LOG10_ZERO * LN10


def is_closed_arpa(model: Arpa) -> bool:
    """The same for a model read from an ARPA file."""
    unk = next((i for i, word in enumerate(model.words) if word in UNK_SPELLINGS), None)
    return unk is None or float(model.sections[0].log10_prob[unk]) <= 0.999 * LOG10_ZERO


def check_unknown_words(lm: NgramLm, symbols: Sequence[str]) -> list[Finding]:
    """The problem of a closed model, if a network of these `symbols` can write what the model does not list."""
    if not is_closed(lm):
        return []
    unit = detect_unit(lm.words, symbols)
    if unit != "word" and {symbol_to_token(symbol) for symbol in symbols[1:]} <= set(lm.words):
        return []
    count = len(set(lm.words) - SPECIAL_TOKENS)
    message = f"the model has no {UNK}: only its {count} {UNIT_PLURAL[unit]} are ever written"
    return [Finding("closed", False, message, FIX)]
