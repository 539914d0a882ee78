"""The command reference of the README, made from the commands: `python -m ds2cli.cli.lib.reference README.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EVERYWHERE = {"help", "toml_files", "set_", "max_bad", "dropped"}
"""Options that most commands have: the README explains them once."""

BEGIN, END = "<!-- reference: make docs -->", "<!-- end of reference -->"


def reference() -> str:
    """Markdown: a heading, the usage line, what it does, and a line an option, for every command."""
    import typer

    from ds2cli.cli.main import app

    return "\n".join(_sections("ds2", typer.main.get_command(app))) + "\n"


def replaced(readme: str) -> str:
    """The README with the part between the two marks made anew."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{reference()}\n{END}{tail}"


def _sections(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for child in command.list_commands(None):
            yield from _sections(f"{name} {child}", command.commands[child])
        return
    positional = [p for p in command.params if p.param_type_name == "argument"]
    yield f"#### `{' '.join([name, *(_argument(p) for p in positional)])}`"
    yield ""
    yield " ".join((command.help or "").replace("\b", "").split("\n\n")[0].split())
    yield ""
    for option in command.params:
        if option.param_type_name != "argument" and option.name not in EVERYWHERE:
            names = ", ".join(f"`{o}`" for o in [*option.opts, *option.secondary_opts])
            yield f"- {names}: {' '.join((option.help or '').split())}{_default(option)}"
    yield ""


def _argument(argument: Any) -> str:
    label = (argument.metavar or argument.name.upper()).strip("[]")
    return label if argument.required else f"[{label}]"


def _default(option: Any) -> str:
    plain = (
        option.show_default and isinstance(option.default, (int, float, str)) and not isinstance(option.default, bool)
    )
    return f"  [default: {option.default}]" if plain else ""


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(replaced(readme.read_text("utf-8")), "utf-8")
