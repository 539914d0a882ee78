"""The ctypes binding of the native library: shapes, errors, and libraries that cannot be used."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.errors import Ds2Error
from ds2cli.nn.rnn.cells import CELLS
from ds2cli.nn.rnn.recurrence import rnn_padded, rnn_reference

SHAPE = (2, 3, 2, 6, 4)  # D, T, N, M, H
GRU, SIMPLE, LSTM = 0, 3, 4

pytestmark = pytest.mark.native
needs_library = pytest.mark.skipif(not native.available(), reason="the native library is not built")


@pytest.fixture
def uncached():
    """Clear the caches of the binding, as in a new process."""
    native.load_library.cache_clear()
    native.unavailable_reason.cache_clear()
    yield
    native.load_library.cache_clear()
    native.unavailable_reason.cache_clear()


def sizes(D, T, N, M, H, threads=1, cell=GRU):
    out = [ctypes.c_size_t() for _ in range(3)]
    native.load_library().ds2_rnn_sizes(native.RnnShape(cell, D, T, N, M, H), threads, *map(ctypes.byref, out))
    return [size.value for size in out]


def forward(lengths, workspace_bytes=None, gates=True, shape=SHAPE, precision=0):
    D, _, _, M, H = shape
    arrays = [np.zeros(M * 3 * H, np.float32), np.zeros(D * 3 * H * H, np.float32), np.array(lengths, np.int32)]
    arrays += [np.zeros(D * M * H, np.float32), np.zeros(sizes(*shape)[0], np.uint8)]
    needed = sizes(*shape)[1]
    workspace = np.zeros(needed, np.uint8)
    pointers = [array.ctypes.data for array in [*arrays, workspace]]
    if not gates:
        pointers[0] = None
    pointers = [*pointers[:3], None, pointers[3], None, *pointers[4:]]  # no start and no end
    native.load_library().ds2_rnn_forward(
        native.RnnShape(GRU, *shape), *pointers, needed if workspace_bytes is None else workspace_bytes, 1, precision
    )


@needs_library
def test_sizes_follow_the_formula():
    reserve, small, large = sizes(2, 10, 4, 40, 16)
    assert reserve == 2 * 10 * 4 * 4 * 16 * 4
    assert 2 * 3 * 16 * 16 * 4 <= small < large
    assert sizes(2, 10, 4, 40, 16, cell=SIMPLE)[0] == 0
    assert sizes(2, 10, 4, 40, 16, cell=LSTM)[0] == 2 * 10 * 4 * 5 * 16 * 4


@needs_library
@pytest.mark.parametrize(
    "shape",
    [
        (3, 1, 1, 1, 1),
        (0, 1, 1, 1, 1),
        (1, 0, 1, 1, 1),
        (1, 1, 0, 1, 1),
        (1, 1, 1, -1, 1),
        (1, 1, 1, 1, 0),
        (1,) * 5 + (0,),
    ],
    ids=str,
)
def test_an_invalid_shape_is_rejected_with_a_message(shape):
    with pytest.raises(Ds2Error, match=r"ds2_rnn_sizes: expected D = 1 or 2, T, N, H, threads > 0, M >= 0, got D="):
        sizes(*shape)


@needs_library
@pytest.mark.parametrize("cell", [-1, 5])
def test_an_unknown_cell_is_rejected(cell):
    with pytest.raises(native.NativeError, match=f"expected cell = 0 to 4, got {cell}"):
        sizes(*SHAPE, cell=cell)


@needs_library
def test_a_small_workspace_is_rejected():
    forward([3, 2])
    with pytest.raises(native.NativeError, match=r"expected a workspace of \d+ bytes, got 100"):
        forward([3, 2], workspace_bytes=100)


@needs_library
@pytest.mark.parametrize(("lengths", "message"), [([4, 1], r"lengths\[0\]=4"), ([2, 3], "after 2"), ([3, -1], "=-1")])
def test_invalid_lengths_are_rejected(lengths, message):
    with pytest.raises(native.NativeError, match=message):
        forward(lengths)


@needs_library
def test_rows_must_be_padded_or_packed():
    forward([3, 2], shape=(2, 3, 2, 5, 4))
    with pytest.raises(native.NativeError, match=r"6 \(padded\) or the sum of lengths = 4 \(packed\), got M=5"):
        forward([3, 1], shape=(2, 3, 2, 5, 4))


@needs_library
def test_a_missing_array_is_rejected():
    with pytest.raises(native.NativeError, match="an array is NULL"):
        forward([3, 2], gates=False)


@needs_library
def test_an_unknown_precision_is_rejected():
    with pytest.raises(native.NativeError, match="got 2"):
        forward([3, 2], precision=2)


def test_the_error_for_a_missing_library_gives_the_build_command(uncached, monkeypatch):
    for name, library in native.LIBRARIES.items():
        monkeypatch.delenv(library.variable, raising=False)
        monkeypatch.setitem(native.LIBRARIES, name, library._replace(file_names=("none.so",)))
        with pytest.raises(Ds2Error, match=r"^none\.so is not installed in the package .*make native"):
            native.load_library(name)
        assert not native.available(name)
    assert "torch is used instead" in native.describe_libraries()


def test_a_missing_library_is_reported_once(uncached, monkeypatch, tmp_path):
    monkeypatch.setenv("DS2_NATIVE_LIB", str(tmp_path / "none.so"))
    heard = []
    monkeypatch.setattr(native, "on_missing", heard.append)
    assert not native.available() and not native.available()
    (message,) = heard
    assert message.startswith("without the native library, torch and numpy do its work") and "make native" in message


@needs_library
def test_a_library_that_is_there_is_not_reported(uncached, monkeypatch):
    heard = []
    monkeypatch.setattr(native, "on_missing", heard.append)
    assert native.available() and not heard


def test_the_error_names_a_library_that_cannot_be_loaded(uncached, monkeypatch, tmp_path):
    broken = tmp_path / "libds2native.so"
    broken.write_bytes(b"not a library")
    for name, library in native.LIBRARIES.items():
        monkeypatch.setenv(library.variable, str(broken))
        with pytest.raises(native.NativeError, match=r"libds2native\.so: cannot be loaded"):
            native.load_library(name)


def test_the_error_names_a_foreign_library(uncached, monkeypatch):
    libm = ctypes.util.find_library("m")
    if not sys.platform.startswith("linux") or libm is None:
        pytest.skip("needs libm as a foreign library")
    for name, library in native.LIBRARIES.items():
        monkeypatch.setenv(library.variable, libm)
        with pytest.raises(
            native.NativeError, match=rf"is not {library.file_names[0]}: .*ds2_abi_version.*make native"
        ):
            native.load_library(name)
        assert not native.available(name)
    assert "torch is used instead" in native.describe_libraries()


@needs_library
def test_the_error_names_a_cpu_library_given_as_cuda_and_vice_versa(uncached, monkeypatch):
    cpu, cuda = native.find_library("cpu"), native.find_library("cuda")
    monkeypatch.setenv("DS2_NATIVE_CUDA_LIB", str(cpu))
    with pytest.raises(native.NativeError, match=r"is not libds2native_cuda\.so: .*ds2_ctc_cuda_sizes"):
        native.load_library("cuda")
    if cuda is None:
        return
    monkeypatch.setenv("DS2_NATIVE_LIB", str(cuda))
    with pytest.raises(native.NativeError, match=r"is not libds2native\.so: .*make native"):
        native.load_library()


@needs_library
@pytest.mark.parametrize("expected", [4, 999])
def test_an_older_or_newer_abi_version_is_rejected(uncached, monkeypatch, expected):
    built = native.ABI_VERSION
    monkeypatch.setattr(native, "ABI_VERSION", expected)
    with pytest.raises(native.NativeError, match=f"wrong ABI version: expected {expected}, found {built}"):
        native.load_library()


@needs_library
def test_describe_names_the_instruction_set():
    assert native.describe_libraries().splitlines()[0].endswith(tuple(f", {name}" for name in native.INSTRUCTION_SETS))


def test_each_library_is_described_by_its_own_file():
    cpu, cuda = native.describe_libraries().splitlines()
    assert cpu.startswith("native library: ") and "libds2native." in cpu
    assert cuda.startswith("native library for CUDA: ") and "libds2native_cuda." in cuda
    assert not native.available("none")


@needs_library
@pytest.mark.parametrize(
    ("changes", "threads", "message"),
    [
        ({"T": -1}, 1, "expected T, N, L >= 0, V > 0, got T=-1 N=2 V=4 L=3"),
        ({"N": -1}, 1, "expected T, N, L >= 0"),
        ({"V": 0}, 1, "expected T, N, L >= 0"),
        ({"L": -1}, 1, "expected T, N, L >= 0"),
        ({"blank": 4}, 1, r"expected blank in 0\.\.3, got 4"),
        ({"blank": -1}, 1, r"expected blank in 0\.\.3, got -1"),
        ({"precision": 2}, 1, r"expected precision = 0 \(float32\) or 1 \(bfloat16\), got 2"),
        ({"N": 2**30}, 1, r"expected N < 2\^30 and L < 2\^29, got N=1073741824 L=3"),
        ({"L": 2**29}, 1, r"expected N < 2\^30 and L < 2\^29"),
        ({"T": 2**31 - 1, "V": 2**30}, 1, "expected a batch that fits in memory"),
        ({}, 0, "expected threads > 0, got 0"),
    ],
)
def test_an_invalid_batch_of_ctc_is_rejected_with_a_message(changes, threads, message):
    shape = {"T": 5, "N": 2, "V": 4, "L": 3, "blank": 3, "precision": 1, "stride_t": 8, "stride_n": 4}
    function, out = native.load_library().ds2_ctc_sizes, [ctypes.c_size_t() for _ in range(3)]
    function(native.CtcShape(**shape), 1, *map(ctypes.byref, out))
    assert all(size.value > 0 for size in out)
    with pytest.raises(native.NativeError, match=f"ds2_ctc_sizes: {message}"):
        function(native.CtcShape(**shape | changes), threads, *map(ctypes.byref, out))


@needs_library
@pytest.mark.parametrize(("T", "N"), [(33, 8), (40, 15)])
def test_the_gradient_of_the_weights_sums_any_number_of_frames_and_rows(T, N):
    """256 pairs of a frame and a row are summed at a time: exactly as many, and more than twice as many."""
    torch.manual_seed(0)
    for cell in CELLS.values():
        gates, recurrent = torch.randn(T, N, cell.gates * 5), torch.randn(2, cell.gates * 5, 5) / 3
        found, expected = (
            torch.autograd.grad(function(cell, gates.to(dtype), leaf, torch.full((N,), T)).square().sum(), leaf)[0]
            for function, dtype in ((rnn_padded, torch.float32), (rnn_reference, torch.float64))
            for leaf in [recurrent.to(dtype).requires_grad_()]
        )
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
