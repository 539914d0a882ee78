from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli import native
from ds2cli.errors import Ds2Error

ROOT = Path(__file__).parents[2]
SHAPE = (2, 3, 2, 6, 4)  # D, T, N, M, H
GRU, SIMPLE, LSTM = 0, 3, 4

STATES = """
import sys, torch
from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS
from ds2cli.nn.rnn.recurrence import rnn_padded
arrays = []
for cell in CELLS.values():
    torch.manual_seed(0)
    width = cell.gates * 37
    x, u = torch.randn(9, 5, width, requires_grad=True), torch.randn(2, width, 37, requires_grad=True)
    h = rnn_padded(cell, x, u / 6, torch.tensor([9, 9, 6, 4, 1]))
    h.square().sum().backward()
    arrays += [h.detach(), x.grad, u.grad]
torch.save([native.load().ds2_isa().decode(), *arrays], sys.argv[1])
"""

pytestmark = pytest.mark.native
needs_library = pytest.mark.skipif(not native.available(), reason="the native library is not built")


@pytest.fixture
def fresh():
    """The binding as a new process would find it."""
    native.load.cache_clear()
    native.missing.cache_clear()
    yield
    native.load.cache_clear()
    native.missing.cache_clear()


def sizes(D, T, N, M, H, threads=1, cell=GRU):
    out = [ctypes.c_size_t() for _ in range(3)]
    native.load().ds2_rnn_sizes(native.RnnShape(cell, D, T, N, M, H), threads, *map(ctypes.byref, out))
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
    native.load().ds2_rnn_forward(
        native.RnnShape(GRU, *shape), *pointers, needed if workspace_bytes is None else workspace_bytes, 1, precision
    )


@needs_library
def test_sizes_follow_the_formula():
    reserve, few, many = sizes(2, 10, 4, 40, 16)
    assert reserve == 2 * 10 * 4 * 4 * 16 * 4
    assert 2 * 3 * 16 * 16 * 4 <= few < many
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
def test_an_impossible_shape_is_refused_in_words(shape):
    with pytest.raises(Ds2Error, match=r"ds2_rnn_sizes: need D = 1 or 2, T, N, H, threads > 0, M >= 0, got D="):
        sizes(*shape)


@needs_library
@pytest.mark.parametrize("cell", [-1, 5])
def test_an_unknown_cell_is_refused(cell):
    with pytest.raises(native.NativeError, match=f"need cell = 0 to 4, got {cell}"):
        sizes(*SHAPE, cell=cell)


@needs_library
def test_a_small_workspace_is_refused():
    forward([3, 2])
    with pytest.raises(native.NativeError, match=r"need \d+ bytes of workspace, got 100"):
        forward([3, 2], workspace_bytes=100)


@needs_library
@pytest.mark.parametrize(("lengths", "message"), [([4, 1], r"lengths\[0\]=4"), ([2, 3], "after 2"), ([3, -1], "=-1")])
def test_bad_lengths_are_refused(lengths, message):
    with pytest.raises(native.NativeError, match=message):
        forward(lengths)


@needs_library
def test_rows_are_padded_or_packed_and_nothing_between():
    forward([3, 2], shape=(2, 3, 2, 5, 4))
    with pytest.raises(native.NativeError, match=r"6 \(padded\) or the sum of lengths = 4 \(packed\), got M=5"):
        forward([3, 1], shape=(2, 3, 2, 5, 4))


@needs_library
def test_a_missing_array_is_refused():
    with pytest.raises(native.NativeError, match="an array is NULL"):
        forward([3, 2], gates=False)


@needs_library
def test_an_unknown_precision_is_refused():
    with pytest.raises(native.NativeError, match="got 2"):
        forward([3, 2], precision=2)


@needs_library
def test_every_instruction_set_agrees(tmp_path):
    torch = pytest.importorskip("torch")
    results = {}
    for isa in ("", "avx2", "base"):
        file = tmp_path / f"{isa or 'best'}.pt"
        env = {**os.environ, "DS2_NATIVE_ISA": isa, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", STATES, str(file)], check=True, env=env)
        name, *arrays = torch.load(file)
        results[name] = arrays
    assert "base" in results
    for arrays in results.values():
        for found, expected in zip(arrays, results["base"], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_a_missing_library_says_how_to_build_it(fresh, monkeypatch):
    for name, part in native.PARTS.items():
        monkeypatch.delenv(part.variable, raising=False)
        monkeypatch.setitem(native.PARTS, name, part._replace(names=("none.so",)))
        with pytest.raises(Ds2Error, match=r"^no none\.so beside the package .*make native"):
            native.load(name)
        assert not native.available(name)
    assert "torch does its work" in native.describe()


def test_a_library_that_cannot_be_loaded_is_named(fresh, monkeypatch, tmp_path):
    broken = tmp_path / "libds2native.so"
    broken.write_bytes(b"not a library")
    for name, part in native.PARTS.items():
        monkeypatch.setenv(part.variable, str(broken))
        with pytest.raises(native.NativeError, match=r"libds2native\.so: cannot be loaded"):
            native.load(name)


def test_a_library_that_is_another_one_is_named(fresh, monkeypatch):
    libm = ctypes.util.find_library("m")
    if not sys.platform.startswith("linux") or libm is None:
        pytest.skip("no library that is known to be another")
    for name, part in native.PARTS.items():
        monkeypatch.setenv(part.variable, libm)
        with pytest.raises(native.NativeError, match=rf"is not {part.names[0]}, .*ds2_abi_version.*make native"):
            native.load(name)
        assert not native.available(name)
    assert "torch does its work" in native.describe()


@needs_library
def test_one_library_in_the_place_of_the_other_is_named(fresh, monkeypatch):
    cpu, cuda = native.find("cpu"), native.find("cuda")
    monkeypatch.setenv("DS2_NATIVE_CUDA_LIB", str(cpu))
    with pytest.raises(native.NativeError, match=r"is not libds2native_cuda\.so, .*ds2_ctc_cuda_sizes"):
        native.load("cuda")
    if cuda is None:
        return
    monkeypatch.setenv("DS2_NATIVE_LIB", str(cuda))
    with pytest.raises(native.NativeError, match=r"is not libds2native\.so, .*make native"):
        native.load()


@needs_library
def test_another_version_is_refused(fresh, monkeypatch):
    monkeypatch.setattr(native, "ABI_VERSION", 999)
    with pytest.raises(native.NativeError, match="speaks ABI 5, this package speaks 999"):
        native.load()


@needs_library
def test_describe_names_the_instruction_set():
    assert native.describe().splitlines()[0].endswith((", avx512", ", avx2", ", base"))
