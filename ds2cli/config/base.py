"""How a stage's settings are declared, checked, read from TOML and written back.

default < --config file.toml < command line. A nested dataclass is a TOML table; `optim.lr=3e-4` names its field.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ds2cli.errors import UsageError

PRESETS = Path(__file__).parents[1] / "presets"
"""The settings that come with the package: the paper's networks by name."""

MADE_BY = "made_by"
"""The table of a saved config that says which command and version made it; ignored when the file is read back."""


def setting(default: Any = MISSING, *, help: str, min: float | None = None, max: float | None = None) -> Any:
    """Declare one setting: its default, its help line (with units) and its inclusive bounds."""
    return field(default=default, metadata={"help": help, "min": min, "max": max})


def section(kind: type[Config]) -> Any:
    """Declare a nested table of settings."""
    return field(default_factory=kind, metadata={"help": (kind.__doc__ or "").split("\n")[0]})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of every stage's settings."""


@dataclass(frozen=True, kw_only=True)
class StageConfig(Config):
    """Base of the stages that filter rows and may drop some of them."""

    max_bad: float = setting(
        1.0, help="Refuse the result when more utterances than this are bad (percent).", min=0, max=100
    )
    dropped: str | None = setting(None, help="Where to write the dropped utterances [default: OUT.dropped.jsonl].")


C = TypeVar("C", bound=Config)


def build(kind: type[C], *sources: tuple[str, Mapping[str, Any]]) -> C:
    """Settings of `kind` from nested mappings, later ones winning; each source is (where, values) for the messages.

    UsageError names an unknown key and the nearest known one, a wrong type, or a value out of bounds.
    """
    values: dict[str, Any] = {}
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    for where, given in sources:
        for name, value in given.items():
            if name == MADE_BY:
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(known)}"
                raise UsageError(f"{where}: unknown setting {name!r}{hint}")
            if is_dataclass(hints[name]):
                if not isinstance(value, Mapping):
                    raise UsageError(f"{where}: {name!r} is a table of settings, got {value!r}")
                values.setdefault(name, []).append((f"{where}: {name}", value))
            else:
                values[name] = _checked(value, hints[name], known[name].metadata, f"{where}: {name}")
    for name in values:
        if is_dataclass(hints[name]):
            values[name] = build(hints[name], *values[name])  # type: ignore[type-var]
    for name, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and name not in values:
            raise UsageError(f"{kind.__name__}: the setting {name!r} has no default and was not given")
    return kind(**values)


def read_toml(path: str) -> dict[str, Any]:
    """The nested values of a TOML file, or of a preset by its name where there is no such file.

    UsageError, with the line, when it is not TOML; with the nearest preset when it is neither.
    """
    file = Path(path)
    if not file.exists() and path in (names := presets()):
        file = names[path]
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as e:
        near = difflib.get_close_matches(path, presets(), 1)
        hint = f", did you mean {near[0]!r}?" if near else " (ds2 model list names the networks that need none)"
        raise UsageError(f"{path}: no such file{hint}") from e
    except OSError as e:
        raise UsageError(f"{path}: {(e.strerror or 'cannot be read').lower()}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: not TOML: {e}") from e


def presets() -> dict[str, Path]:
    """The files of settings that come with the package, by name."""
    return {file.stem: file for file in sorted(PRESETS.glob("*.toml"))}


def titles() -> dict[str, str]:
    """What each preset says of itself in its first line, by name."""
    return {name: file.read_text("utf-8").partition("\n")[0].lstrip("# ") for name, file in presets().items()}


def parse_set(text: str) -> dict[str, Any]:
    """`optim.lr=3e-4` as {"optim": {"lr": 0.0003}}; the value is TOML, a bare word is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text}: expected name=value, as optim.lr=3e-4")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(name.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def as_dict(config: Config) -> dict[str, Any]:
    """The settings as nested plain values; None is left out, as TOML has no word for it."""
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if isinstance(value, Config):
            out[f.name] = as_dict(value)
        elif value is not None:
            out[f.name] = list(value) if isinstance(value, tuple) else value
    return out


def to_toml(config: Config, made_by: Mapping[str, Any]) -> str:
    """The resolved settings as TOML that `--config` reads back, with a table that says who made it."""
    import tomli_w

    return tomli_w.dumps({**as_dict(config), MADE_BY: dict(made_by)})


def _checked(value: Any, kind: Any, limits: Mapping[str, Any], where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _checked(value, next(a for a in args if a is not type(None)), limits, where)
    if origin is Literal:
        if value not in args:
            raise UsageError(f"{where}: expected one of {', '.join(map(str, args))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{where}: expected a list, got {value!r}")
        return tuple(_checked(v, args[0], limits, where) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{where}: expected {kind.__name__}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: expected a finite number, got {value!r}")
    low, high = limits.get("min"), limits.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        raise UsageError(f"{where}: expected {_range(low, high)}, got {value!r}")
    return value


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"
