"""How kernels are compiled, and where the compiled code is cached.

Numba notices a change in the file of a cached function, but not in the files of the functions it calls. So the cache
folder of a module is named after the hash of its source and of the kernel modules that it imports, directly or not: a
change recompiles that module and those that import it.

Each user has these folders in NUMBA_CACHE_DIR/ds2cli or ~/.cache/ds2cli, or, where that cannot be written, in a private
folder for temporary files. `store_installed` copies them into the package, next to Python's own compiled files: a new
folder of any user starts as a copy of those, so one user compiles for all, also in a read-only installation or image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import event

from ds2cli.blas import without_linalg
from ds2cli.kernels import compilation

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

MAX_OLD_CACHES = 4
"""Number of cache folders kept for other versions of a module and its imports: several may be in use."""

INSTALLED = Path(__file__).parent / "__pycache__"
"""The folder of the package with the caches that `store_installed` has stored."""

KERNELS: list[Any] = []
"""Every kernel of the modules that are loaded, as numba's dispatcher."""

# the first kernel needs this part of numba, which looks for SciPy's matrix products; no kernel has any
with without_linalg():
    importlib.import_module("numba.np.arraymath")

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
    """The cache folder of the kernels in `file`, created if it does not exist; None if no folder can be written."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path, source in sorted(imported_modules(file).items()):
        digest.update(path.name.encode() + b"\n" + source)
    name = f"{file.stem}-{digest.hexdigest()[:16]}"
    for root in _cache_roots():
        folder = root.absolute() / "ds2cli" / name
        with contextlib.suppress(OSError):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _remove_old(folder, MAX_OLD_CACHES)
            if os.access(folder, os.W_OK):
                # without the copy, the kernels are compiled
                with contextlib.suppress(OSError):
                    _copy_installed(folder)
                return folder
    return None


def _cache_roots() -> Iterator[Path]:
    """Where the cache may be, best first."""
    # RuntimeError: the user has no home folder
    with contextlib.suppress(RuntimeError):
        yield Path(_settings.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir(), f"ds2cli-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # code is loaded from it: it must not be a folder or a link that another user has prepared
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            yield folder


def _remove_old(folder: Path, keep: int) -> None:
    """Remove the cache folders for other versions of a module but the newest `keep`."""
    others = [p for p in folder.parent.glob(f"{folder.name[:-16]}{'?' * 16}") if p != folder]
    for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def _copy_installed(folder: Path) -> None:
    """Copy what `store_installed` has stored for this version of a module, unless something is there already."""
    # numba has a subfolder for each path of the package
    for source in (INSTALLED / folder.name).glob("*"):
        if not (folder / source.name).exists():
            _copy_folder(source, folder / source.name)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, which appears as a whole; the copy of another process that was first is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part", dir=target.parent))
    try:
        copied = shutil.copytree(source, part / "copy", copy_function=shutil.copyfile)
        with contextlib.suppress(FileExistsError):
            copied.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def store_installed() -> bool:
    """Copy the cache of every loaded kernel module into the package, for its other users; whether that was possible."""
    folders = {Path(function.stats.cache_path) for function in KERNELS if function.stats.cache_path}
    try:
        for source in folders:
            target = INSTALLED / source.parent.name / source.name
            if target.is_dir() and {p.name for p in target.iterdir()} == {p.name for p in source.iterdir()}:
                continue
            shutil.rmtree(target, ignore_errors=True)
            _copy_folder(source, target)
            _remove_old(target.parent, keep=0)
    except OSError:
        return False
    return True


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
        compiled = numba.njit(cache=folder is not None, nogil=True, fastmath=False, **options)(function)
    finally:
        _settings.CACHE_DIR = before
    KERNELS.append(compiled)
    return cast(Kernel, compiled)


class _Reporter(event.Listener):  # type: ignore[misc]
    """Reports what numba compiles, which loading from the cache is not."""

    def on_start(self, event: Any) -> None:
        compilation.begin()

    def on_end(self, event: Any) -> None:
        compilation.end()


event.register("numba:compile", _Reporter())
