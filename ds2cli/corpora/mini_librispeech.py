"""Mini LibriSpeech: 5 hours for training, 2 for development.

What       A part of LibriSpeech at 16 kHz, to try things out.
License    CC-BY 4.0 (subset of LibriSpeech by Daniel Povey and others).
Source     OpenSLR 31; SRC is the folder "LibriSpeech" that its archives unpack to. --download fetches what is not in
           SRC (460 MB) and verifies the checksums; after an interruption the same command continues.
Layout     That of LibriSpeech (ds2 prepare librispeech --help), with the subsets train-clean-5 and dev-clean-2, which
           --part selects. Their utterances have the ids that they have in LibriSpeech.
Dropped    Texts without a recording, recordings without a text, and folders that cannot be read.

Example: ds2 prepare mini_librispeech LibriSpeech data/train.jsonl --part train-clean-5 --download
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ds2cli.config.base import setting
from ds2cli.corpora import librispeech
from ds2cli.corpora._download import SILENT, Report
from ds2cli.drops import Ledger
from ds2cli.manifest import Row

CHECKSUMS = {
    "dev-clean-2": "6d7ab67ac6a1d2c993d050e16d61080d",
    "train-clean-5": "5df7d4e78065366204ca6845bb08f490",
}
"""The MD5 checksums that OpenSLR publishes for the archives of the subsets."""


@dataclass(frozen=True, kw_only=True)
class Options(librispeech.Options):
    """Settings of Mini LibriSpeech."""

    part: str = setting("all", help="Subsets: train-clean-5, dev-clean-2, or all of those in SRC.")


def fetch(source: str, config: Options, report: Report = SILENT) -> None:
    """Download the subsets in `config.part` that are not in `source`."""
    librispeech.fetch_subsets(source, config, 31, CHECKSUMS, report)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of the subsets in `config.part`, or of all subsets in `source`."""
    yield from librispeech.prepare(source, config, ledger)
