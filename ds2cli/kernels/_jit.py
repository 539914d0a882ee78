"""How kernels are compiled, and where the compiled code is cached.

Numba notices a change in the file of a cached function, but not in the files of the functions it calls. So all kernels
share one cache folder named after the hash of all their sources, in NUMBA_CACHE_DIR/ds2cli or ~/.cache/ds2cli.
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

MAX_OLD_CACHES = 4
"""Number of cache folders kept for other versions of the sources: several may be in use."""

# numba reads its settings from environment variables
_settings: Any = numba.config


def cache_folder(sources: Path) -> Path | None:
    """The cache folder of the kernels in `sources`, created if it does not exist; None if it is not writable."""
    digest = hashlib.sha256(numba.__version__.encode())
    for file in sorted(sources.glob("*.py")):
        digest.update(file.read_bytes())
    try:
        root = Path(_settings.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root.absolute() / "ds2cli" / f"kernels-{digest.hexdigest()[:16]}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            others = [p for p in folder.parent.glob("kernels-*") if p != folder]
            for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[MAX_OLD_CACHES:]:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError):
        # RuntimeError: the user has no home folder
        return None
    return folder if os.access(folder, os.W_OK) else None


_FOLDER = cache_folder(Path(__file__).parent)


def kernel(function: Kernel) -> Kernel:
    """Compile `function` at its first call, or load it from the cache."""
    return _compiled(function)


def inner_kernel(function: Kernel) -> Kernel:
    """Like `kernel`, for functions that neither create nor return arrays: references to arguments are not counted.

    The caller holds the references. Counting them costs two atomic additions per array and call; without it a
    language-model query takes half the time.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Kernel, **options: Any) -> Kernel:
    before, _settings.CACHE_DIR = _settings.CACHE_DIR, str(_FOLDER or "")
    try:
        # no fastmath: -inf is a valid value (an impossible path), and the compiler must not reorder sums
        return cast(Kernel, numba.njit(cache=_FOLDER is not None, nogil=True, fastmath=False, **options)(function))
    finally:
        _settings.CACHE_DIR = before
