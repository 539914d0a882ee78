"""The one place that decides how kernels are compiled, and where the compiled code is kept.

Numba notices a change in the file of a cached function, but not in that of a function it calls. So all kernels share a
folder that is named by the text of all of them: NUMBA_CACHE_DIR, else ~/.cache/ds2cli, then the name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

KEEP = 4
"""Folders of other texts that stay: more than one version of the sources may be in use."""

# numba fills it from the environment
_settings: Any = numba.config


def cache_folder(sources: Path) -> Path | None:
    """The folder for the code of the kernels in `sources`, made if need be; None where none can be written."""
    text = hashlib.sha256(numba.__version__.encode())
    for file in sorted(sources.glob("*.py")):
        text.update(file.read_bytes())
    try:
        root = Path(_settings.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root.absolute() / "ds2cli" / f"kernels-{text.hexdigest()[:16]}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            others = [p for p in folder.parent.glob("kernels-*") if p != folder]
            for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[KEEP:]:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError):
        # RuntimeError: a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


_FOLDER = cache_folder(Path(__file__).parent)


def kernel(function: Kernel) -> Kernel:
    """Compile `function` at its first call, or take its code from the cache."""
    return _compiled(function)


def leaf(function: Kernel) -> Kernel:
    """A small kernel that makes no array and returns none: it does not count references to its arguments.

    Its caller holds them. To count is an atomic addition for each array, twice a call: without it a query of a language
    model takes half the time.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Kernel, **options: Any) -> Kernel:
    before, _settings.CACHE_DIR = _settings.CACHE_DIR, str(_FOLDER or "")
    try:
        # no fastmath: -inf is a value here (an impossible path), and results must not depend on the compiler's
        # reassociation
        return cast(Kernel, numba.njit(cache=_FOLDER is not None, nogil=True, fastmath=False, **options)(function))
    finally:
        _settings.CACHE_DIR = before
