"""The built native library, bound once: found, version-checked, every function typed, every failing status raised."""

from __future__ import annotations

import ctypes as c
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ds2cli.errors import Ds2Error

ABI_VERSION = 3
NAMES = ("libds2native.so", "libds2native.dylib", "ds2native.dll")
_SIZE, _INT, _POINTER = c.c_size_t, c.c_int32, c.c_void_p
SIGNATURES: dict[str, list[Any]] = {
    "ds2_gru_sizes": [_INT] * 6 + [c.POINTER(_SIZE)] * 3,
    "ds2_gru_forward": [_INT] * 5 + [_POINTER] * 6 + [_SIZE, _INT, _INT],
    "ds2_gru_backward": [_INT] * 5 + [_POINTER] * 5 + [_INT] + [_POINTER] * 3 + [_SIZE, _INT, _INT],
}


class NativeError(Ds2Error):
    """The native library is missing or of another version, or a call returned a failing status."""


def find() -> Path | None:
    """The library's file: $DS2_NATIVE_LIB, else the one installed beside this package; None when there is neither."""
    if asked := os.environ.get("DS2_NATIVE_LIB"):
        return Path(asked)
    folder = Path(__file__).parent / "_native"
    return next((file for name in NAMES if (file := folder / name).exists()), None)


@cache
def load() -> c.CDLL:
    """Load the library.

    Raises NativeError when it is missing, cannot be loaded or was built for another version of this package.
    """
    file = find()
    if file is None:
        raise NativeError("no native library beside the package (build it with a C++ compiler: make native)")
    try:
        library = c.CDLL(str(file))
    except OSError as error:
        raise NativeError(f"{file}: cannot be loaded, {error} (build it again: make native)") from None
    if (built := int(library.ds2_abi_version())) != ABI_VERSION:
        raise NativeError(
            f"{file}: speaks ABI {built}, this package speaks {ABI_VERSION} (build it again: make native)"
        )
    library.ds2_last_error.restype = library.ds2_isa.restype = c.c_char_p

    def raise_on_status(status: int, function: Any, _arguments: tuple[Any, ...]) -> int:
        if status != 0:
            raise NativeError(f"{function.__name__}: {library.ds2_last_error().decode()}")
        return status

    for name, argtypes in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = argtypes, c.c_int, raise_on_status
    return library


@cache
def available() -> bool:
    """Whether the library can be used; callers have a slower way when it cannot."""
    try:
        load()
    except NativeError:
        return False
    return True


def describe() -> str:
    """One line for people: the library and its instruction set, or why torch does its work instead."""
    try:
        library = load()
    except NativeError as error:
        return f"native library: {error}; torch does its work, slower"
    return f"native library: {find()}, {library.ds2_isa().decode()}"


if __name__ == "__main__":
    sys.stdout.write(describe() + "\n")
