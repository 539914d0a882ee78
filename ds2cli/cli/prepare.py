"""`ds2 prepare CORPUS SRC OUT`."""

from __future__ import annotations

import pkgutil
from typing import Annotated

import typer

import ds2cli.corpora
from ds2cli import ui
from ds2cli.cli.lib.filter import write_rows
from ds2cli.cli.lib.options import Out, with_config
from ds2cli.config.prepare import PrepareConfig
from ds2cli.drops import Ledger

CORPORA = ", ".join(sorted(module.name for module in pkgutil.iter_modules(ds2cli.corpora.__path__)))


@with_config(PrepareConfig)
def prepare(
    config: PrepareConfig,
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=f"One of {CORPORA}.")],
    src: Annotated[str, typer.Argument(metavar="SRC", help="Folder of the corpus, or the table of csv.")],
    out: Out = "-",
) -> None:
    """Write a row for each utterance of a corpus: id, audio, duration, text. What cannot be used is dropped by reason.

    Example: ds2 prepare librispeech LibriSpeech data/train.jsonl --part train-clean-100
    """
    from ds2cli.stages import prepare as stage

    stage.corpus(corpus, config)
    if config.download:
        stage.fetch(corpus, src, config)
    ledger = Ledger()
    rows = ui.progress(stage.run(corpus, src, config, ledger), f"prepare {corpus}")
    write_rows("prepare", config, out, rows, ledger)
