"""ds2.jsonl in a data folder of Kaldi: for each utterance, what Kaldi has no file for, sorted by id.

A line is an object with the id in Kaldi as `utt`, and `add` and `instead` (_extra.py). Kaldi's tools ignore the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ds2cli import io
from ds2cli.errors import DataError
from ds2cli.interop._extra import Extra

NAME = "ds2.jsonl"

_RENAMED = '"instead":{"id":'
"""As `format_extra` writes it: the id is the first field of a row."""


def format_extra(utterance: str, extra: Extra) -> str:
    """The line of an utterance."""
    return json.dumps({"utt": utterance, **extra}, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_extra(folder: str) -> Iterator[tuple[str, Extra]]:
    """The id and what is kept of each utterance; nothing if there is no such file. DataError for a line that is bad."""
    path = os.path.join(folder, NAME)
    if not Path(path).is_file():
        return
    last = ""
    for number, line in io.read_lines(path):
        try:
            extra = json.loads(line)
            name = extra.pop("utt")
            if not isinstance(name, str) or name <= last:
                raise ValueError
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as e:
            raise DataError(f"{path}:{number}: not as `ds2 data export` writes it (remove the file, or export)") from e
        last = name
        yield name, extra


def has_renamed(folder: str) -> bool:
    """Whether an export has changed ids, so that their order may be another one."""
    path = os.path.join(folder, NAME)
    return Path(path).is_file() and any(_RENAMED in line for _, line in io.read_lines(path))
