"""The help of every argument, option and setting: one short sentence."""

import re
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest
import typer

from ds2cli.cli.main import app


def all_commands(command, name="ds2"):
    if not hasattr(command, "commands"):
        return [(name, command)]
    children = [(child, command.get_command(None, child)) for child in command.list_commands(None)]
    return [(name, command), *(found for child, sub in children for found in all_commands(sub, f"{name} {child}"))]


def setting_helps(config_type, path=""):
    """(name, help) of every setting, those of sections included."""
    hints = get_type_hints(config_type)
    for f in fields(config_type):
        if is_dataclass(hints[f.name]):
            yield from setting_helps(hints[f.name].select({}), f"{path}{f.name}.")
        else:
            yield f"{path}{f.name}", f.metadata["help"]


def all_helps():
    for command_name, command in all_commands(typer.main.get_command(app)):
        settings = dict(setting_helps(command.callback.config_type)) if hasattr(command.callback, "config_type") else {}
        for p in command.params:
            if p.name not in settings and p.name != "help":
                yield f"{command_name} {p.name}", p.help or ""
        for name, text in settings.items():
            yield f"{command_name} {name}", text


@pytest.mark.parametrize("name, text", [pytest.param(n, t, id=n) for n, t in all_helps()])
def test_help_is_a_short_sentence(name, text):
    """At most 100 characters; a default that depends on something else, "[default: …]", is not counted."""
    assert len(re.sub(r" \[default: .*?\]", "", text)) <= 100
    assert re.match(r"[A-Z]", text)
    assert text.endswith(".")
