"""Why the CPU tests of the CUDA kernels can be trusted: the shim detects faults, sanitizers pass, nvcc compiles."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
INSTALLED = ROOT / "ds2cli" / "_native" / "libds2native_cuda.so"

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def shim(build_host_kernels):
    library = ctypes.CDLL(str(build_host_kernels("../tests/shim_faults.cpp", "cuda/host_shim.cpp")))
    library.shim_try.restype = ctypes.c_char_p

    def run(kernel, order=0):
        out = np.zeros(64, np.int32)
        library.ds2_shim_set_order(order)
        message = library.shim_try(kernel, ctypes.c_void_p(out.ctypes.data))
        return (message or b"").decode(), out

    return run


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (0, "a thread exits while others wait|for threads that have exited"),
        (1, "threads wait for one barrier at lines"),
        (2, "threads wait for one barrier at lines|for threads that have exited|a thread exits while others wait"),
        (3, "is never completed"),
    ],
)
def test_a_barrier_missed_by_some_threads_is_reported_and_the_shim_stays_usable(shim, kernel, message, order):
    assert re.search(message, shim(kernel, order)[0])
    assert shim(5, order)[0] == ""


def test_a_missing_barrier_changes_the_result_in_another_order(shim):
    results = [shim(4, order)[1].tolist() for order in (0, 1, 2)]
    assert results[0] != results[1]


def test_a_correct_kernel_has_the_same_result_in_every_order(shim):
    thread = np.arange(64)
    following = (thread + 1) % 64
    expected = following + 100 * np.where(thread % 32, thread, following) + 10000 * (32 + 16)
    for order in range(5):
        message, out = shim(5, order)
        assert message == ""
        np.testing.assert_array_equal(out, expected)


def test_kernels_pass_the_sanitizers(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs g++ for the sanitizers")
    runtime = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("g++ has no AddressSanitizer")
    test = Path(__file__).with_name("test_ctc_cuda_host.py")
    env = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "DS2_TEST_SANITIZE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(test),
        "-k",
        "formulas",
    ]
    done = subprocess.run(command, cwd=ROOT, env=env | {"CXX": "g++"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_nvcc_compiles_the_kernels(tmp_path):
    nvcc = shutil.which("nvcc")
    if not nvcc:
        pytest.skip("needs nvcc")
    source = NATIVE / "src" / "cuda" / "ctc_cuda.cu"
    folders = [f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
    command = [nvcc, "-std=c++17", "-ptx", "-arch=compute_80", *folders, str(source), "-o", str(tmp_path / "ctc.ptx")]
    subprocess.run([*command, "-Werror", "all-warnings"], check=True)
    assert ".entry" in (tmp_path / "ctc.ptx").read_text()


def test_the_installed_library_loads_without_a_gpu():
    if not INSTALLED.exists():
        pytest.skip("the CUDA library is not built")
    library = ctypes.CDLL(str(INSTALLED))
    header = (NATIVE / "include" / "ds2_native.h").read_text()
    assert f"#define DS2_ABI_VERSION {library.ds2_abi_version()}\n" in header
