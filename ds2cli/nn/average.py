"""Checkpoint averaging: the mean of the weights and running statistics of several networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import dump_model, load_model


def average_models(paths: Sequence[str | Path]) -> bytes:
    """Average the networks at `paths`; returns the bytes of a safetensors file.

    UsageError for fewer than two paths; DataError when a file cannot be read, or when the networks differ in settings,
    symbols or features.
    """
    if len(paths) < 2:
        raise UsageError("model average: expected at least two networks (ds2 train --keep-best 5 keeps them)")
    first = load_model(paths[0])
    sums = {name: value.double() for name, value in first.model.state_dict().items()}
    for path in paths[1:]:
        other = load_model(path)
        for part, expected, found in (
            ("settings", first.model.config, other.model.config),
            ("symbols", first.vocab, other.vocab),
            ("features", first.features, other.features),
        ):
            if expected != found:
                raise DataError(f"{path}: its {part} differ from those of {paths[0]}")
        for name, value in other.model.state_dict().items():
            sums[name] += value
    dtypes = {name: value.dtype for name, value in first.model.state_dict().items()}
    mean = {name: (total / len(paths)).to(dtypes[name]) for name, total in sums.items()}
    metadata = {"average_of": [str(path) for path in paths]}
    return dump_model(mean, first.model.config, first.vocab, first.features, metadata)
