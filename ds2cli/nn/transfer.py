"""Take the weights of a trained network into a new one (`--init`), as far as they fit. V output symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.network import Network
from ds2cli.text.vocab import Vocab

STATISTICS = ("mean", "std")
"""Of the features: a network keeps its own."""
OUTPUT = "output."
MAX_NAMED = 3
"""Weights named in a message."""


@dataclass(frozen=True)
class Transfer:
    """Which weights a network takes from another.

    taken: names of weights with the same name and shape.  symbols: (index, index there) of the output symbols that both
    have; empty if the output layers have different inputs.  left: what does not fit: name, shape, shape there or None.
    values, total: numbers taken, and of all weights.
    """

    taken: tuple[str, ...]
    symbols: tuple[tuple[int, int], ...]
    left: tuple[tuple[str, tuple[int, ...], tuple[int, ...] | None], ...]
    missing_symbols: tuple[str, ...]
    values: int
    total: int

    @property
    def complete(self) -> bool:
        """Whether all weights are taken, of all output symbols."""
        return self.values == self.total

    def describe(self) -> str:
        """`12 of 18 weights (1,234 of 12,345 values), 28 of 29 output symbols; not …`, with what does not fit."""
        weights = f"{len(self.taken)} of {len(self.taken) + len(self.left)} weights"
        text = f"{weights} ({self.values:,} of {self.total:,} values)"
        parts = [_describe_left(*weight) for weight in self.left[:MAX_NAMED]]
        parts += [f"{len(self.left) - MAX_NAMED} more weights"] if len(self.left) > MAX_NAMED else []
        if self.symbols and self.missing_symbols:
            parts.append(f"{len(self.missing_symbols)} output symbols, such as {self.missing_symbols[0]!r}")
        return f"{text}; not {', '.join(parts)}" if parts else text


def plan_transfer(model: Network, vocab: Vocab, other: TrainedModel) -> Transfer:
    """Compare names and shapes; `model` may be on the meta device.

    The output layer is taken symbol by symbol, for the symbols that both vocabularies contain, if the layers before it
    have the same size. A count of batches is taken with the statistics that it belongs to.
    """
    weights: Mapping[str, Tensor] = {n: v for n, v in model.state_dict().items() if n not in STATISTICS}
    source = other.model.state_dict()
    ids = {symbol: i for i, symbol in enumerate(other.vocab.symbols)}
    shared = tuple((i, ids[symbol]) for i, symbol in enumerate(vocab.symbols) if symbol in ids)
    output_fits = all(
        name in source and value.shape[1:] == source[name].shape[1:]
        for name, value in weights.items()
        if name.startswith(OUTPUT)
    )
    taken, left, values = [], [], 0
    for name, value in weights.items():
        if name.startswith(OUTPUT) and output_fits:
            taken.append(name)
            values += len(shared) * value[0].numel()
        elif not name.startswith(OUTPUT) and name in source and source[name].shape == value.shape and value.dim():
            taken.append(name)
            values += value.numel()
        elif value.dim():
            there = tuple(source[name].shape) if name in source else None
            left.append((name, tuple(value.shape), there))
    missing = tuple(symbol for symbol in vocab.symbols if symbol not in ids)
    total = sum(value.numel() for value in weights.values() if value.dim())
    return Transfer(tuple(taken), shared if output_fits else (), tuple(left), missing, values, total)


def transfer_weights(model: Network, vocab: Vocab, other: TrainedModel) -> Transfer:
    """Initialize `model` in place from the weights of `other`, as `plan_transfer` finds; returns the plan."""
    plan = plan_transfer(model, vocab, other)
    weights, source = model.state_dict(), other.model.state_dict()
    modules = {name.rpartition(".")[0] for name, _, _ in plan.left}
    for name in plan.taken:
        if name.startswith(OUTPUT):
            rows, source_rows = map(list, zip(*plan.symbols, strict=True))
            weights[name][rows] = source[name][source_rows]
        else:
            weights[name].copy_(source[name])
    for name, value in weights.items():
        if not value.dim() and name in source and name.rpartition(".")[0] not in modules:
            value.copy_(source[name])
    return plan


def _describe_left(name: str, shape: tuple[int, ...], there: tuple[int, ...] | None) -> str:
    size, other = "x".join(map(str, shape)), "none there" if there is None else f"{'x'.join(map(str, there))} there"
    return f"{name} ({size}, {other})"
