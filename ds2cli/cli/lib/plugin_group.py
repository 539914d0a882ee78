"""A group whose subcommands are the modules of a folder, such as the corpora, found by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.core import TyperGroup


class PluginGroup(TyperGroup):
    """Subcommands found by name; a module is imported when its command is used or listed."""

    find_names: Callable[[], list[str]]
    make_command: Callable[[str], Any]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the modules."""
        return type(self).find_names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a module; UsageError for an unknown one, None while a shell completes a word."""
        if ctx is not None and ctx.resilient_parsing and cmd_name not in self.list_commands(ctx):
            return None
        return type(self).make_command(cmd_name)
