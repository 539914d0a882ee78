"""Refuse settings that were given on the command line and that other settings leave without effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ds2cli.config.base import Config
from ds2cli.errors import UsageError


def refuse_without_effect(config: Config, given: Mapping[str, Any], section: str = "") -> None:
    """UsageError for a setting that has no effect with the others (see `Config.no_effect`).

    given: the nested values of --set and of the options, without those of files: a saved config has every setting.
    section: of these settings, such as "optim."; "" for settings with an option.
    """
    defaults = {f.name: f.default for f in fields(config)}
    for name, value in given.items():
        if name not in defaults:
            # MADE_BY of a saved config
            continue
        if isinstance(value, Mapping):
            refuse_without_effect(getattr(config, name), value, f"{section}{name}.")
            continue
        others, without = config.no_effect.get(name, ((), ()))
        others = (others,) if isinstance(others, str) else others
        # --no-NAME, which is the default of most, asks for nothing
        if not others or (isinstance(value, bool) and value == defaults[name]):
            continue
        found = [getattr(config, other) for other in others]
        if all(value in without for value in found):
            setting = _written(section, name, value if isinstance(value, bool) else None)
            if not any(found) and not any(defaults[other] for other in others):
                raise UsageError(f"{setting} only applies with {' or '.join(_written(section, o) for o in others)}")
            raise UsageError(f"{setting} has no effect with {_written(section, others[0], found[0])}")


def _written(section: str, name: str, value: Any = None) -> str:
    """How a setting is written: `--beam-gap`, `--no-text`, `--estimator own`, `optim.method adamw`."""
    shown = f" {value}" if isinstance(value, str) else ""
    if section:
        return f"{section}{name}{shown}"
    option = name.replace("_", "-")
    return f"--no-{option}" if value is False else f"--{option}{shown}"
