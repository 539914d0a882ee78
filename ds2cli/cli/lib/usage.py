"""Usage errors of the command line in one line: `COMMAND: what is wrong (ds2 COMMAND --help)`."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from ds2cli.config.base import Config
from ds2cli.errors import UsageError


@contextlib.contextmanager
def one_line_errors(root: Any) -> Iterator[None]:
    """Turn an error of the parser of the command line into a UsageError.

    root: the group of all commands. The help of a group that was named without a command passes through.
    """
    try:
        yield
    except Exception as e:
        # by its attributes: Typer has had its own copy of Click since 0.20
        if not hasattr(e, "format_message") or type(e).__name__ == "NoArgsIsHelpError":
            raise
        path, command = _find_command(root, e, sys.argv[1:])
        name = path.removeprefix("ds2").strip()
        text = _describe(e, command)
        raise UsageError(f"{name + ': ' if name else ''}{text} ({path} --help)") from e


def _find_command(root: Any, error: Any, arguments: Sequence[str]) -> tuple[str, Any]:
    """The words of the command that was being parsed, and the command; an error in an option's value lacks both."""
    context = getattr(error, "ctx", None)
    if context is not None:
        return context.command_path, context.command
    path, command = "ds2", root
    for argument in arguments:
        if argument.startswith("-") or not hasattr(command, "commands"):
            break
        try:
            child = command.get_command(None, argument)
        except UsageError:
            child = None
        if child is None:
            break
        path, command = f"{path} {argument}", child
    return path, command


def _describe(error: Any, command: Any) -> str:
    option = getattr(error, "option_name", None)
    kind = type(error).__name__
    if kind == "NoSuchOption" and option:
        return f"there is no option {option}{_suggest(option, error, command) or _suggest_file(option)}"
    if kind == "MissingParameter" and error.param is not None:
        return f"{_name_of(error.param)} is missing"
    if kind == "BadParameter" and error.param is not None and not error.message.startswith("-"):
        return f"{_name_of(error.param)}: {_lower_first(error.message)}"
    text = error.message if kind == "BadParameter" else error.format_message()
    text = re.sub(r"^Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)$", r"unexpected argument \1", text.strip())
    return _lower_first(re.sub(r"\. (?=Did you mean)", ", ", text).replace(", Did", ", did").removesuffix("."))


def _suggest(option: str, error: Any, command: Any) -> str:
    """`, did you mean --first?`, or how a setting without an option is set."""
    name = option.lstrip("-").replace("-", "_")
    config_type = getattr(getattr(command, "callback", None), "config_type", None)
    settings = [] if config_type is None else list(_settings(config_type))
    for setting in settings:
        if setting in (name, name.replace("_", ".", 1)) or setting.endswith(f".{name}"):
            return f": expected --set {setting}=VALUE"
    options = [o for p in getattr(command, "params", []) for o in (*p.opts, *p.secondary_opts) if o.startswith("--")]
    near = difflib.get_close_matches(option, [*(error.possibilities or ()), *options], 1, cutoff=0.7)
    return f", did you mean {near[0]}?" if near else ""


def _suggest_file(option: str) -> str:
    """How a file is named whose name begins like an option, such as one that the shell found for *.wav."""
    # of -x.wav the parser names only -x
    files = [a for a in sys.argv[1:] if a.startswith(option) and os.path.lexists(a)]
    return f": expected ./{files[0]} for the file of this name" if files else ""


def _settings(config_type: type[Config], prefix: str = "") -> Iterator[str]:
    """The names of all settings, those of sections as `optim.lr`."""
    hints = get_type_hints(config_type)
    for f in fields(config_type):
        hint = hints[f.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _settings(hint.select({}), f"{prefix}{f.name}.")  # type: ignore[attr-defined]
        else:
            yield f"{prefix}{f.name}"


def _name_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]")
    return str(max(parameter.opts, key=len))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
