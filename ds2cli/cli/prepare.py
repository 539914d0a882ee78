"""`ds2 prepare CORPUS SRC [OUT]`: one subcommand per corpus, with the options that its file declares."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer

from ds2cli import ui
from ds2cli.cli.lib.filter import require_rows, write_rows
from ds2cli.cli.lib.options import IfStale, Out, with_config
from ds2cli.cli.lib.plugin_group import PluginGroup
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.prepare import PrepareConfig
from ds2cli.corpora import corpus_names, load_corpus
from ds2cli.drops import Ledger
from ds2cli.ui_bytes import ByteProgress


@functools.cache
def corpus_command(name: str) -> Any:
    """The command `ds2 prepare NAME`, with the help and the options of that corpus."""
    corpus = load_corpus(name)

    @with_config(corpus.Options)
    def prepare(
        config: PrepareConfig,
        src: Annotated[str, typer.Argument(metavar="SRC", help="Folder or table of the corpus, as described above.")],
        out: Out = "-",
        if_stale: IfStale = False,
    ) -> None:
        from ds2cli.stages import prepare as stage

        if hasattr(corpus, "fetch"):
            with ByteProgress(f"prepare {name}") as report:
                corpus.fetch(src, config, report)
        made = begin("prepare", config, out, {"SRC": src}, if_stale=if_stale)
        ledger = require_rows(Ledger(source=src), config, is_choice=True)
        rows = ui.progress(stage.run(name, src, config, ledger), f"prepare {name}")
        write_rows("prepare", config, out, rows, ledger, made=made)

    title, *paragraphs = (corpus.__doc__ or f"{name}.").strip().split("\n\n")
    # \b keeps the line breaks of a paragraph
    prepare.__doc__ = "\n\n".join([title, *(p if p.startswith("Example: ") else f"\b\n{p}" for p in paragraphs)])
    command = typer.Typer(rich_markup_mode=None, add_completion=False)
    command.command(name, short_help=title)(prepare)
    return typer.main.get_command(command)


class CorpusGroup(PluginGroup):
    """The corpora as subcommands."""

    find_names = staticmethod(corpus_names)
    make_command = staticmethod(corpus_command)


app = typer.Typer(
    cls=CorpusGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="CORPUS SRC [OUT]",
    help="Write a manifest of a corpus: the id, audio file, duration and text of each usable utterance.",
)


@app.callback()
def _group() -> None:
    """Without a callback, Typer takes an app with no registered commands for an empty one."""
