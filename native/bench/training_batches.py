"""Batches on which training steps are timed: those of a recipe, or noise of the same shape if its data are missing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ds2cli import manifest
from ds2cli.config.base import build, read_toml
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.train.batches import Batch, load_batch
from ds2cli.train.batching import plan_batches
from ds2cli.train.data import prepare_job

BINS, SYMBOLS, HOP_MS = 161, 29, 10


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the batches."""
    recipe = Path(__file__).parents[2] / "egs/asterisk"
    parser.add_argument("--recipe", type=Path, default=recipe, help="folder with conf/train.toml and data/")
    parser.add_argument("--config", nargs="+", default=[], help="further config files, e.g. the recipe's conf/gru.toml")
    parser.add_argument("--lang", default="en", help="folder inside data/")
    parser.add_argument("--batches", type=int, default=20, help="number of batches")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps per batch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")


def read_recipe(options: argparse.Namespace) -> tuple[TrainConfig, Path]:
    """The recipe's settings and the manifest of its training set; prints which data are used."""
    conf = str(options.recipe / "conf/train.toml")
    rows = options.recipe / "data" / options.lang / "train.feats.jsonl"
    print(f"{options.recipe.name}, {'batches of the recipe' if rows.exists() else 'noise, as its data are missing'}")
    return build(TrainConfig, *((path, read_toml(path)) for path in (conf, *options.config))), rows


def make_batches(config: TrainConfig, rows: Path) -> tuple[int, int, Iterator[Batch]]:
    """Number of symbols, number of bins, and batches: the recipe's, or noise if its manifest does not exist."""
    return make_recipe_batches(config, rows) if rows.exists() else make_noise_batches(config)


def make_recipe_batches(config: TrainConfig, rows: Path) -> tuple[int, int, Iterator[Batch]]:
    """Number of symbols, number of bins, and the batches of the recipe's second epoch."""
    utterances = manifest.read(str(rows), ("id", "text"))
    job = prepare_job(config, utterances, None, "", FeatureConfig().features(), Ledger())
    frames = [u.num_frames for u in job.train]
    planned = plan_batches(frames, round(config.batch_s * 1000 / HOP_MS), config.seed, 1)
    batches = (load_batch([job.train[i] for i in batch], job.train_features, 1) for batch in planned)
    return len(job.vocab), len(job.mean), batches


def make_noise_batches(config: TrainConfig) -> tuple[int, int, Iterator[Batch]]:
    """Number of symbols, number of bins, and batches of noise: utterances of 1 to 8 s with 14 labels per second."""

    def draw() -> Iterator[Batch]:
        rng = np.random.default_rng(config.seed)
        while True:
            frames = int(rng.uniform(1, 8) * 1000 / HOP_MS)
            N, L = max(int(config.batch_s * 1000 / HOP_MS / frames), 1), 14 * frames * HOP_MS // 1000
            feats = torch.from_numpy(rng.standard_normal((N, frames, BINS), np.float32))
            targets = torch.from_numpy(rng.integers(1, SYMBOLS, (N, L)))
            yield Batch([str(i) for i in range(N)], feats, torch.full((N,), frames), targets, torch.full((N,), L))

    return SYMBOLS, BINS, draw()
