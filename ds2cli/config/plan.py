"""The GPUs that `ds2 plan --gpu` knows, with the figures of their data sheets."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from ds2cli.errors import UsageError


class Gpu(NamedTuple):
    """One GPU, as its vendor specifies it: peak rates without sparsity.

    memory: GiB. bandwidth: of the memory (GB/s). float32, tf32, float16, bfloat16: TFLOP/s of matrix products, with
    sums in float32; None where the GPU has no units for it. cache: level 2 (MB). link: to other GPUs of the machine,
    both directions together (GB/s): NVLink, else PCI Express.
    """

    title: str
    memory: float
    bandwidth: float
    float32: float
    tf32: float | None
    float16: float | None
    bfloat16: float | None
    cache: float
    link: float

    def peak(self, precision: str) -> float:
        """TFLOP/s in float32, float16, bfloat16, or tf32 (float32 where the GPU has no such units)."""
        found = {"tf32": self.tf32, "float16": self.float16, "bfloat16": self.bfloat16}.get(precision)
        return self.float32 if found is None else found

    @property
    def precisions(self) -> list[str]:
        """The settings of --precision that its units for matrices support."""
        return ["float32", *(name for name in ("float16", "bfloat16") if getattr(self, name) is not None)]


GPUS = {
    "titan-x": Gpu("GeForce GTX Titan X (Maxwell)", 12, 336.5, 6.6, None, None, None, 3, 32),
    "gtx-1080": Gpu("GeForce GTX 1080", 8, 320, 8.9, None, None, None, 2, 32),
    "gtx-1080-ti": Gpu("GeForce GTX 1080 Ti", 11, 484, 11.3, None, None, None, 2.75, 32),
    "v100": Gpu("Tesla V100 SXM2 16 GB", 16, 900, 15.7, None, 125, None, 6, 300),
    "v100-32": Gpu("Tesla V100 SXM2 32 GB", 32, 900, 15.7, None, 125, None, 6, 300),
    "t4": Gpu("T4", 16, 320, 8.1, None, 65, None, 4, 32),
    "rtx-2080-ti": Gpu("GeForce RTX 2080 Ti", 11, 616, 13.4, None, 53.8, None, 5.5, 32),
    "a10": Gpu("A10", 24, 600, 31.2, 62.5, 125, 125, 6, 64),
    "a100-40": Gpu("A100 SXM4 40 GB", 40, 1555, 19.5, 156, 312, 312, 40, 600),
    "a100-80": Gpu("A100 SXM4 80 GB", 80, 2039, 19.5, 156, 312, 312, 40, 600),
    "rtx-3090": Gpu("GeForce RTX 3090", 24, 936, 35.6, 35.6, 71, 71, 6, 64),
    "rtx-a6000": Gpu("RTX A6000", 48, 768, 38.7, 77.4, 154.8, 154.8, 6, 64),
    "rtx-4090": Gpu("GeForce RTX 4090", 24, 1008, 82.6, 82.6, 165.2, 165.2, 72, 64),
    "l4": Gpu("L4", 24, 300, 30.3, 60, 121, 121, 48, 64),
    "l40s": Gpu("L40S", 48, 864, 91.6, 183, 362, 362, 96, 64),
    "h100": Gpu("H100 SXM5 80 GB", 80, 3350, 67, 494, 989, 989, 50, 900),
    "h200": Gpu("H200 SXM5", 141, 4800, 67, 494, 989, 989, 50, 900),
}
"""GPUs by the name that --gpu takes. titan-x is that of the paper, with the peak that its §4 implies (53 / 8)."""


def find_gpu(name: str) -> Gpu:
    """The GPU of this name; UsageError with the nearest names, or all of them, if there is none."""
    written = name.lower().replace("_", "-").replace(" ", "-")
    if written in GPUS:
        return GPUS[written]
    near = [known for known in GPUS if written and written in known] or difflib.get_close_matches(written, GPUS, 1)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(GPUS)}"
    raise UsageError(f"--gpu {name}: not a known GPU, {hint}")
