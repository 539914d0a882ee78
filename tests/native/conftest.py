"""Builds the CUDA kernels' source as a library for the CPU."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
FLAGS = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-clobbered"]
SHARED = ["-fPIC", "-shared", "-DDS2_HOST_SHIM"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]


@pytest.fixture(scope="session")
def build_host_kernels(tmp_path_factory):
    """A function that builds sources under native/src into a library, with sanitizers if DS2_TEST_SANITIZE=1."""

    def build(*sources):
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
        if not compiler:
            pytest.skip("needs a C++ compiler")
        file = tmp_path_factory.mktemp("kernels") / "libkernels.so"
        sanitizers = SANITIZERS if os.environ.get("DS2_TEST_SANITIZE") else []
        folders = [f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
        paths = [str(NATIVE / "src" / source) for source in sources]
        command = [*compiler.split(), *FLAGS, *SHARED, *sanitizers, *folders, "-x", "c++", *paths, "-o", str(file)]
        subprocess.run(command, check=True)
        return file

    return build
