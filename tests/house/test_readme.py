"""The documents agree with the commands."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "ds2cli" / "cli" / "README.md"


@pytest.mark.long
def test_command_reference_is_up_to_date():
    code = "import sys, ds2cli.cli.lib.reference as r; print(r.update_reference(open(sys.argv[1]).read()), end='')"
    done = subprocess.run([sys.executable, "-c", code, REFERENCE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == REFERENCE.read_text("utf-8"), "the command reference is stale (make docs)"


def test_command_reference_has_every_setting():
    """Sections included: no setting is documented in the code alone."""
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    import typer

    from ds2cli.cli.lib.reference import command_reference
    from ds2cli.cli.main import app

    def names(config_type, path=""):
        hints = get_type_hints(config_type)
        for f in fields(config_type):
            if is_dataclass(hints[f.name]):
                yield from names(hints[f.name], f"{path}{f.name}.")
            else:
                yield f"{path}{f.name}"

    def commands(command):
        if not hasattr(command, "commands"):
            return [command]
        return [c for name in command.list_commands(None) for c in commands(command.get_command(None, name))]

    text = command_reference()
    types = {getattr(c.callback, "config_type", None) for c in commands(typer.main.get_command(app))} - {None}
    assert len(types) > 10
    settings = {name for config_type in types for name in names(config_type)} - {"max_bad", "dropped"}
    missing = [n for n in settings if f"`{n}`" not in text and f"`--{n.replace('_', '-')}`" not in text]
    assert not missing


def test_make_test_is_what_ci_runs():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test " in (ROOT / "README.md").read_text()
