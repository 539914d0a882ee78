"""Fold the batch norms of a trained network into its weights: the same function, without any statistics.

A norm is y -> scale y + shift, with scale = γ / sqrt(var + eps) and shift = β - scale mean. After a product it scales
the rows of the weights; before one, their columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

EPS = 1e-5
"""That of the batch norms (torch's default), added to the variance."""

PRODUCTS = ("conv", "project", "linear")
"""The modules with weights that are followed by a norm; the name of both begins with that of their layer."""


def fold_norms(state: Mapping[str, Array]) -> dict[str, Array]:
    """The weights of a network of the kind ds2 that has no norms, but biases, and the same outputs.

    state: the weights as they are saved, by name; those without norms are returned as they are.
    KeyError if some are missing.
    """
    folded: dict[str, Array] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        norm = _norm_of(layer)
        if _is_of_norm(name):
            continue
        if norm is None or f"{norm}.running_var" not in state:
            folded[name] = value
        elif kind == "weight":
            scale, shift = _affine(state, norm)
            folded[name] = value * scale.reshape(-1, *[1] * (value.ndim - 1)).astype(np.float32)
            folded[f"{layer}.bias"] = shift.astype(np.float32)
    if "norm.running_var" in state:
        scale, shift = _affine(state, "norm")
        weight = state["output.weight"].astype(np.float64)
        folded["output.weight"] = (weight * scale).astype(np.float32)
        folded["output.bias"] = (state["output.bias"] + weight @ shift).astype(np.float32)
    return folded


def _norm_of(layer: str) -> str | None:
    """The norm that follows the module `layer`, as in `rnns.0.project`; None where there is none."""
    parent, _, product = layer.rpartition(".")
    return f"{parent}.norm" if product in PRODUCTS else None


def _is_of_norm(name: str) -> bool:
    return name.split(".")[-2:-1] == ["norm"]


def _affine(state: Mapping[str, Array], norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gamma, beta, mean, var = (
        state[f"{norm}.{name}"].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + EPS)
    return scale, beta - scale * mean
