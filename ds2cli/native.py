"""Bindings of the compiled native libraries: locate, check the version, declare signatures, raise on error status."""

from __future__ import annotations

import ctypes as c
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ds2cli.errors import Ds2Error, UsageError

ABI_VERSION = 8
INSTRUCTION_SETS = ("base", "avx2", "avx512", "avx512bf16")
"""From the lowest to the highest; the variable DS2_NATIVE_ISA sets the highest one allowed."""

FLOAT32, BFLOAT16 = 0, 1
"""`ds2_precision` of the header."""

WEIGHTS = ("float32", "bfloat16", "int8")
"""Storage formats of a packed matrix, in the order of `ds2_weights` of the header."""

_SIZE, _INT, _POINTER = c.c_size_t, c.c_int32, c.c_void_p


class RnnShape(c.Structure):
    """Shape of a recurrent layer: `ds2_rnn_shape` in the header."""

    _fields_ = tuple((name, c.c_int32) for name in ("cell", "D", "T", "N", "M", "H"))


class MatrixShape(c.Structure):
    """Shape of a packed matrix: `ds2_matrix_shape` in the header; `format` is an index of WEIGHTS."""

    _fields_ = tuple((name, c.c_int32) for name in ("format", "J", "K"))


class CtcShape(c.Structure):
    """Shape of a CTC batch: `ds2_ctc_shape` in the header."""

    _fields_ = (
        *((name, c.c_int32) for name in ("T", "N", "V", "L", "blank", "precision")),
        *((name, c.c_int64) for name in ("stride_t", "stride_n")),
    )


_LAYER, _MATRIX, _SHAPE = c.POINTER(RnnShape), c.POINTER(MatrixShape), c.POINTER(CtcShape)
_SIZES = [c.POINTER(_SIZE)] * 3


class Library(NamedTuple):
    """One native library.

    file_names: its name on each platform. variable: the environment variable with the path of another build.
    fix: how to build it. text_functions: functions that return a string. signatures: argument types of the functions
    that return a status code.
    """

    file_names: tuple[str, ...]
    variable: str
    fix: str
    text_functions: tuple[str, ...]
    signatures: dict[str, list[Any]]


_REBUILD = (
    "make native"
    if (Path(__file__).parents[1] / "native" / "CMakeLists.txt").is_file()
    else "pip install --force-reinstall --no-deps --no-binary ds2cli ds2cli"
)
"""How to build the libraries: in a checkout, or from the source distribution."""

on_missing: Callable[[str], None] | None = None
"""Called once with a sentence for the user when this process does without the CPU library, which it looked for."""

LIBRARIES = {
    "cpu": Library(
        ("libds2native.so", "libds2native.dylib", "ds2native.dll"),
        "DS2_NATIVE_LIB",
        f"build it with a C++ compiler: {_REBUILD}",
        ("ds2_last_error", "ds2_isa"),
        {
            "ds2_rnn_sizes": [_LAYER, _INT, *_SIZES],
            "ds2_rnn_forward": [_LAYER] + [_POINTER] * 8 + [_SIZE, _INT, _INT],
            "ds2_rnn_backward": [_LAYER] + [_POINTER] * 5 + [_INT] + [_POINTER] * 3 + [_SIZE, _INT, _INT],
            "ds2_matrix_sizes": [_MATRIX, _INT, *_SIZES[:2]],
            "ds2_matrix_pack": [_MATRIX, _POINTER, _POINTER],
            "ds2_matrix_apply": [_MATRIX, _POINTER, _POINTER, _INT, _INT, _POINTER, _POINTER, _POINTER, _SIZE],
            "ds2_rnn_advance": [_MATRIX, _INT, _POINTER, _INT] + [_POINTER] * 5 + [_SIZE],
            "ds2_row_conv": [_INT] * 3 + [_POINTER] * 3,
            "ds2_ctc_sizes": [_SHAPE, _INT, *_SIZES],
            "ds2_ctc_forward": [_SHAPE] + [_POINTER] * 8 + [_SIZE, _INT],
            "ds2_ctc_backward": [_SHAPE] + [_POINTER] * 4 + [_INT],
        },
    ),
    "cuda": Library(
        ("libds2native_cuda.so", "ds2native_cuda.dll"),
        "DS2_NATIVE_CUDA_LIB",
        f"build it on a machine with nvcc: {_REBUILD}",
        ("ds2_last_error",),
        {
            "ds2_ctc_cuda_sizes": [_SHAPE, *_SIZES],
            "ds2_ctc_cuda_forward": [_SHAPE] + [_POINTER] * 8 + [_SIZE, _POINTER],
            "ds2_ctc_cuda_backward": [_SHAPE] + [_POINTER] * 5,
        },
    ),
}


