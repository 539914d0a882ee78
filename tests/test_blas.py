"""SciPy's OpenBLAS is loaded only where there is the memory for it."""

import importlib
import os
import subprocess
import sys
from typing import get_args

import pytest

from ds2cli import blas, memory
from ds2cli.metrics.alignment import AlignmentRule

LIMITED = """
import re, resource, sys
import numba
from ds2cli.blas import load_scipy
used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
try:
    print(load_scipy("linalg").__name__)
except MemoryError as e:
    print(e)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="limits and reports the size of a process")
@pytest.mark.parametrize(
    ("room", "expected"),
    # with 60 MB, its loader would not return
    [(60_000_000, "SciPy and its OpenBLAS need 200 MB\n"), (blas.ROOM + 10_000_000, "scipy.linalg\n")],
)
def test_a_limit_that_leaves_too_little_is_an_error_and_not_a_wait(room, expected):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(room)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr


def test_the_first_part_alone_needs_room_and_its_threads_are_limited_only_while_it_is_loaded(monkeypatch):
    loaded = []

    def load(name):
        loaded.append((name, os.environ.get("OPENBLAS_NUM_THREADS")))
        return name

    def refuse(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(blas, "_loaded", False)
    monkeypatch.setattr(blas.importlib, "import_module", load)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with monkeypatch.context() as patch:
        patch.setattr(blas.mmap, "mmap", refuse)
        with pytest.raises(memory.NeededError, match="SciPy and its OpenBLAS need 200 MB"):
            blas.load_scipy("fft")
    assert blas.load_scipy("fft") == "scipy.fft"
    monkeypatch.setattr(blas.mmap, "mmap", refuse)
    assert blas.load_scipy("sparse") == "scipy.sparse"
    parts = [(name, threads) for name, threads in loaded if name != "numpy"]
    assert parts == [("scipy.fft", "1"), ("scipy.sparse", "3")]


WITHOUT_LINALG = """
import sys
from ds2cli.kernels import edit
assert "scipy.linalg" not in sys.modules
from ds2cli.metrics.alignment import align_words
align_words(["a b"], ["b"], RULE).total()
print([name for name in sys.modules if name.startswith("scipy.linalg")])
import scipy.linalg
print(scipy.linalg.norm([3.0, 4.0]))
"""


def test_kernels_load_no_linear_algebra_and_others_still_can():
    rule = repr(get_args(AlignmentRule)[0])
    code = WITHOUT_LINALG.replace("RULE", rule)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("[]\n5.0\n", 0), done.stderr


def test_in_the_block_the_import_fails_unless_it_was_there(monkeypatch):
    monkeypatch.delitem(sys.modules, "scipy.linalg", raising=False)
    with blas.without_linalg(), pytest.raises(ImportError):
        importlib.import_module("scipy.linalg")
    assert "scipy.linalg" not in sys.modules
    monkeypatch.setitem(sys.modules, "scipy.linalg", os)
    with blas.without_linalg():
        assert importlib.import_module("scipy.linalg") is os
