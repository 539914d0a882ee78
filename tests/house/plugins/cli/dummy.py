"""Example of a command in a plugin folder: `ds2 dummy IN OUT` is a filter with one setting, `--shift`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import In, Out, with_config
from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class DummyConfig(StageConfig):
    """Settings of `ds2 dummy`."""

    shift: int = setting(13, help="Letters by which a text is shifted.", min=1, max=25)


@with_config(DummyConfig)
def dummy(config: DummyConfig, in_: In = "-", out: Out = "-") -> None:
    """Shift the letters of each text in the alphabet."""
    # a real command imports its stage here, so that `ds2 --help` stays fast

    def shifted(text: str) -> str:
        return "".join(chr((ord(c) - 97 + config.shift) % 26 + 97) if c.isalpha() else c for c in text)

    def run(rows, ledger):
        return ({**row, "text": shifted(row["text"])} for row in rows)

    filter_rows("dummy", config, in_, out, needs=("id", "text"), run=run)
