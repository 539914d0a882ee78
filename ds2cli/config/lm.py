"""Settings of `ds2 lm`, `ds2 lm mix` and `ds2 lm info`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.text import LanguageOption, TextOptions


@dataclass(frozen=True, kw_only=True)
class LmConfig(TextOptions, LanguageOption, StageConfig):
    """Estimate an n-gram language model from text."""

    no_effect: ClassVar = {"memory": ("estimator", ("own",))}

    order: int = setting(3, help="Order of the model: length of the longest n-grams.", min=1, max=6)
    prune: str = setting(
        "0", help='Drop n-grams with at most this count, one threshold per order (such as "0 0 1"); the last repeats.'
    )
    unit: Literal["word", "char", "token"] = setting(
        "word", help="Words, characters (a space is <space>), or tokens: the output symbols of the network in --vocab."
    )
    vocab: str | None = setting(
        None, help="Network (EXP or tokens.txt): the symbols of --unit token; warn about words it cannot write."
    )
    vocab_size: int | None = setting(
        None,
        help="Vocabulary size: keep the N most frequent words (or other units); the rest become <unk> [default: all].",
        min=1,
    )
    estimator: Literal["auto", "own", "lmplz"] = setting(
        "auto",
        help="KenLM's lmplz (any size of text), own (same model, up to 20 million words), auto (lmplz if found).",
    )
    discount_fallback: bool = setting(
        True, help="Use discounts 0.5, 1 and 1.5 (logged) where the text is too small to compute them."
    )
    memory: str = setting("2G", help="Memory for sorting in lmplz, such as 500M or 50%.")
    dev: str | None = setting(None, help="Text to report perplexity and the out-of-vocabulary (OOV) rate on.")


@dataclass(frozen=True, kw_only=True)
class MixConfig(TextOptions, LanguageOption, StageConfig):
    """Interpolate language models."""

    no_effect: ClassVar = dict.fromkeys(
        ("text_rules", "numbers", "remove_tags", "lang", "max_bad", "dropped"), ("dev", (None,))
    )

    dev: str | None = setting(
        None, help="Text similar to the expected speech: weights are tuned and perplexities reported on it."
    )
    weights: str | None = setting(
        None, help='Interpolation weight of each model, such as "0.7 0.3" [default: tuned on --dev].'
    )
    vocab: str | None = setting(None, help="Network (EXP or tokens.txt) whose output symbols are the models' tokens.")


@dataclass(frozen=True, kw_only=True)
class InfoConfig(TextOptions, LanguageOption, StageConfig):
    """Describe a language model, evaluate it on texts, and check that it fits a network."""

    vocab: str | None = setting(None, help="Network (EXP or tokens.txt): check that the model and TEXT fit it.")
    most: int = setting(10, help="Maximum number of OOV words to list per TEXT, most frequent first.", min=0)
