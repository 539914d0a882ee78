"""ds2cli: Deep Speech 2 as small command-line stages connected by manifests."""

import os

__version__ = "0.1.0"

# OpenMP reads it when torch is loaded. Its threads otherwise spin at barriers, and take a core from the threads of the
# native library or from other processes (native/bench/bench_contention.py).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
