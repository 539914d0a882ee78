"""The correction of word times that `ds2 align --tune` saves in an experiment."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from ds2cli import __version__
from ds2cli.config.base import MADE_BY, build
from ds2cli.config.timing import TimingConfig
from ds2cli.experiment_files import open_files
from ds2cli.io import open_out
from ds2cli.search.timing import Timing

TIMING_FILE = "align.toml"
"""File of an experiment with the settings found by `ds2 align --tune`."""

T = TypeVar("T", bound=TimingConfig)


def resolve_timing(config: T, exp: str) -> T:
    """Fill in the settings of the correction that are None: from EXP/align.toml, else 0.

    UsageError if the file is needed, and is not a correction.
    """
    unset = [f.name for f in fields(TimingConfig) if getattr(config, f.name) is None]
    tuned = read_timing(exp) if unset else TimingConfig()
    return replace(config, **{name: getattr(tuned, name) or 0.0 for name in unset})


def read_timing(exp: str) -> TimingConfig:
    """The settings in EXP/align.toml; all unset without that file. UsageError if it contains others."""
    files = open_files(exp)
    return build(TimingConfig, (files.where(TIMING_FILE), files.read_toml(TIMING_FILE)))


def timing_of(config: TimingConfig) -> Timing:
    """The correction of resolved settings."""
    return Timing((config.shift_ms or 0.0) / 1000, (config.extend_ms or 0.0) / 1000)


def save_timing(exp: str, timing: Timing, **made_by: object) -> Timing:
    """Write a correction to EXP/align.toml, with a table of its origin, and return it as it is stored."""
    import tomli_w

    values = {"shift_ms": round(1000 * timing.shift_s, 1), "extend_ms": round(1000 * timing.extend_s, 1)}
    with open_out(str(Path(exp) / TIMING_FILE)) as f:
        f.write(tomli_w.dumps({**values, MADE_BY: {"ds2cli": __version__, **made_by}}))
    return Timing(values["shift_ms"] / 1000, values["extend_ms"] / 1000)
