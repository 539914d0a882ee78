"""Find corpora, networks, features, formats and commands by their file names, in the package and in plugin folders.

The environment variable DS2_PLUGINS names the plugin folders, separated by `:`. Each may contain the folders `corpora`,
`models`, `feats`, `interop` and `cli`: a file `corpora/NAME.py` there is the corpus NAME, without being installed.
Child processes inherit the variable. A file or folder whose name begins with `_` is no corpus: other files import it.
tests/house/plugins is an example.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ds2cli.errors import UsageError

VARIABLE = "DS2_PLUGINS"

FOLDERS = {"corpora": "corpora", "models": "nn/models", "feats": "feats", "interop": "interop", "cli": "cli"}
"""The folders in a plugin folder, and the folders of the package that they extend."""


def find_modules(package: str, shared: Collection[str] = ()) -> list[str]:
    """The names of the modules in a package and in the plugin folders that extend it, sorted.

    package: its dotted name. shared: modules to leave out, because they only help the others.
    """
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_") and m.name not in shared)


def load_module(
    package: str, name: Any, what: str, *, needs: Collection[str] = (), shared: Collection[str] = ()
) -> Any:
    """Import the module `name` of those that `find_modules` lists; it must have the names `needs`.

    what: what such a module is, such as "corpus". UsageError "unknown `what`", with the known names, if there is none;
    or for a plugin as in `import_module`.
    """
    known = find_modules(package, shared)
    if name not in known:
        expected = ", ".join(known)
        raise UsageError(f"unknown {what} {name!r}, expected one of {expected} ({VARIABLE} adds those of plugins)")
    return import_module(package, name, needs)


def import_module(package: str, name: str, needs: Collection[str] = ()) -> Any:
    """Import one of `find_modules`, which must have the names `needs`.

    UsageError with the file and line of a plugin that cannot be imported, or lacks a name.
    """
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as e:
        spec = importlib.util.find_spec(f"{package}.{name}")
        file = spec.origin if spec else None
        if file is None or Path(file).is_relative_to(Path(__file__).parent):
            # a bug of the package keeps its traceback
            raise
        raise UsageError(f"{_error_location(e, file)}: this plugin cannot be imported: {_one_line(e)}") from e
    if missing := [f"`{name}`" for name in needs if not hasattr(module, name)]:
        contract = f"{package.replace('.', '/')}/__init__.py"
        raise UsageError(f"{module.__file__}: this plugin has no {' and no '.join(missing)} (see {contract})")
    return module


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
            wrong = "is not a folder" if folder.exists() else "does not exist"
            problem = f"has none of the folders {', '.join(FOLDERS)}" if folder.is_dir() else wrong
            raise UsageError(f"{VARIABLE}: {folder}: {problem}")
    for kind, own_folder in FOLDERS.items():
        known = dict.fromkeys(_names(Path(__file__).parent / own_folder), "ds2cli")
        for folder in folders:
            for name in _names(folder / kind):
                if name in known:
                    file = f"{folder / kind / name}.py"
                    raise UsageError(f"{VARIABLE}: {file}: the name is taken by {known[name]} (rename the file)")
                known[name] = str(folder)


def _plugin_folders() -> list[Path]:
    # absolute: a child process may start in another folder
    names = os.environ.get(VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys(Path(name).expanduser().absolute() for name in names if name))


def _names(folder: Path) -> list[str]:
    """The names of the modules and packages in a folder."""
    return [module.name for module in pkgutil.iter_modules([str(folder)])]


def _error_location(error: Exception, file: str) -> str:
    """`FILE:LINE` of an error in importing a file."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else file


def _one_line(error: Exception) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(message.split())}"
