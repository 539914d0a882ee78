"""Find the weights of a language model for an experiment: one pass of the network, then every point of a grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from ds2cli import __version__
from ds2cli.config.base import MADE_BY
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out
from ds2cli.kernels.prefix import CHAR_LM
from ds2cli.manifest import Row
from ds2cli.search.beam import BeamSearch
from ds2cli.search.tune import Grid, Trial, Weights, try_all
from ds2cli.stages.decode import TUNED
from ds2cli.stages.emitted import Network, emitted

TEST_NAME = re.compile(r"(^|[^a-z])test($|[^a-z])")


def refuse_test_set(path: str) -> None:
    """UsageError when the file is named as a test set: rates on a set that was tuned on mean nothing."""
    if TEST_NAME.search(Path(path).name.lower()):
        raise UsageError(f"--tune: {path} is named as a test set, its error rate would mean nothing (tune on dev)")


def run(
    config: DecodeConfig, rows: Iterable[Row], ledger: Ledger, network: Network, search: BeamSearch, unit: str
) -> Iterator[Trial]:
    """Yield a trial for each point of the grid.

    UsageError when a row says that it belongs to a test set, DataError when there is nothing to tune on.
    """
    items = [item for some in emitted(map(_not_of_test, rows), ledger, network, times=False) for item in some]
    ledger.kept += len(items)
    if not items:
        raise DataError("--tune: no utterance with a text and an emission to tune on")
    with ThreadPoolExecutor(config.nj) as pool:

        def decode(weights: Weights) -> Iterable[str]:
            weighed = search.weigh(weights.alpha, weights.beta, weights.unknown)
            return pool.map(lambda item: weighed(item.log_probs)[0].text, items)

        yield from try_all(grid_of(config, search), decode, [item.row["text"] for item in items], unit)


def grid_of(config: DecodeConfig, search: BeamSearch) -> Grid:
    """The grid of the settings; UsageError when a weight has no value to try.

    A character model that knows every symbol never meets an unknown one: one price for it stands for all.
    """
    grid = Grid(config.alphas, config.betas, config.unknowns)
    if not len(grid):
        raise UsageError("--tune: alphas, betas and unknowns must each have a value to try")
    lexicon = search.lexicon
    knows_all = lexicon.kind == CHAR_LM and search.tables.unk not in lexicon.unit[1:]
    return replace(grid, unknowns=grid.unknowns[:1]) if knows_all else grid


def save(config: DecodeConfig, exp: str, best: Trial, **made: str) -> None:
    """Keep the weights in EXP/decode.toml, where `ds2 decode` looks for them, and how they came to be."""
    import tomli_w

    with open_out(str(Path(exp) / TUNED)) as f:
        f.write(tomli_w.dumps({**asdict(best.weights), MADE_BY: {"ds2cli": __version__, "lm": config.lm, **made}}))


def _not_of_test(row: Row) -> Row:
    for name in ("part", "split"):
        if str(row.get(name, "")).startswith("test"):
            what = f"{row['id']} has {name} {row[name]!r}"
            raise UsageError(f"--tune: {what}, an error rate on it would mean nothing (tune on dev)")
    return row
