"""The recordings that augmentation mixes in: noise and room impulse responses."""

from __future__ import annotations

from ds2cli import manifest
from ds2cli.audio.pool import RecordingPool, open_pool
from ds2cli.config.augment import AugmentConfig
from ds2cli.drops import Ledger


def open_pools(config: AugmentConfig) -> tuple[RecordingPool | None, RecordingPool | None]:
    """The recordings of `config.noise` and `config.rir`, None where not set; unusable ones are in their `failures`.

    Raises DataError when a manifest cannot be read, or none of its recordings can be used.
    """
    return _open_pool(config.noise, "augment.noise"), _open_pool(config.rir, "augment.rir")


def _open_pool(path: str | None, setting: str) -> RecordingPool | None:
    if not path:
        return None
    ledger = Ledger()
    pool = open_pool(list(manifest.read(path, ("id", "audio_filepath"), ledger)), f"{setting} {path}")
    pool.failures.update({row["id"]: f"{row['reason']}: {row['detail']}" for row in ledger.rows})
    return pool
