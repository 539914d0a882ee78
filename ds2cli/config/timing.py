"""Settings of the correction of word times."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class TimingConfig(Config):
    """The systematic error of a network's word times; None until resolved: then that in EXP/align.toml, else 0."""

    shift_ms: float | None = setting(
        None, help="Subtract this from all times (ms) [default: tuned value or 0].", min=-1000, max=1000
    )
    extend_ms: float | None = setting(
        None,
        help="Let words end this much later, up to the next one (ms) [default: tuned value or 0].",
        min=0,
        max=1000,
    )
