"""Turn a config dataclass into command-line options, so that each setting is written once."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from ds2cli import ui
from ds2cli.config.base import Config, build, check_value, parse_set, read_toml, strip_optional
from ds2cli.config.describe import annotated_toml, ordered_fields, toml_value
from ds2cli.config.effects import refuse_without_effect
from ds2cli.cores import count_cores
from ds2cli.errors import UsageError

C = TypeVar("C", bound=Config)
In = Annotated[str, typer.Argument(metavar="IN", help="Manifest to read; - is standard input.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Manifest to write; - is standard output.")]
Exp = Annotated[
    str,
    typer.Argument(
        metavar="EXP", help="Folder of `ds2 train`, bundle of `ds2 export`, or network file (.safetensors)."
    ),
]


def _waive_arguments(ctx: typer.Context, requested: bool) -> bool:
    """Let `--print-config` run without the positional arguments, as --help does."""

    def require(required: bool) -> None:
        for argument in arguments:
            argument.required = required

    arguments = [p for p in ctx.command.params if p.param_type_name == "argument" and p.required]
    if requested:
        require(False)
        # the command object may run again in this process
        ctx.call_on_close(lambda: require(True))
    return requested


_ConfigFiles = Annotated[
    list[str],
    typer.Option("--config", metavar="FILE", help="TOML file of settings; repeatable: later files and options win."),
]
_Assignments = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="Setting by its name in the TOML file, such as seed=3."),
]
_PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        is_eager=True,
        callback=_waive_arguments,
        help="Print the resolved settings with their help, as TOML that --config reads, and exit.",
    ),
]


IfStale = Annotated[
    bool,
    typer.Option(
        "--if-stale", help="Do nothing if OUT is fresh: made from these inputs, with these settings (ds2 status)."
    ),
]

config_files: ContextVar[Sequence[tuple[str, Mapping[str, Any]]]] = ContextVar("config_files", default=())
"""The files given with --config, with their values."""


def with_config(config_type: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each plain setting, `--config`, `--set` and `--print-config`.

    The command is called with the resolved config (defaults < --config < --set < options) as its first argument.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command_parameters = [
            p for n, p in inspect.signature(command, eval_str=True).parameters.items() if n != "config"
        ]
        hints = get_type_hints(config_type)
        own = {p.name for p in command_parameters}
        settings = [
            _option(f, hints[f.name])
            for f in ordered_fields(config_type)
            if is_option(hints[f.name]) and f.name not in own
        ]
        general = [
            _keyword("toml_files", [], _ConfigFiles),
            _keyword("set_", [], _Assignments),
            _keyword("print_config", False, _PrintConfig),
        ]
        parameters = [
            *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in command_parameters),
            *settings,
            *general,
        ]

        def wrapped(**arguments: Any) -> None:
            options = {s.name: arguments.pop(s.name) for s in settings}
            sources = [(path, read_toml(path)) for path in arguments.pop("toml_files")]
            config_files.set(tuple(sources))
            given = [(f"--set {text}", parse_set(text)) for text in arguments.pop("set_")]
            given.append(("command line", {n: v for n, v in options.items() if v is not None}))
            config = build(config_type, *sources, *given)
            for _, values in given:
                refuse_without_effect(config, values)
            if arguments.pop("print_config"):
                ui.echo_data(annotated_toml(config).rstrip("\n"))
            else:
                command(_limit_jobs(config), **arguments)

        wrapped.__name__ = command.__name__
        wrapped.__doc__ = command.__doc__
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.config_type = config_type  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _limit_jobs(config: Config) -> Config:
    """The settings with numbers of threads and processes that this machine's cores are good for."""
    for f in fields(config):
        per_core = f.metadata.get("per_core")
        if per_core and getattr(config, f.name) > 1:
            config = limit_setting(config, f.name, per_core=per_core)
    return config


def limit_setting(config: C, name: str, *, per_core: int = 1, processes: int = 1, quiet: bool = False) -> C:
    """The settings with `name`, of each of the processes, lowered to what the cores allow, at least 1.

    That is reported in one line unless `quiet`.
    """
    cores, value = count_cores(), getattr(config, name)
    limit = max(1, per_core * cores // processes)
    if value <= limit:
        return config
    if not quiet:
        share = (f" for {processes} processes" if processes > 1 else "") + (
            f", {per_core} for each" if per_core > 1 else ""
        )
        available = f"{cores} {'core is' if cores == 1 else 'cores are'} available{share}"
        ui.warn(f"--{name} {value}: {limit} used, as {available}")
    return replace(config, **{name: limit})


def is_option(hint: Any) -> bool:
    """Whether a setting of this type gets an option; lists of numbers and sections have --config and --set only."""
    return not is_dataclass(hint) and (get_origin(hint) is not tuple or _is_texts(hint))


def _is_texts(hint: Any) -> bool:
    """Whether a setting is a list of texts: as an option, they are separated by commas."""
    return get_origin(hint) is tuple and get_args(hint)[0] is str


_METAVARS = {int: "INTEGER", float: "FLOAT"}


def _option(f: Any, hint: Any) -> inspect.Parameter:
    """An option whose default is None: that tells a value given on the command line from one left out."""
    hint = strip_optional(hint)
    shown = "" if f.default in (MISSING, None, ()) else f"  [default: {default_text(f.default)}]"
    metavar = "|".join(map(str, get_args(hint))) if get_origin(hint) is Literal else _METAVARS.get(hint, "TEXT")
    metavar = "A,B,…" if _is_texts(hint) else metavar
    parser = None if hint is bool else _parser(f"--{f.name.replace('_', '-')}", hint, f.metadata)
    option = typer.Option(help=f.metadata["help"] + shown, show_default=False, metavar=metavar, parser=parser)
    return _keyword(f.name, None, Annotated[(bool if hint is bool else str) | None, option])


def number_option(name: str, number: type[int | float], help: str, **limits: float) -> Any:
    """An option that is no setting of a config, with the error messages of one. limits: `min` and `max`, inclusive."""
    return typer.Option(name, help=help, metavar=_METAVARS[number], parser=_parser(name, number, limits))


def _parser(name: str, hint: Any, limits: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A function that turns the text of an option into its value; its errors are those of a value in a TOML file."""

    def parse(value: Any) -> Any:
        if isinstance(value, str) and _is_texts(hint):
            value = [text.strip() for text in value.split(",") if text.strip()]
        if isinstance(value, str) and hint in _METAVARS:
            with contextlib.suppress(ValueError):
                value = hint(value)
        try:
            return check_value(value, hint, limits, name)
        except UsageError as e:
            raise typer.BadParameter(str(e)) from e

    return parse


def default_text(value: Any) -> str:
    """A default as help shows it: TOML without the quotes of a string."""
    return value if isinstance(value, str) else toml_value(value)


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
