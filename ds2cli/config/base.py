"""Declare the settings of a stage, check them, read them from TOML, and write them back.

Later sources win: default < --config FILE < --set NAME=VALUE < option. A nested dataclass is a section (a TOML table);
`optim.lr=3e-4` sets one of its fields.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ds2cli import inputs
from ds2cli.encoding import decode
from ds2cli.errors import UsageError

PRESETS = Path(__file__).parents[1] / "presets"
"""Folder of the configs that ship with the package: the networks of the paper."""

MADE_BY = "made_by"
"""Table of a saved config that records the command and the version; ignored when the file is read back."""

MOST_LISTED = 200
"""Characters of a list of settings in a message."""

TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text in quotes"}
"""The types of settings as error messages name them."""


def setting(
    default: Any = MISSING,
    *,
    help: str,
    min: float | None = None,
    max: float | None = None,
    per_core: int | None = None,
    same_result: bool = False,
) -> Any:
    """Declare one setting: its default, its help (one line, with the unit) and its inclusive bounds.

    per_core: of a number of threads or processes that changes no result: a command uses no more than this per core.
    same_result: whether the result is the same with any value (provenance.py).
    """
    metadata = {"help": help, "min": min, "max": max, "per_core": per_core, "same_result": same_result}
    return field(default=default, metadata=metadata)


def section(config_type: type[Config]) -> Any:
    """Declare a section: settings nested in a TOML table."""
    return field(default_factory=config_type)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base class of the settings of a stage or section.

    no_effect: for each setting that another one can leave without effect, the name of that other one and the values
    with which it does so; or the names of several, which all have to have such values. config/effects.py refuses such
    settings if they were given on the command line.
    """

    no_effect: ClassVar[Mapping[str, tuple[str | tuple[str, ...], tuple[Any, ...]]]] = {}

    @classmethod
    def select(cls, values: Mapping[str, Any]) -> type[Config]:
        """The config class for these values; a section with a `kind` chooses the class of that kind.

        UsageError for a kind that does not exist.
        """
        return cls


@dataclass(frozen=True, kw_only=True)
class StageConfig(Config):
    """Base class of the settings of a stage that filters rows and may drop some."""

    max_bad: float = setting(
        1.0,
        help="Refuse the result if more than this share of the utterances is bad (percent).",
        min=0,
        max=100,
        same_result=True,
    )
    dropped: str | None = setting(
        None, help="File for the dropped utterances [default: OUT.dropped.jsonl; EXP/dropped.jsonl].", same_result=True
    )


C = TypeVar("C", bound=Config)


def build(config_type: type[C], *sources: tuple[str, Mapping[str, Any]]) -> C:
    """Build a config from nested mappings; later ones win.

    sources: pairs (location, values); `location` begins the error messages.
    UsageError for an unknown setting (with the nearest known one), a wrong type, or a value out of bounds.
    """
    values: dict[str, Any] = {}
    config_type = cast(type[C], config_type.select({n: v for _, mapping in sources for n, v in mapping.items()}))
    hints = _find_types(config_type)  # type: ignore[arg-type]
    known = {f.name: f for f in fields(config_type)}
    for location, mapping in sources:
        for name, value in mapping.items():
            if name == MADE_BY:
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f", did you mean {near[0]!r}?" if near else f", expected one of {_list_some(known)}"
                raise UsageError(f"{location}: unknown setting {name!r}{hint}")
            if is_dataclass(hints[name]):
                if not isinstance(value, Mapping):
                    raise UsageError(f"{location}: {name!r} is a section: expected a table of settings, got {value!r}")
                values.setdefault(name, []).append((f"{location}: {name}", value))
            else:
                values[name] = check_value(value, hints[name], known[name].metadata, f"{location}: {name}")
    for name in values:
        if is_dataclass(hints[name]):
            values[name] = build(hints[name], *values[name])  # type: ignore[type-var]
    for name, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and name not in values:
            raise UsageError(f"{config_type.__name__}: the setting {name!r} is required, but was not given")
    return config_type(**values)


@cache
def _find_types(config_type: type[Config]) -> dict[str, Any]:
    """The types of the settings: evaluating them takes longer than a stream takes to begin."""
    return get_type_hints(config_type)


def _list_some(names: Iterable[str]) -> str:
    """The names, as far as they fit in a message."""
    text = ", ".join(names)
    if len(text) <= MOST_LISTED:
        return text
    return f"{text[:MOST_LISTED].rpartition(', ')[0]}, … (--print-config lists all of them)"


