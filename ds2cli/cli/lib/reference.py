"""Generate the command reference from the commands: `python -m ds2cli.cli.lib.reference ds2cli/cli/README.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ds2cli.cli.lib.options import default_text, is_option
from ds2cli.config.base import Config, read_preset_titles
from ds2cli.config.describe import TYPE_NAMES, first_line, ordered_fields, values_text
from ds2cli.config.features import KINDS, FeatureConfig

GENERAL = {"help", "toml_files", "set_", "print_config", "max_bad", "dropped"}
"""Options of most commands: the introduction of the reference explains them once."""

BEGIN, END = "<!-- reference: make docs -->", "<!-- end of reference -->"

Cells = tuple[str, str, str, str]
"""One row of a table: name, accepted values, default, help."""


def command_reference() -> str:
    """Markdown: every command with its arguments, options and settings, then the presets."""
    import typer

    from ds2cli.cli.main import app

    lines = [*_command_lines("ds2", typer.main.get_command(app), {}), *_preset_lines()]
    return "\n".join(lines) + "\n"


def update_reference(document: str) -> str:
    """The document with the part between the two marks generated again."""
    head, _, rest = document.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n\n{command_reference()}\n{END}{tail}"


def _command_lines(name: str, command: Any, documented: dict[type[Config], str]) -> Iterator[str]:
    """A command, or the commands of a group; `documented` collects which command a config has been described at."""
    if hasattr(command, "commands"):
        options = [_option_cells(o) for o in command.params if o.name not in GENERAL]
        if options and name != "ds2":
            yield from (f"### `{name}`", "", *_help_lines(command), *_table(options))
        for child in command.list_commands(None):
            yield from _command_lines(f"{name} {child}", command.get_command(None, child), documented)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    yield from (f"### `{' '.join([name, *map(_argument_text, arguments)])}`", "", *_help_lines(command))
    config_type = getattr(command.callback, "config_type", Config)
    fields = {f.name: f for f in ordered_fields(config_type) if f.name not in GENERAL}
    hints = get_type_hints(config_type)
    rows = [_argument_cells(a) for a in arguments]
    rows += [_option_cells(o) for o in command.params if o.name not in {*GENERAL, *fields} and o not in arguments]
    if config_type in documented and fields:
        yield from (*_table(rows), f"It also has every setting of {documented[config_type]}.", "")
        return
    documented[config_type] = f"`{name}`"
    for option in (p for p in command.params if p.name in fields):
        rows.append((_option_names(option), *_setting_cells(fields[option.name], hints)))
    yield from _table(rows)
    lists = [f for f in fields.values() if not is_option(hints[f.name]) and not is_dataclass(hints[f.name])]
    if lists:
        yield from ("Settings without an option, for `--config` and `--set`:", "")
        yield from _table([(f"`{f.name}`", *_setting_cells(f, hints)) for f in lists])
    if issubclass(config_type, FeatureConfig):
        yield from _feature_lines()
    for f in fields.values():
        if is_dataclass(hints[f.name]):
            yield from _section_lines(f.name, hints[f.name].select({}))


def _help_lines(command: Any) -> Iterator[str]:
    """The paragraphs of a command's help; examples and lists are indented."""
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from (*(f"    {line}" for line in paragraph.splitlines()[1:]), "")
            continue
        text = " ".join(paragraph.split())
        yield from (f"    {text.removeprefix('Example: ')}" if text.startswith("Example: ") else text, "")


def _feature_lines() -> Iterator[str]:
    """The further settings of each kind of features."""
    for kind in KINDS.names():
        if kind != KINDS.default:
            config_type: Any = FeatureConfig.select({"kind": kind})
            hints, known = get_type_hints(config_type), {f.name for f in ordered_fields(FeatureConfig)}
            yield from (f"Further settings of `--kind {kind}`, for `--config` and `--set`:", "")
            own = [f for f in ordered_fields(config_type) if f.name not in known]
            yield from _table([(f"`{f.name}`", *_setting_cells(f, hints)) for f in own])


def _section_lines(path: str, config_type: Any) -> Iterator[str]:
    """The settings of one section; set with `--set path.name=value`, or in the table `[path]` of a TOML file."""
    hints = get_type_hints(config_type)
    yield from (f"`[{path}]` {first_line(config_type)}", "")
    yield from _table([(f"`{path}.{f.name}`", *_setting_cells(f, hints)) for f in ordered_fields(config_type)])


def _preset_lines() -> Iterator[str]:
    yield from ("### Presets", "", "Names that `--config` of `ds2 train` accepts in place of a file:", "")
    yield from ("| name | network |", "|:--|:--|")
    yield from (f"| `{name}` | {_escape(title)} |" for name, title in read_preset_titles().items())


def _table(rows: list[Cells]) -> Iterator[str]:
    if rows:
        yield from ("| name | values | default | |", "|:--|:--|:--|:--|")
        yield from (f"| {' | '.join(map(_escape, row))} |" for row in rows)
        yield ""


def _setting_cells(f: Any, hints: dict[str, Any]) -> tuple[str, str, str]:
    default = "" if f.default is MISSING or f.default is None else f"`{default_text(f.default)}`"
    return values_text(hints[f.name], f.metadata), default, f.metadata["help"]


def _argument_cells(argument: Any) -> Cells:
    return f"`{_label(argument)}`", "", _plain_default(argument), argument.help or ""


def _option_cells(option: Any) -> Cells:
    number = TYPE_NAMES.get(type(option.default)) if isinstance(option.default, (int, float)) else None
    values = "" if option.is_flag else number or option.metavar or "text"
    return _option_names(option), values, _plain_default(option), option.help or ""


def _option_names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])


def _plain_default(parameter: Any) -> str:
    value = parameter.default
    return f"`{value}`" if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""


def _argument_text(argument: Any) -> str:
    return _label(argument) if argument.required else f"[{_label(argument)}]"


def _label(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _escape(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update_reference(path.read_text("utf-8")), "utf-8")
