"""Settings of `ds2 lm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class LmConfig(StageConfig):
    """Estimate an n-gram language model from text."""

    order: int = setting(3, help="Longest n-gram (words, characters or tokens).", min=1, max=6)
    prune: str = setting(
        "0", help='Leave out n-grams seen so often or less, an order each, as "0 0 1"; the last one goes on.'
    )
    unit: Literal["word", "char", "token"] = setting(
        "word", help="A word, a character (a space is <space>), or a token: a symbol of the network of --vocab."
    )
    vocab: str | None = setting(
        None, help="EXP or tokens.txt: the network whose symbols are the tokens; warns of what it cannot spell."
    )
    vocab_size: int | None = setting(None, help="Only the N most frequent of them, the rest is <unk>.", min=1)
    estimator: Literal["auto", "own", "lmplz"] = setting(
        "auto", help="lmplz is KenLM's, for text of any size; own gives the same model up to some 20 million words."
    )
    discount_fallback: bool = setting(
        True, help="Use the discounts 0.5, 1, 1.5, and say so, where the text is too small to compute them."
    )
    memory: str = setting("2G", help="Memory lmplz may sort in, as 500M or 50%.")
    dev: str | None = setting(None, help="Also print perplexity and unknown words of this text.")


@dataclass(frozen=True, kw_only=True)
class MixConfig(StageConfig):
    """Interpolate language models."""

    dev: str | None = setting(None, help="Text that is like what will be said: finds the weights, and is measured.")
    weights: str | None = setting(
        None, help='The weight of each model, as "0.7 0.3" [default: the best ones on --dev].'
    )
    vocab: str | None = setting(None, help="EXP or tokens.txt: the network whose symbols the models' tokens are.")


@dataclass(frozen=True, kw_only=True)
class InfoConfig(StageConfig):
    """Say what a language model is."""

    vocab: str | None = setting(None, help="EXP or tokens.txt: also check that model, TEXT and this network fit.")
    most: int = setting(10, help="List so many unknown words of each TEXT.", min=0)