def read_toml(path: str) -> dict[str, Any]:
    """Read the nested values of a TOML file, or of the preset of that name if no such file exists.

    UsageError if it is not valid TOML (with the line), or neither a file nor a preset (with the nearest preset).
    """
    presets = find_presets()
    file = presets[path] if path in presets and not Path(path).exists() else Path(path)
    try:
        data = inputs.read_bytes(file)
    except FileNotFoundError as e:
        near = difflib.get_close_matches(path, presets, 1)
        hint = f", did you mean {near[0]!r}?" if near else " (ds2 model list prints the names of the presets)"
        raise UsageError(f"{path}: no such file{hint}") from e
    except IsADirectoryError as e:
        raise UsageError(f"{path or '--config'}: expected a TOML file, got a folder") from e
    except OSError as e:
        raise UsageError(f"{path}: {inputs.explain_error(e)}") from e
    except ValueError as e:
        raise UsageError(f"{path}: not valid TOML: {_explain_toml_error(e)[1]}") from e
    return parse_toml(data, path)


def parse_toml(data: bytes, name: str) -> dict[str, Any]:
    """The nested values of the content of a TOML file; UsageError with `name:line` if it is not valid TOML."""
    try:
        return tomllib.loads(decode(data, name))
    # ValueError: also of bytes that are not UTF-8 and of integers with thousands of digits
    except (ValueError, RecursionError) as e:
        place, message = _explain_toml_error(e)
        raise UsageError(f"{name}{place}: not valid TOML: {message}") from e


def _explain_toml_error(error: ValueError | RecursionError) -> tuple[str, str]:
    """The line of an error of tomllib, such as ":3" ("" if it has none), and the message in words of the user."""
    if isinstance(error, RecursionError):
        return "", "its lists or tables are too deeply nested"
    message = str(error).replace(" (at end of document)", " at the end of the file")
    message = message[:1].lower() + message[1:]
    if "limit" in message and "digits" in message:
        return "", "a number has too many digits"
    if place := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message):
        return f":{place[2]}", f"{place[1]} at column {place[3]}"
    return "", message


def find_presets() -> dict[str, Path]:
    """The configs that ship with the package: their files by name."""
    return {file.stem: file for file in sorted(PRESETS.glob("*.toml"))}


def read_preset_titles() -> dict[str, str]:
    """The first comment line of each preset, by name."""
    return {name: file.read_text("utf-8").partition("\n")[0].lstrip("# ") for name, file in find_presets().items()}


def parse_set(text: str) -> dict[str, Any]:
    """Parse `optim.lr=3e-4` to {"optim": {"lr": 0.0003}}; the value is TOML, a bare word is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text}: expected name=value, such as optim.lr=3e-4")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    # ValueError: also of integers with thousands of digits
    except (ValueError, RecursionError):
        parsed = value
    for part in reversed(name.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def as_dict(config: Config) -> dict[str, Any]:
    """The settings as nested plain values; None is left out, as TOML has no null."""
    values: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if isinstance(value, Config):
            values[f.name] = as_dict(value)
        elif value is not None:
            values[f.name] = list(value) if isinstance(value, tuple) else value
    return values


def to_toml(config: Config, made_by: Mapping[str, Any]) -> str:
    """The resolved settings as TOML that `--config` reads back, with a table that records their origin."""
    import tomli_w

    return tomli_w.dumps({**as_dict(config), MADE_BY: dict(made_by)})


def strip_optional(hint: Any) -> Any:
    """The type of a setting, without the None that an optional one allows."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def format_bounds(low: float | None, high: float | None) -> str:
    """`0 to 1`, `at least 0` or `at most 1`."""
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def check_value(value: Any, hint: Any, limits: Mapping[str, Any], location: str) -> Any:
    """A value as its setting has it: a whole number as a float, a list as a tuple.

    hint: the type of the setting.  limits: its bounds, `min` and `max`.  location: begins the error messages.
    UsageError for a wrong type, or a value out of bounds.
    """
    if value is None and type(None) in get_args(hint):
        return None
    hint = strip_optional(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in args:
            raise UsageError(f"{location}: expected one of {', '.join(map(str, args))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{location}: expected a list, such as [1, 2], got {value!r}")
        return tuple(check_value(v, args[0], limits, location) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{location}: expected {TYPE_NAMES[hint]}, got {value!r}")
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{location}: expected text without NUL characters, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{location}: expected a finite number, got {value!r}")
    low, high = limits.get("min"), limits.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        raise UsageError(f"{location}: expected {format_bounds(low, high)}, got {value!r}")
    return value
