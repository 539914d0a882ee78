"""Rows that are hard to keep, real rows, and round trips through a format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.config.prepare import PrepareConfig
from ds2cli.corpora import load_corpus
from ds2cli.drops import Ledger
from ds2cli.interop import load_format
from ds2cli.stages import data_export, data_import, prepare

FORMATS = ("hf-audiofolder", "kaldi", "lhotse", "nemo")


@dataclass(frozen=True)
class Trip:
    """What came of a round trip: the rows, and the ledgers of both ways. folder: of the export."""

    rows: list
    exported: Ledger
    imported: Ledger
    folder: Path


def import_rows(name, source, **options):
    """The rows of a source and the ledger."""
    ledger = Ledger()
    rows = list(ledger.count_kept(data_import.run(name, str(source), _options(name, "Import", options), ledger)))
    return rows, ledger


def export_rows(name, rows, folder, **options):
    """Write rows in a format; the ledger."""
    file = folder.with_name(f"{folder.name}.jsonl")
    manifest.write(str(file), rows)
    ledger = Ledger()
    data_export.run(name, str(file), str(folder), _options(name, "Export", options), ledger, iter)
    return ledger


def _options(name, way, options):
    return getattr(load_format(name), f"{way}Options")(**options)


def real_paths(rows):
    """The rows with their paths resolved, so that those to the same file are equal."""
    return [manifest.map_paths({**row}, os.path.realpath) | _resolved(row) for row in rows]


def _resolved(row):
    return {name: os.path.realpath(row[name]) for name in manifest.PATH_FIELDS if row.get(name)}


@pytest.fixture
def round_trip(tmp_path):
    """Export rows and import them again: (format, rows, export options) → Trip."""

    def run(name, rows, **options):
        folder = tmp_path / f"{name}-data"
        exported = export_rows(name, rows, folder, **options)
        found, imported = import_rows(name, folder)
        return Trip(found, exported, imported, folder)

    return run


@pytest.fixture(scope="session")
def librispeech(shared_data):
    """The rows of all LibriSpeech recordings."""
    config = load_corpus("librispeech").Options(check="header")
    assert isinstance(config, PrepareConfig)
    rows = list(prepare.run("librispeech", str(shared_data / "LibriSpeech"), config, Ledger()))
    assert len(rows) > 300
    return rows


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of noise, of one channel and of two: (mono.wav of 4 s at 16 kHz, stereo.wav of 3 s at 8 kHz)."""
    rng = np.random.default_rng(1)
    mono, stereo = tmp_path / "mono.wav", tmp_path / "my stereo.wav"
    soundfile.write(mono, 0.1 * rng.normal(size=64000), 16000)
    soundfile.write(stereo, 0.1 * rng.normal(size=(24000, 2)), 8000)
    return str(mono), str(stereo)


@pytest.fixture
def hard_rows(recordings, tmp_path):
    """Segments, channels, texts and fields for which formats have no place."""
    mono, stereo = recordings
    with ArkWriter(tmp_path / "f.ark") as ark:
        feats = [ark.write(name, np.full((30, 4), 0.5, np.float32)) for name in ("a-1", "b-1")]
    return [
        {"id": "a-1", "audio_filepath": mono, "offset": 0.1, "duration": 0.2, "text": "two  spaces ", "speaker": "a b",
         "feats": feats[0], "num_frames": 30, "lang": "en"},
        {"id": "a-2", "audio_filepath": mono, "offset": 0, "duration": 4, "text": "çok iyi 你好", "note": None},
        {"id": "b-1", "audio_filepath": stereo, "channel": 1, "offset": 0.333333, "duration": 1.000001, "text": "",
         "speaker": "b", "gender": "female", "feats": feats[1], "num_frames": 30},
        {"id": "b-2", "audio_filepath": stereo, "channel": 0, "duration": 3.0, "speaker": "B", "gender": "x",
         "words": [{"word": "hi", "start": 0.1, "end": 0.2, "conf": 1}]},
        {"id": "c", "audio_filepath": stereo, "duration": 3.0, "text": "all channels", "lang": "pt-BR", "score": -1e-7,
         "sample_rate": 8000, "nested": {"array": [1, 2.5, "x"], "sources": {}}, "recording": "the-call"},
        {"id": "é/d", "audio_filepath": mono, "duration": 3.5, "text": "a\u00a0b\u200bc", "offset": 1e-06},
    ]  # fmt: skip
