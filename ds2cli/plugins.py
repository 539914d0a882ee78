"""Find corpora, networks, features and commands by their file names, in the package and in plugin folders outside it.

The environment variable DS2_PLUGINS names the plugin folders, separated by `:`. Each may contain the folders `corpora`,
`models`, `feats` and `cli`: a file `corpora/NAME.py` there is the corpus NAME, without being installed. Child processes
inherit the variable. tests/house/plugins is an example.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ds2cli.errors import UsageError

VARIABLE = "DS2_PLUGINS"

FOLDERS = {"corpora": "corpora", "models": "nn/models", "feats": "feats", "cli": "cli"}
"""The folders in a plugin folder, and the folders of the package that they extend."""


def find_modules(package: str, shared: Collection[str] = ()) -> list[str]:
    """The names of the modules in a package and in the plugin folders that extend it, sorted.

    package: its dotted name. shared: modules to leave out, because they only help the others.
    """
    names = _module_names(*importlib.import_module(package).__path__)
    return sorted(name for name in names if name not in shared)


def load_module(package: str, name: Any, what: str, shared: Collection[str] = ()) -> Any:
    """Import the module `name` of those that `find_modules` lists.

    what: what such a module is, such as "corpus". UsageError "unknown `what`", with the known names, if there is none.
    """
    known = find_modules(package, shared)
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}, expected one of {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def search_path(kind: str) -> list[str]:
    """The folders called `kind` (a key of FOLDERS) in the plugin folders; a package appends them to its `__path__`.

    The package's own modules come first on that path, so a plugin cannot replace one (see `check_plugins`).
    """
    return [str(folder / kind) for folder in _plugin_folders() if (folder / kind).is_dir()]


def check_plugins() -> None:
    """UsageError if a plugin folder does not exist or extends nothing, or if a module name is used twice."""
    folders = _plugin_folders()
    for folder in folders:
        if not any((folder / kind).is_dir() for kind in FOLDERS):
            problem = f"has none of the folders {', '.join(FOLDERS)}" if folder.is_dir() else "does not exist"
            raise UsageError(f"{VARIABLE}: {folder}: {problem}")
    for kind, own_folder in FOLDERS.items():
        known = dict.fromkeys(_module_names(str(Path(__file__).parent / own_folder)), "ds2cli")
        for folder in folders:
            for name in _module_names(str(folder / kind)):
                if name in known:
                    file = f"{folder / kind / name}.py"
                    raise UsageError(f"{VARIABLE}: {file}: the name is taken by {known[name]} (rename the file)")
                known[name] = str(folder)


def _plugin_folders() -> list[Path]:
    # absolute: a child process may start in another folder
    names = os.environ.get(VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys(Path(name).expanduser().absolute() for name in names if name))


def _module_names(*folders: str) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(folders) if not module.ispkg]
