"""Which format a file of transcripts has."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Literal

from ds2cli import encoding, inputs, io, json_lines
from ds2cli.transcripts import score_json

Format = Literal["auto", "rows", "trn", "ctm", "kaldi"]
Kind = Literal["rows", "score", "trn", "ctm", "stm", "kaldi"]
"""score: the JSON file of `ds2 score --json`."""

_BY_ENDING: dict[str, Kind] = {".jsonl": "rows", ".trn": "trn", ".ctm": "ctm", ".stm": "stm"}
_NUMBER = r"-?\d*\.?\d+"
_CTM = re.compile(rf"\s*\S+\s+\S+\s+{_NUMBER}\s+\d*\.\d+\s+\S+(\s+\S+)?\s*")
_STM = re.compile(rf"\s*\S+\s+\S+\s+\S+\s+({_NUMBER}\s+\d*\.\d+|\d*\.\d+\s+{_NUMBER})(\s.*)?")
_TRN = re.compile(r".*\([^()\s]+\)\s*")
_JSON = re.compile(r'\s*\{\s*["}]')


def detect(path: str, format: Format = "auto") -> Kind:
    """The format of a file: what `format` says, or that of its name (.trn, .ctm, .stm, .jsonl, Kaldi's `text`), or else
    of its first line.

    Of a pipe other than standard input only the name counts, since its first line cannot be read twice; without one of
    these names it has rows. DataError if the file cannot be read.
    """
    if format != "auto":
        return format
    name = Path(path).name.removesuffix(".gz")
    if kind := _BY_ENDING.get(Path(name).suffix):
        return kind
    if name == "text":
        return "kaldi"
    return _detect_line(_first_line(path))


def _detect_line(line: str) -> Kind:
    if line.strip() == score_json.FIRST_LINE:
        return "score"
    # an empty file and a JSON list, too: the reader of manifests says what is wrong
    if not line.strip() or _JSON.match(line) or json_lines.starts_document(line):
        return "rows"
    if _TRN.fullmatch(line):
        return "trn"
    if _CTM.fullmatch(line):
        return "ctm"
    return "stm" if _STM.fullmatch(line) else "kaldi"


def _first_line(path: str) -> str:
    """The first line that is neither empty nor a comment; "" for a pipe."""
    if path == "-":
        return _select(_peek_standard_input().splitlines())
    if inputs.is_stream(path):
        return ""
    for _, line in io.read_lines(path):
        if first := _select([line]):
            return first
    return ""


def _select(lines: list[str]) -> str:
    return next((line for line in lines if line.strip() and not line.startswith((";", "**"))), "")


def _peek_standard_input() -> str:
    """The beginning of standard input, which is still read from there later; "" if it cannot be looked at."""
    peek = getattr(getattr(io.standard_input(), "buffer", None), "peek", None)
    if peek is None:
        return ""
    try:
        head = peek()
        if head.startswith(b"\x1f\x8b"):
            head = zlib.decompressobj(31).decompress(head)
    # the reader reports it
    except (OSError, ValueError, zlib.error):
        return ""
    return str(head.decode(encoding.detect(head), "replace"))
