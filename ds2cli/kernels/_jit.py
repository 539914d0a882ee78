"""How kernels are compiled, and where the compiled code is cached.

Numba notices a change in the file of a cached function, but not in the files of the functions it calls. So the cache
folder of a module, in NUMBA_CACHE_DIR/ds2cli or ~/.cache/ds2cli, is named after the hash of its source and of the
kernel modules that it imports, directly or not: a change recompiles that module and those that import it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

MAX_OLD_CACHES = 4
"""Number of cache folders kept for other versions of a module and its imports: several may be in use."""

# numba reads its settings from environment variables
_settings: Any = numba.config

# A line that only looks like an import adds a dependency, which is harmless. Parsing with ast would take 40 ms.
_PACKAGE = re.escape(__name__.rpartition(".")[0])
_IMPORT = re.compile(rf"^\s*(?:from|import) {_PACKAGE}(?:\.(\w+)| import (\([^)]*\)|.*))", re.MULTILINE)


def imported_modules(file: Path) -> dict[Path, bytes]:
    """The kernel module in `file` and those in its folder that it imports, directly or not: path → source."""
    sources: dict[Path, bytes] = {}
    new = {file}
    while new:
        path = new.pop()
        sources[path], imports = _read(path)
        new |= imports - sources.keys()
    return sources


@functools.cache
def _read(file: Path) -> tuple[bytes, frozenset[Path]]:
    """The source of a module, and the files of the modules in its folder that it imports."""
    source = file.read_bytes()
    found = _IMPORT.findall(source.decode())
    names = {name for module, listed in found for name in ([module] if module else re.findall(r"\w+", listed))}
    return source, frozenset(p for p in (file.with_name(f"{name}.py") for name in names) if p.is_file())


def cache_folder(file: Path) -> Path | None:
    """The cache folder of the kernels in `file`, created if it does not exist; None if it is not writable."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path, source in sorted(imported_modules(file).items()):
        digest.update(path.name.encode() + b"\n" + source)
    try:
        root = Path(_settings.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root.absolute() / "ds2cli" / f"{file.stem}-{digest.hexdigest()[:16]}"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            others = [p for p in folder.parent.glob(f"{file.stem}-{'?' * 16}") if p != folder]
            for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[MAX_OLD_CACHES:]:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError):
        # RuntimeError: the user has no home folder
        return None
    return folder if os.access(folder, os.W_OK) else None


_folder_of = functools.cache(cache_folder)


def kernel(function: Kernel) -> Kernel:
    """Compile `function` on its first call, or load it from the cache."""
    return _compiled(function)


def inner_kernel(function: Kernel) -> Kernel:
    """Like `kernel`, for functions that neither create nor return arrays: references to arguments are not counted.

    The caller holds the references. Counting them costs two atomic additions per array and call; without it a
    language-model query takes half the time.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Kernel, **options: Any) -> Kernel:
    folder = _folder_of(Path(function.__code__.co_filename))
    before, _settings.CACHE_DIR = _settings.CACHE_DIR, str(folder or "")
    try:
        # no fastmath: -inf is a valid value (an impossible path), and the compiler must not reorder sums
        return cast(Kernel, numba.njit(cache=folder is not None, nogil=True, fastmath=False, **options)(function))
    finally:
        _settings.CACHE_DIR = before
