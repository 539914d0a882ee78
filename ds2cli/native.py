"""The built native libraries, bound once: found, version-checked, every function typed, every failing status raised."""

from __future__ import annotations

import ctypes as c
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ds2cli.errors import Ds2Error

ABI_VERSION = 5
_SIZE, _INT, _POINTER = c.c_size_t, c.c_int32, c.c_void_p


class RnnShape(c.Structure):
    """A recurrent layer, `ds2_rnn_shape` of the header."""

    _fields_ = tuple((name, c.c_int32) for name in ("cell", "D", "T", "N", "M", "H"))


class CtcShape(c.Structure):
    """A batch for CTC, `ds2_ctc_shape` of the header."""

    _fields_ = (
        *((name, c.c_int32) for name in ("T", "N", "V", "L", "blank", "precision")),
        *((name, c.c_int64) for name in ("stride_t", "stride_n")),
    )


_LAYER, _SHAPE = c.POINTER(RnnShape), c.POINTER(CtcShape)
_SIZES = [c.POINTER(_SIZE)] * 3


class Part(NamedTuple):
    """A library: the names of its file, the variable that names another, how to build it, and its functions.

    texts: those that return one. signatures: the arguments of those that return a status.
    """

    names: tuple[str, ...]
    variable: str
    remedy: str
    texts: tuple[str, ...]
    signatures: dict[str, list[Any]]


PARTS = {
    "cpu": Part(
        ("libds2native.so", "libds2native.dylib", "ds2native.dll"),
        "DS2_NATIVE_LIB",
        "build it with a C++ compiler: make native",
        ("ds2_last_error", "ds2_isa"),
        {
            "ds2_rnn_sizes": [_LAYER, _INT, *_SIZES],
            "ds2_rnn_forward": [_LAYER] + [_POINTER] * 6 + [_SIZE, _INT, _INT],
            "ds2_rnn_backward": [_LAYER] + [_POINTER] * 5 + [_INT] + [_POINTER] * 3 + [_SIZE, _INT, _INT],
            "ds2_ctc_sizes": [_SHAPE, _INT, *_SIZES],
            "ds2_ctc_forward": [_SHAPE] + [_POINTER] * 8 + [_SIZE, _INT],
            "ds2_ctc_backward": [_SHAPE] + [_POINTER] * 4 + [_INT],
        },
    ),
    "cuda": Part(
        ("libds2native_cuda.so", "ds2native_cuda.dll"),
        "DS2_NATIVE_CUDA_LIB",
        "build it where nvcc is: make native",
        ("ds2_last_error",),
        {
            "ds2_ctc_cuda_sizes": [_SHAPE, *_SIZES],
            "ds2_ctc_cuda_forward": [_SHAPE] + [_POINTER] * 8 + [_SIZE, _POINTER],
            "ds2_ctc_cuda_backward": [_SHAPE] + [_POINTER] * 5,
        },
    ),
}


class NativeError(Ds2Error):
    """A native library is missing or of another version, or a call returned a failing status."""


def find(name: str = "cpu") -> Path | None:
    """A library's file: the one its variable names, else the one installed beside this package; None without either."""
    part = PARTS[name]
    if asked := os.environ.get(part.variable):
        return Path(asked)
    folder = Path(__file__).parent / "_native"
    return next((file for name in part.names if (file := folder / name).exists()), None)


@cache
def load(name: str = "cpu") -> c.CDLL:
    """Load a library.

    Raises NativeError when it is missing, cannot be loaded, is another library or of another version of this package.
    """
    part, file = PARTS[name], find(name)
    if file is None:
        raise NativeError(f"no {part.names[0]} beside the package ({part.remedy})")
    try:
        library = c.CDLL(str(file))
    except OSError as error:
        raise NativeError(f"{file}: cannot be loaded, {error} ({part.remedy})") from None

    def raise_on_status(status: int, function: Any, _arguments: tuple[Any, ...]) -> int:
        if status != 0:
            raise NativeError(f"{function.__name__}: {library.ds2_last_error().decode()}")
        return status

    try:
        if (built := int(library.ds2_abi_version())) != ABI_VERSION:
            raise NativeError(f"{file}: speaks ABI {built}, this package speaks {ABI_VERSION} ({part.remedy})")
        for symbol in part.texts:
            getattr(library, symbol).restype = c.c_char_p
        for symbol, argtypes in part.signatures.items():
            function = getattr(library, symbol)
            function.argtypes, function.restype, function.errcheck = argtypes, c.c_int, raise_on_status
    except AttributeError as error:
        raise NativeError(f"{file}: is not {part.names[0]}, {error} ({part.remedy})") from None
    return library


@cache
def missing(name: str = "cpu") -> str:
    """Why a library cannot be used, empty when it can; callers have a slower way."""
    try:
        load(name)
    except NativeError as error:
        return str(error)
    return ""


def available(name: str = "cpu") -> bool:
    """Whether there is a library of this name, and it can be used."""
    return name in PARTS and not missing(name)


def instructions() -> str:
    """The instruction set that the library for the processor uses: avx512, avx2 or base."""
    return str(load().ds2_isa().decode())


def describe() -> str:
    """A line for people on each library: its file and instruction set, or why torch does its work instead."""
    lines = {
        "native library": f"{missing()}; torch does its work, slower" if missing() else f"{find()}, {instructions()}",
        "native library for CUDA": missing("cuda") or str(find("cuda")),
    }
    return "\n".join(f"{name}: {line}" for name, line in lines.items())


if __name__ == "__main__":
    sys.stdout.write(describe() + "\n")
