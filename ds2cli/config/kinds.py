"""Choose a kind of network or of features by the setting `kind`: each kind is one file, and `kind` is its name.

These files import `config`, so `config` cannot import them when it is loaded: the file of a kind is imported when that
kind is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ds2cli import plugins
from ds2cli.config.base import Config, as_dict
from ds2cli.errors import UsageError


@dataclass(frozen=True)
class Kinds:
    """The kinds of networks, or those of features.

    package: the package of their files, each with a class `Config` whose `kind` defaults to the file name. what: a noun
    for error messages, such as "kind of network". default: the kind where none is given. needs: other names that each
    file must have. shared: files of the package that are not kinds.
    """

    package: str
    what: str
    default: str
    needs: tuple[str, ...]
    shared: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """The kinds, sorted."""
        return plugins.find_modules(self.package, self.shared)

    def load(self, name: Any) -> Any:
        """The module of a kind; UsageError for an unknown name, or a plugin that is none."""
        return _load(self, str(name))

    def select(self, values: Mapping[str, Any], default: type[Config]) -> type[Config]:
        """The config class of the kind in `values`, without loading the file of the default kind.

        default: the config class of the default kind. UsageError for an unknown kind.
        """
        name = values.get("kind", self.default)
        selected: type[Config] = default if name == self.default else self.load(name).Config
        return selected

    def to_saved(self, config: Config) -> dict[str, Any]:
        """The settings as they are stored with a network; the default kind is left out, for version 0.1."""
        return {name: value for name, value in as_dict(config).items() if (name, value) != ("kind", self.default)}


@cache
def _load(kinds: Kinds, name: str) -> Any:
    # cached, as the features of each utterance need the module of their kind
    module = plugins.load_module(kinds.package, name, kinds.what, needs=("Config", *kinds.needs), shared=kinds.shared)
    if getattr(module.Config, "kind", None) != name:
        raise UsageError(f"{module.__file__}: expected `kind: str = setting({name!r}, …)` in the class Config")
    return module
