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
    src: Annotated[str, typer.Argument(metavar="SRC", help="Corpus folder; for csv, the table.")],
    out: Out = "-",
) -> None:
    """Write a manifest of a corpus: the id, audio file, duration and text of each usable utterance.

    Example: ds2 prepare librispeech LibriSpeech data/train.jsonl --part train-clean-100
    """
    from ds2cli.stages import prepare as stage

    stage.load_corpus(corpus, config)
    if config.download:
        stage.download(corpus, src, config)
    ledger = Ledger()
    rows = ui.progress(stage.run(corpus, src, config, ledger), f"prepare {corpus}")
    write_rows("prepare", config, out, rows, ledger)
