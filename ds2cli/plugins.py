"""Plugins: folders outside the package whose modules are found like the package's own.

The environment variable DS2_PLUGINS names the folders, separated by `:`. Each may have the folders `corpora`, `models`,
`feats` and `cli`: a file `corpora/NAME.py` in one is then the corpus NAME, without being installed. Child processes
inherit the variable.
"""

from __future__ import annotations

import os
import pkgutil
from pathlib import Path

from ds2cli.errors import UsageError

VARIABLE = "DS2_PLUGINS"

FOLDERS = {"corpora": "corpora", "models": "nn/models", "feats": "feats", "cli": "cli"}
"""The folders of a plugin, and the folders of the package that they extend."""


def search_path(kind: str) -> list[str]:
    """The plugin folders for one of FOLDERS; a package appends them to its `__path__`.

    The package's own modules come first on that path, so a plugin cannot replace one: see `check_plugins`.
    """
    return [str(folder / kind) for folder in _plugin_folders() if (folder / kind).is_dir()]


def check_plugins() -> None:
    """UsageError if a plugin folder does not exist or extends nothing, or if a module name is used twice."""
    folders = _plugin_folders()
    for folder in folders:
        if not any((folder / kind).is_dir() for kind in FOLDERS):
            problem = f"has none of the folders {', '.join(FOLDERS)}" if folder.is_dir() else "no such folder"
            raise UsageError(f"{VARIABLE}: {folder}: {problem}")
    for kind, own_folder in FOLDERS.items():
        known = dict.fromkeys(_module_names(Path(__file__).parent / own_folder), "ds2cli")
        for folder in folders:
            for name in _module_names(folder / kind):
                if name in known:
                    file = f"{folder / kind / name}.py"
                    raise UsageError(f"{VARIABLE}: {file}: the name is taken by {known[name]} (rename the file)")
                known[name] = str(folder)


def _plugin_folders() -> list[Path]:
    # absolute: a child process may start in another folder
    names = os.environ.get(VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys(Path(name).expanduser().absolute() for name in names if name))


def _module_names(folder: Path) -> list[str]:
    return [module.name for module in pkgutil.iter_modules([str(folder)])]
