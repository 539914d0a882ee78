"""One network from several of a training: the mean of their weights and running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import dump_model, load_model


def average(paths: Sequence[str | Path]) -> bytes:
    """The bytes of a safetensors file with the mean of the networks at `paths`.

    UsageError for fewer than two; DataError when one cannot be read, or has other settings, symbols or features.
    """
    if len(paths) < 2:
        raise UsageError("model average: needs two networks or more (ds2 train --keep-best 5 keeps them)")
    first = load_model(paths[0])
    sums = {name: value.double() for name, value in first.model.state_dict().items()}
    for path in paths[1:]:
        other = load_model(path)
        for what, mine, theirs in (
            ("settings", first.model.config, other.model.config),
            ("symbols", first.vocab, other.vocab),
            ("features", first.features, other.features),
        ):
            if mine != theirs:
                raise DataError(f"{path}: its {what} are not those of {paths[0]}")
        for name, value in other.model.state_dict().items():
            sums[name] += value
    kinds = {name: value.dtype for name, value in first.model.state_dict().items()}
    mean = {name: (total / len(paths)).to(kinds[name]) for name, total in sums.items()}
    made = {"average_of": [str(path) for path in paths]}
    return dump_model(mean, first.model.config, first.vocab, first.features, made)
