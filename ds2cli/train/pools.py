"""The recordings that augmentation mixes in: noise and room impulse responses."""

from __future__ import annotations

from ds2cli import manifest
from ds2cli.audio.pool import Bank, open_bank
from ds2cli.config.augment import AugmentConfig
from ds2cli.drops import Ledger


def banks(config: AugmentConfig) -> tuple[Bank | None, Bank | None]:
    """The banks of config.noise and config.rir, those that are asked for; what they miss is in their `failed`.

    DataError when a manifest cannot be read, or none of its recordings can be used.
    """
    return _bank(config.noise, "augment.noise"), _bank(config.rir, "augment.rir")


def _bank(path: str | None, setting: str) -> Bank | None:
    if not path:
        return None
    ledger = Ledger()
    bank = open_bank(list(manifest.read(path, ("id", "audio_filepath"), ledger)), f"{setting} {path}")
    bank.failed.update({row["id"]: f"{row['reason']}: {row['detail']}" for row in ledger.rows})
    return bank
