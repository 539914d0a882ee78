"""ds2cli: Deep Speech 2 as small command-line stages connected by manifests. From Python: `Recognizer`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds2cli.api import Recognizer, Transcript

__all__ = ["Recognizer", "Transcript", "__version__"]

__version__ = "0.1.0"

# OpenMP reads it when torch is loaded. Its threads otherwise spin at barriers, and take a core from the threads of the
# native library or from other processes (native/bench/bench_contention.py).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    """Import what is asked for: the commands need no more than their own modules."""
    if name in ("Recognizer", "Transcript"):
        from ds2cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
