"""Turn a config dataclass into Typer options, so that a setting is written once."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from ds2cli.config.base import Config, StageConfig, build, parse_set, read_toml

In = Annotated[str, typer.Argument(metavar="IN", help="Manifest to read, - is standard input.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Manifest to write, - is standard output.")]
Exp = Annotated[str, typer.Argument(metavar="EXP", help="Experiment folder that `ds2 train` made.")]

_TOML = Annotated[
    list[str],
    typer.Option("--config", metavar="FILE", help="TOML file of settings; of several the later win, options over all."),
]
_SET = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of --config's file by its name, as seed=3."),
]


def with_config(kind: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each plain setting of `kind`, `--config` and `--set`, and the config they make."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for n, p in inspect.signature(command, eval_str=True).parameters.items() if n != "config"]
        options = [_option(f, get_type_hints(kind)[f.name]) for f in _ordered(kind) if _is_plain(kind, f.name)]
        extra = [
            inspect.Parameter("toml_files", inspect.Parameter.KEYWORD_ONLY, default=[], annotation=_TOML),
            inspect.Parameter("set_", inspect.Parameter.KEYWORD_ONLY, default=[], annotation=_SET),
        ]
        parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *options, *extra]

        def wrapped(**given: Any) -> None:
            options_given = {o.name: given.pop(o.name) for o in options}
            paths, sets = given.pop("toml_files"), given.pop("set_")
            sources = [(path, read_toml(path)) for path in paths]
            sources += [(f"--set {s}", parse_set(s)) for s in sets]
            sources.append(("command line", {n: v for n, v in options_given.items() if v is not None}))
            command(build(kind, *sources), **given)

        wrapped.__name__ = command.__name__
        wrapped.__doc__ = command.__doc__
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


def _ordered(kind: type[Config]) -> list[Any]:
    """A command's own settings before those that every stage has."""
    shared = {f.name for f in fields(StageConfig)}
    return sorted(fields(kind), key=lambda f: f.name in shared)


def _is_plain(kind: type[Config], name: str) -> bool:
    hint = get_type_hints(kind)[name]
    return not is_dataclass(hint) and get_origin(hint) is not tuple


def _option(f: Any, hint: Any) -> inspect.Parameter:
    """An option whose default is None, so that a value given is told from one that was not."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(a for a in get_args(hint) if a is not type(None))
    default = None if f.default is MISSING else f.default
    shown = "" if default is None else f"  [default: {str(default).lower() if isinstance(default, bool) else default}]"
    metavar = "|".join(map(str, get_args(hint))) if get_origin(hint) is Literal else None
    option = typer.Option(help=f.metadata["help"] + shown, show_default=False, metavar=metavar)
    return inspect.Parameter(
        f.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[(str if get_origin(hint) is Literal else hint) | None, option],
    )
