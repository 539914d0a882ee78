"""Lists of the symbols of other toolkits' CTC networks, and what has to be done to use these networks here.

Accepted are one symbol per line (ours, NeMo, ESPnet), `SYMBOL ID` (Kaldi, icefall, sherpa) and a JSON object of ids by
symbol (vocab.json of Hugging Face). Here the blank is the first symbol, a space is " ", and there are only symbols that
texts can have: others, such as <unk>, are left out. Notation: V symbols.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ds2cli import inputs
from ds2cli.encoding import decode
from ds2cli.errors import DataError
from ds2cli.text.vocab import BLANK, Vocab, parse_symbol

BLANKS, PADS = ("<blank>", "<blk>", "<eps>", "[blank]"), ("<pad>", "[pad]")
"""Names of the blank, in any case; the padding is the blank (as in wav2vec 2.0) if nothing else is."""

SPECIAL = frozenset(PADS) | {
    *("<unk>", "<s>", "</s>", "<sos>", "<eos>", "<bos>", "<sos/eos>", "<mask>"),
    *("[unk]", "[cls]", "[sep]", "[mask]", "<unused>"),
}
"""Symbols that are no part of texts, in any case; <unused> is for outputs that a user wants to leave out."""

_WITH_ID = re.compile(r"(.+)[ \t]([0-9]{1,9})")
_DISAMBIGUATION = re.compile(r"#[0-9]+")
_WORD_START = "\u2581"


@dataclass(frozen=True)
class Tokens:
    """The symbols of a network.

    vocab: those that are used, blank first. columns: (V,) their places among the outputs of the network.
    outputs: how many it has. left_out: the symbols that are not used.
    """

    vocab: Vocab
    columns: tuple[int, ...]
    outputs: int
    left_out: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether emissions can be used as they are."""
        return self.columns == tuple(range(self.outputs))

    @classmethod
    def of(cls, vocab: Vocab) -> Tokens:
        """Those of our own networks."""
        return cls(vocab, tuple(range(len(vocab))), len(vocab))


def load_tokens(path: str | Path) -> Tokens:
    """Read a list of symbols; our own with the sentencepiece model next to it. DataError."""
    try:
        data = inputs.read_bytes(path)
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    if data.startswith(BLANK.encode() + b"\n"):
        return Tokens.of(Vocab.load(path) if Path(path).is_file() else Vocab.parse(data, b"", str(path)))
    return parse_tokens(data, str(path))


def load_plain_vocab(path: str | Path) -> Vocab:
    """The symbols of emissions that need no change; DataError, also if blank or spaces are elsewhere."""
    tokens = load_tokens(path)
    if not tokens.is_plain:
        found = f"the blank is output {tokens.columns[0]} of {tokens.outputs}"
        found = f"{found} and {', '.join(tokens.left_out)} cannot be in texts" if tokens.left_out else found
        raise DataError(
            f"{path}: {found}: ds2 emit, with --onnx or --scores, reorders emissions and writes their tokens.txt "
            "(give its folder instead)"
        )
    return tokens.vocab


def parse_tokens(data: bytes, name: str) -> Tokens:
    """The symbols in the content of a file; DataError with `name` for what is ambiguous or incomplete."""
    try:
        text = decode(data, name)
    except UnicodeError as e:
        raise DataError(f"{name}: not a list of symbols: {e}") from e
    listed = _parse_json(text, name) if text.lstrip().startswith("{") else _parse_lines(text, name)
    while listed and _DISAMBIGUATION.fullmatch(listed[-1]) and "#0" in listed:
        # of Kaldi's graphs; no network has outputs for them
        listed.pop()
    blank = _find_blank(listed, name)
    space = _find_space(listed, name)
    kept = [blank, *(i for i, symbol in enumerate(listed) if i != blank and symbol.lower() not in SPECIAL)]
    symbols = [BLANK, *(" " if i == space else listed[i] for i in kept[1:])]
    left_out = tuple(symbol for i, symbol in enumerate(listed) if i not in {*kept})
    try:
        return Tokens(Vocab(tuple(symbols)), tuple(kept), len(listed), left_out)
    except DataError as e:
        raise DataError(f"{name}: {e}") from e


def _parse_json(text: str, name: str) -> list[str]:
    try:
        values = json.loads(text)
        return _by_id([(str(symbol), int(i)) for symbol, i in values.items()], name)
    except (ValueError, TypeError, AttributeError, RecursionError) as e:
        raise DataError(f'{name}: not a JSON object of ids by symbol, such as {{"a": 5}}: {str(e)[:100]}') from e


def _parse_lines(text: str, name: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    pairs = [_WITH_ID.fullmatch(line) for line in lines]
    if all(pairs):
        return _by_id([(parse_symbol(pair[1]), int(pair[2])) for pair in pairs if pair], name)
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"{name}: line {number} is empty: expected one symbol per line (a space is <space>)")
        if len(line) > 1 and any(c in " \t" for c in line):
            raise DataError(f"{name}: line {number}: expected one symbol, or on each line SYMBOL ID, got {line[:40]!r}")
    return [parse_symbol(line) for line in lines]


def _by_id(pairs: Sequence[tuple[str, int]], name: str) -> list[str]:
    found: dict[int, str] = {}
    for symbol, i in pairs:
        if i in found:
            raise DataError(f"{name}: the id {i} is that of {found[i]!r} and of {symbol!r}")
        found[i] = symbol
    if missing := next((i for i in range(len(found)) if i not in found), None):
        raise DataError(f"{name}: no symbol has the id {missing}: expected 0 to {len(found) - 1}")
    if 0 not in found:
        raise DataError(f"{name}: no symbol has the id 0 (the blank of some networks: add `<blank> 0`)")
    return [found[i] for i in range(len(found))]


def _find_blank(listed: Sequence[str], name: str) -> int:
    for names in (BLANKS, PADS):
        found = [i for i, symbol in enumerate(listed) if symbol.lower() in names]
        if len(found) > 1:
            both = " and ".join(listed[i] for i in found[:2])
            raise DataError(f"{name}: {both} could both be the blank: rename the one that is not")
        if found:
            return found[0]
    raise DataError(
        f"{name}: no symbol is the blank: call it {BLANK}, at the place of its output in the network "
        "(NeMo's lists leave it out: it is the last output)"
    )


def _find_space(listed: Sequence[str], name: str) -> int | None:
    """The place of the space; None if there is none."""
    if " " in listed:
        return listed.index(" ")
    if pieces := [symbol for symbol in listed if len(symbol) > 1 and symbol.startswith(_WORD_START)]:
        raise DataError(
            f"{name}: {pieces[0]!r} is the beginning of a word with the space before it: "
            "expected a network whose space is a symbol of its own, as of characters"
        )
    found = [i for i, symbol in enumerate(listed) if symbol in (_WORD_START, "|")]
    if len(found) > 1:
        raise DataError(f"{name}: {_WORD_START} and | could both be the space: write <space> for the one that is")
    return found[0] if found else None
