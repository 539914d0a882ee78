"""Checks that SRC is the folder that a corpus expects, and names the likely mistake where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from ds2cli import inputs
from ds2cli.errors import DataError

_ARCHIVES = (".gz", ".tgz", ".bz2", ".tar", ".zip")
_LEVELS_UP = 3


def require_layout(source: str, name: str, needs: Collection[str], hint: str = "") -> Path:
    """The folder `source`, which has all of `needs`.

    name: how the corpus calls the folder.  needs: paths in it.  hint: what to do if there is nothing of the corpus.
    DataError if it is another folder, with the one that was probably meant, or if something is missing in it.
    """
    folder, expected = Path(source), f"expected the folder {name} with {_list(needs)}"
    try:
        if not folder.exists():
            raise DataError(f"{source}: no such folder, {expected}{hint and f' ({hint})'}")
        if not folder.is_dir():
            is_archive = folder.suffix.lower() in _ARCHIVES
            fix = " (unpack it, and pass the folder)" if is_archive else " (pass the folder that it is in)"
            raise DataError(f"{source}: this is a file, {expected}{fix}")
        missing = [path for path in needs if not (folder / path).exists()]
        if not missing:
            return folder
        if (other := find_near(folder, lambda near: all((near / path).exists() for path in needs))) is not None:
            raise DataError(f"{source}: {expected} (pass {other})")
        if len(missing) < len(needs):
            raise DataError(f"{source}: no {' and no '.join(missing)} in this folder, {expected} (unpack it again)")
        found = "" if any(folder.iterdir()) else ", this one is empty"
        raise DataError(f"{source}: {expected}{found}{hint and f' ({hint})'}")
    except OSError as e:
        raise DataError(f"{e.filename or source}: {inputs.explain_error(e)}") from e


def find_near(folder: Path, is_right: Callable[[Path], bool]) -> Path | None:
    """The folder in or above `folder` that was probably meant, if there is one. OSError for one that cannot be read."""
    return next((other for other in [*_subfolders(folder), *_above(folder)] if is_right(other)), None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _above(folder: Path) -> list[Path]:
    """The folders above, as paths that a user would write."""
    return [Path(os.path.normpath(folder.joinpath(*[".."] * level))) for level in range(1, _LEVELS_UP + 1)]


def _list(names: Collection[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
