"""Splits of a text into the units of an error rate: characters, Chinese characters and words, tokens.

`words` of `wer.py` is the split of the word error rate.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ds2cli import inputs
from ds2cli.errors import DataError
from ds2cli.text.units import Segmenter, is_run, load_sentencepiece, split_bigrams, split_runs
from ds2cli.text.vocab import TOKENS, Vocab

HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0-\U00016ff6\U00020000-\U0003fffd"
)
"""Chinese characters (Unicode's Script=Han), as a set of a regular expression. Planes 2 and 3 are reserved for them."""

_FROM_HAN_ON = re.compile("[\u2e80-\U0003fffd]")
"""A quick test: texts without any of these have no Chinese character."""

_SPACE_BESIDE_HAN = re.compile(f" (?=[{HAN}])|(?<=[{HAN}]) ")
_VARIANTS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_MIXED = re.compile(rf"[{HAN}][{_VARIANTS}]*|[^\s{HAN}]+")
_CACHED_RUNS = 1 << 16


def join_characters(text: str, spaces: bool = True) -> str:
    """The text as a string of which every character (code point) is a unit of the character error rate.

    White space becomes one space, and none beside a Chinese character, where it has no sound and is often arbitrary.
    spaces: False removes all.

    >>> join_characters("turn on  蓝牙 and 开 灯 ")
    'turn on蓝牙and开灯'
    """
    if not spaces:
        return "".join(text.split())
    joined = " ".join(text.split())
    if joined.isascii() or not _FROM_HAN_ON.search(joined):
        return joined
    return _SPACE_BESIDE_HAN.sub("", joined)


def mixed_units(text: str) -> list[str]:
    """The units of the mixed error rate of speech in Chinese and another language: each Chinese character, and what
    white space or Chinese characters separate (Shi et al., "The ASRU 2019 Mandarin-English Code-Switching Speech
    Recognition Challenge", arXiv:2007.05916).

    A variation selector belongs to the character before it.

    >>> mixed_units("打开 bluetooth设备")
    ['打', '开', 'bluetooth', '设', '备']
    """
    if text.isascii() or not _FROM_HAN_ON.search(text):
        return text.split()
    return _MIXED.findall(text)


def token_units(tokenizer: str, open_vocab: Callable[[str], Vocab] | None = None) -> Callable[[str], list[str]]:
    """The split into the tokens of a SentencePiece model (a file that ends in .model), or else of what `open_vocab`
    opens: by default the tokens.txt of an experiment, while `recognizer.vocabulary.open_vocab` reads its network first.

    The split never fails: a character that is no token is a unit of its own. The units of an experiment are the symbols
    that its network writes, of which one is the space; those of SentencePiece have it (▁) at the begin of a word.
    DataError for a file that cannot be read.
    """
    if tokenizer.endswith(".model") and not Path(tokenizer).is_dir():
        return _sentencepiece_units(tokenizer)
    return _vocab_units((open_vocab or _open_tokens)(tokenizer))


def _open_tokens(tokenizer: str) -> Vocab:
    path = Path(tokenizer)
    return Vocab.load(path / TOKENS if path.is_dir() else path)


def _vocab_units(vocab: Vocab) -> Callable[[str], list[str]]:
    if vocab.by_character:
        return lambda text: list(" ".join(text.split()))
    symbols = frozenset(vocab.symbols[1:])
    segment: Segmenter = load_sentencepiece(vocab.pieces)[1] if vocab.pieces else split_bigrams

    @lru_cache(_CACHED_RUNS)
    def split_run(run: str) -> tuple[str, ...]:
        parts = ((unit,) if unit in symbols else tuple(unit) for unit in segment(run))
        return tuple(unit for part in parts for unit in part)

    def split(text: str) -> list[str]:
        units: list[str] = []
        for part in split_runs(" ".join(text.split())):
            if is_run(part):
                units.extend(split_run(part))
            else:
                units.append(part)
        return units

    return split


def _sentencepiece_units(path: str) -> Callable[[str], list[str]]:
    import sentencepiece

    try:
        model = inputs.read_bytes(path)
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as e:
        raise DataError(f"{path}: not a SentencePiece model") from e

    def split(text: str) -> list[str]:
        try:
            units: list[str] = processor.encode(text, out_type=str)
        except (RuntimeError, UnicodeError):
            # half of a surrogate pair
            return list("".join(text.split()))
        return units

    return split
