"""Import the packages of the extra `onnx`, which most commands do not need."""

from __future__ import annotations

import importlib.util

from ds2cli.errors import UsageError

INSTALL = "pip install 'ds2cli[onnx]'"


def has_onnxruntime() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def require_packages(*names: str) -> None:
    """UsageError if one of these packages is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"ONNX models need the package {name} ({INSTALL})")
