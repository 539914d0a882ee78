"""Kaldi's `text`: lines of an id and the words of the utterance."""

from __future__ import annotations

from collections.abc import Iterator

from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.transcripts.texts import read_texts


def read(path: str, field: str = "text", ledger: Ledger | None = None) -> Iterator[Row]:
    """Yield a row with the text in `field` for each utterance, sorted by id; see `read_texts`. Any text may be empty.

    Lines of spaces are skipped.
    """
    return read_texts(path, (), field, _parse, ledger)


def _parse(line: str) -> tuple[str, str]:
    id_, *text = line.split(maxsplit=1)
    return id_, text[0].strip() if text else ""
