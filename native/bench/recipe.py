"""Batches to time training steps on: those of a recipe, or, where its data are not there, noise of the same shape."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ds2cli import manifest
from ds2cli.config.base import build, read_toml
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.train.batches import Batch, load
from ds2cli.train.data import prepare
from ds2cli.train.examples import plan

BINS, SYMBOLS, HOP_MS = 161, 29, 10


def options(parser: argparse.ArgumentParser) -> None:
    """What chooses the batches."""
    recipe = Path(__file__).parents[2] / "egs/asterisk"
    parser.add_argument("--recipe", type=Path, default=recipe, help="folder with conf/train.toml and data/")
    parser.add_argument("--config", nargs="+", default=[], help="more settings, as conf/gru.toml of the recipe")
    parser.add_argument("--lang", default="en", help="folder inside data/")
    parser.add_argument("--batches", type=int, default=20, help="batches to step on")
    parser.add_argument("--repeats", type=int, default=3, help="steps to time on each")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")


def settings(given: argparse.Namespace) -> tuple[TrainConfig, Path]:
    """The recipe's settings, and the manifest of its training set; says on which data the figures are."""
    conf = str(given.recipe / "conf/train.toml")
    rows = given.recipe / "data" / given.lang / "train.feats.jsonl"
    print(f"{given.recipe.name}, {'batches of the recipe' if rows.exists() else 'noise: its data are not there'}")
    return build(TrainConfig, *((path, read_toml(path)) for path in (conf, *given.config))), rows


def batches(config: TrainConfig, rows: Path) -> tuple[int, int, Iterator[Batch]]:
    """Symbols, bins and the batches of the second epoch."""
    return real(config, rows) if rows.exists() else synthetic(config)


def real(config: TrainConfig, rows: Path) -> tuple[int, int, Iterator[Batch]]:
    """Symbols, bins and the batches of the recipe's second epoch."""
    read = manifest.read(str(rows), ("id", "text"))
    job = prepare(config, read, None, "", SpectrogramConfig().features(), Ledger())
    frames = [u.num_frames for u in job.train]
    planned = plan(frames, round(config.batch_s * 1000 / HOP_MS), config.seed, 1)
    return len(job.vocab), len(job.mean), (load([job.train[i] for i in batch], job.see, 1) for batch in planned)


def synthetic(config: TrainConfig) -> tuple[int, int, Iterator[Batch]]:
    """Noise instead: utterances of 1 to 8 s, of like length in a batch, with 14 labels a second."""

    def made() -> Iterator[Batch]:
        rng = np.random.default_rng(config.seed)
        while True:
            frames = int(rng.uniform(1, 8) * 1000 / HOP_MS)
            N, L = max(int(config.batch_s * 1000 / HOP_MS / frames), 1), 14 * frames * HOP_MS // 1000
            feats = torch.from_numpy(rng.standard_normal((N, frames, BINS), np.float32))
            targets = torch.from_numpy(rng.integers(1, SYMBOLS, (N, L)))
            yield Batch([str(i) for i in range(N)], feats, torch.full((N,), frames), targets, torch.full((N,), L))

    return SYMBOLS, BINS, made()
