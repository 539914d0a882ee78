"""Dummy: WAV files that all say the same.

Source     SRC is a folder of WAV files.

Example: ds2 prepare dummy wav/ data/dummy.jsonl --greeting "good morning"
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@dataclass(frozen=True, kw_only=True)
class Options(PrepareConfig):
    """Settings of the corpus; `greeting` is the option --greeting."""

    greeting: str = setting("hello", help="Text of every recording.")


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each file."""
    for path in Path(source).glob("*.wav"):
        yield {"id": path.stem, "audio_filepath": str(path), "text": config.greeting}
