"""The device on which a network runs, and the precision of its matrix products there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ds2cli.errors import UsageError


def select_device(name: str) -> torch.device:
    """The device of a setting `auto`, `cpu` or `cuda`; auto is a GPU if there is one.

    UsageError if a GPU is asked for and torch finds none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError(
            "--device cuda: torch finds no CUDA device (use --device cpu, or install a torch built for CUDA)"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def select_precision(name: str, device: torch.device) -> torch.dtype:
    """The precision of a setting of `InferenceConfig`, to compute emissions on the device with torch.

    auto is bfloat16 on a GPU that has it, float16 on one that does not, and float32 on the CPU, where bfloat16 may be
    slower; so are `stored` and `int8`, as torch has no recurrences with rounded weights. UsageError for float16 on the
    CPU: its recurrences have bfloat16 only.
    """
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name == "float16" and device.type == "cpu":
        raise UsageError("--precision float16 needs a GPU (use --precision bfloat16, or --device cuda)")
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name, torch.float32)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """The context in which a network computes its matrix products in this precision."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)
