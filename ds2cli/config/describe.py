"""Describe settings in words: the comments of `--print-config`, the options of a command, its reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ds2cli.config.base import Config, StageConfig, format_bounds, strip_optional

TYPE_NAMES = {bool: "true or false", int: "integer", float: "number", str: "text"}
"""The types of settings as comments and tables name them."""


def ordered_fields(config_type: type[Config]) -> list[Any]:
    """The fields of a config: its own settings, then those that every stage has, then its sections."""
    hints = get_type_hints(config_type)
    shared = {f.name for f in fields(StageConfig)}
    return sorted(fields(config_type), key=lambda f: (is_dataclass(hints[f.name]), f.name in shared))


def annotated_toml(config: Config) -> str:
    """The settings as TOML that `--config` reads back, with comments: help, accepted values, overridden default.

    A setting that is None has no TOML value: it appears as the comment `# name = …`.
    """
    return "\n".join(_toml_lines(config, ())).lstrip("\n") + "\n"


def values_text(hint: Any, limits: Mapping[str, Any]) -> str:
    """The values that a setting accepts: `"a" or "b"`, `integer, at least 1`, `list of numbers, 0.5 to 2`."""
    hint = strip_optional(hint)
    if get_origin(hint) is Literal:
        quoted = [f'"{choice}"' for choice in get_args(hint)]
        return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]
    text = f"list of {TYPE_NAMES[get_args(hint)[0]]}s" if get_origin(hint) is tuple else TYPE_NAMES[hint]
    low, high = limits.get("min"), limits.get("max")
    return text if low is None and high is None else f"{text}, {format_bounds(low, high)}"


def toml_value(value: Any) -> str:
    """One value as TOML writes it, lists on one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        import tomli_w

        return tomli_w.dumps({"x": value}).partition(" = ")[2].rstrip("\n")
    return str(value).lower() if isinstance(value, bool) else str(value)


def first_line(config_type: type[Config]) -> str:
    """The first line of a config's docstring."""
    return (config_type.__doc__ or "").partition("\n")[0]


def _toml_lines(config: Config, path: tuple[str, ...]) -> Iterator[str]:
    hints = get_type_hints(type(config))
    for f in ordered_fields(type(config)):
        value = getattr(config, f.name)
        if isinstance(value, Config):
            section = (*path, f.name)
            yield from ("", f"# {first_line(type(value))}", f"[{'.'.join(section)}]")
            yield from _toml_lines(value, section)
            continue
        values = values_text(hints[f.name], f.metadata)
        overridden = f.default is not MISSING and f.default is not None and value != f.default
        yield f"\n# {f.metadata['help']}"
        yield f"# {values}{f'; default {toml_value(f.default)}' if overridden else ''}"
        yield f"# {f.name} = …" if value is None else f"{f.name} = {toml_value(value)}"
