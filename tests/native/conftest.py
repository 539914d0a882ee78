"""Builds the CUDA kernels' source as a library for the CPU."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
FLAGS = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-clobbered"]
SHARED = ["-fPIC", "-shared", "-DDS2_HOST_SHIM"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]


@pytest.fixture(scope="session")
def build_host_kernels(shared_folder):
    """A function that builds sources under native/src into a library, with sanitizers if DS2_TEST_SANITIZE=1.

    Each library is built once for all pytest processes.
    """

    def build(*sources):
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
        if not compiler:
            pytest.skip("needs a C++ compiler")
        sanitizers = SANITIZERS if os.environ.get("DS2_TEST_SANITIZE") else []
        folders = [f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
        paths = [str(NATIVE / "src" / source) for source in sources]
        output = ["-x", "c++", *paths, "-o", "libkernels.so"]
        command = [*compiler.split(), *FLAGS, *SHARED, *sanitizers, *folders, *output]
        name = "-".join(["host", *(Path(source).stem for source in sources)])
        return shared_folder(name, lambda to: subprocess.run(command, check=True, cwd=to)) / "libkernels.so"

    return build