class NativeError(Ds2Error):
    """A native library is missing or has the wrong version, or a call returned an error status."""


def find_library(name: str = "cpu") -> Path | None:
    """Path of a library: the value of its environment variable, else the file installed in this package; or None."""
    library = LIBRARIES[name]
    if override := os.environ.get(library.variable):
        return Path(override)
    folder = Path(__file__).parent / "_native"
    return next((file for file_name in library.file_names if (file := folder / file_name).exists()), None)


@cache
def load_library(name: str = "cpu") -> c.CDLL:
    """Load a library and declare its functions.

    Raises NativeError when it is missing, cannot be loaded, is a different library, or has the wrong ABI version;
    UsageError when DS2_NATIVE_ISA names an instruction set that does not exist, or that this build or this processor
    does not have.
    """
    spec, file = LIBRARIES[name], find_library(name)
    if file is None:
        raise NativeError(f"{spec.file_names[0]} is not installed in the package ({spec.fix})")
    try:
        library = c.CDLL(str(file))
    except OSError as error:
        raise NativeError(f"{file}: cannot be loaded: {error} ({spec.fix})") from None

    def raise_on_status(status: int, function: Any, _arguments: tuple[Any, ...]) -> int:
        if status != 0:
            raise NativeError(f"{function.__name__}: {library.ds2_last_error().decode()}")
        return status

    try:
        if (built := int(library.ds2_abi_version())) != ABI_VERSION:
            raise NativeError(f"{file}: wrong ABI version: expected {ABI_VERSION}, found {built} ({spec.fix})")
        for symbol in spec.text_functions:
            getattr(library, symbol).restype = c.c_char_p
        for symbol, argtypes in spec.signatures.items():
            function = getattr(library, symbol)
            function.argtypes, function.restype, function.errcheck = argtypes, c.c_int, raise_on_status
    except AttributeError as error:
        raise NativeError(f"{file}: is not {spec.file_names[0]}: {error} ({spec.fix})") from None
    if name == "cpu":
        _check_instruction_set([library.ds2_isa(precision).decode() for precision in (FLOAT32, BFLOAT16)])
    return library


def _check_instruction_set(used: list[str]) -> None:
    """Raises UsageError unless the one that DS2_NATIVE_ISA allows as the highest is `used`."""
    requested = os.environ.get("DS2_NATIVE_ISA")
    if not requested or requested in used:
        return
    if requested not in INSTRUCTION_SETS:
        raise UsageError(f"DS2_NATIVE_ISA={requested}: expected one of {', '.join(INSTRUCTION_SETS)}")
    raise UsageError(
        f"DS2_NATIVE_ISA={requested}: not in this build or not on this processor (expected {used[-1]} or lower)"
    )


@cache
def unavailable_reason(name: str = "cpu") -> str:
    """Why a library cannot be used (callers then fall back to torch); empty when it can."""
    try:
        load_library(name)
    except NativeError as error:
        return str(error)
    return ""


def available(name: str = "cpu") -> bool:
    """Whether a library with this name exists and can be used; without the CPU library, the user is warned once."""
    if name == "cpu":
        warn_if_missing()
    return name in LIBRARIES and not unavailable_reason(name)


def warn_if_missing() -> None:
    """Call `on_missing`, unless the CPU library can be used or it was called before."""
    global on_missing
    if on_missing is not None and (reason := unavailable_reason()):
        notify, on_missing = on_missing, None
        notify(f"without the native library, torch and numpy do its work, which is slower: {reason}")


def pointer(tensor: Any) -> int | None:
    """Address of the first element of a torch tensor, to pass to a library; None (NULL) for None."""
    return None if tensor is None else int(tensor.data_ptr())


def instruction_set() -> str:
    """The instruction set that the CPU library uses: avx512bf16, avx512, avx2 or base; the first for bfloat16 only."""
    return str(load_library().ds2_isa(BFLOAT16).decode())


def describe_libraries() -> str:
    """One line per library: its file and instruction set, or why torch is used instead."""
    missing = unavailable_reason()
    lines = {
        "native library": f"{missing}; torch is used instead (slower)"
        if missing
        else f"{find_library()}, {instruction_set()}",
        "native library for CUDA": unavailable_reason("cuda") or str(find_library("cuda")),
    }
    return "\n".join(f"{name}: {line}" for name, line in lines.items())


if __name__ == "__main__":
    try:
        sys.stdout.write(describe_libraries() + "\n")
    except UsageError as error:
        sys.exit(str(error))
