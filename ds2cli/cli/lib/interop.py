"""`ds2 data import FORMAT SRC [OUT]` and `ds2 data export FORMAT IN DIR`: a subcommand per format of ds2cli/interop."""

from __future__ import annotations

import functools
import os
from typing import Annotated, Any

import typer

from ds2cli import ui
from ds2cli.atomic import find_written
from ds2cli.cli.lib.filter import count_lines, require_rows, source_name, write_rows, writing
from ds2cli.cli.lib.options import IfStale, In, Out, with_config
from ds2cli.cli.lib.plugin_group import PluginGroup
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.interop import ExportConfig, ImportConfig
from ds2cli.drops import Ledger
from ds2cli.interop import format_names, load_format


@functools.cache
def _import_command(name: str) -> Any:
    """The command `ds2 data import NAME`."""
    module = load_format(name)

    @with_config(module.ImportOptions)
    def import_(
        config: ImportConfig,
        src: Annotated[str, typer.Argument(metavar="SRC", help="Data of the other toolkit, as described above.")],
        out: Out = "-",
        if_stale: IfStale = False,
    ) -> None:
        from ds2cli.stages import data_import

        label = f"import {name}"
        made = begin(f"data import {name}", config, out, {"SRC": src}, if_stale=if_stale)
        ledger = require_rows(Ledger(source=source_name(src)), config, is_choice=True)
        rows = ui.progress(data_import.run(name, src, config, ledger), label)
        write_rows(label, config, out, rows, ledger, made=made)

    return _make_command(name, module, import_)


@functools.cache
def _export_command(name: str) -> Any:
    """The command `ds2 data export NAME`."""
    module = load_format(name)

    @with_config(module.ExportOptions)
    def export(
        config: ExportConfig,
        in_: In,
        folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder to write.")],
        if_stale: IfStale = False,
    ) -> None:
        from ds2cli.stages import data_export

        label, out = f"export {name}", data_export.main_file(name, folder)
        made = begin(f"data export {name}", config, out, {"IN": in_}, if_stale=if_stale)
        ledger = require_rows(Ledger(source=source_name(in_)), config)
        lines = count_lines(in_)
        files = (os.path.join(folder, file) for file in module.FILES if file != module.MAIN)
        # looked for when all are written; those of an earlier run are about to be removed
        written = (file for file in files if find_written(file).is_file() and not _is_in_place(file))
        with writing(label, config, out, ledger, {}, made, written):
            data_export.run(name, in_, folder, config, ledger, lambda rows: ui.progress(rows, label, lines))
            ledger.enforce_max_bad(label, config.max_bad)

    return _make_command(name, module, export)


def _is_in_place(file: str) -> bool:
    return os.path.exists(file) and find_written(file).samefile(file)  # noqa: PTH110


def _make_command(name: str, module: Any, function: Any) -> Any:
    title, *paragraphs = (module.__doc__ or f"{name}.").strip().split("\n\n")
    # \b keeps the line breaks of a paragraph
    function.__doc__ = "\n\n".join([title, *(p if p.startswith("Example: ") else f"\b\n{p}" for p in paragraphs)])
    command = typer.Typer(rich_markup_mode=None, add_completion=False)
    command.command(name, short_help=title)(function)
    return typer.main.get_command(command)


class ImportGroup(PluginGroup):
    """`ds2 data import`."""

    find_names = staticmethod(format_names)
    make_command = staticmethod(_import_command)


class ExportGroup(PluginGroup):
    """`ds2 data export`."""

    find_names = staticmethod(format_names)
    make_command = staticmethod(_export_command)


def _group(cls: type[PluginGroup], metavar: str, help: str) -> typer.Typer:
    group = typer.Typer(cls=cls, no_args_is_help=True, rich_markup_mode=None, subcommand_metavar=metavar, help=help)
    # without a callback, Typer takes an app with no registered commands for an empty one
    group.callback()(lambda: None)
    return group


import_app = _group(ImportGroup, "FORMAT SRC [OUT]", "Make a manifest of the data of another toolkit.")
export_app = _group(ExportGroup, "FORMAT IN DIR", "Write the rows of a manifest in the format of another toolkit.")
