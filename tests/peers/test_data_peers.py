"""Exports of `ds2 data export` are read by the libraries of the formats. lhotse's are in tests/interop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.interop.conftest import export_rows, import_rows

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build/data-peers"
pytestmark = [pytest.mark.slow, pytest.mark.peer]


@pytest.fixture
def rows(shared_data):
    """Whole recordings, and parts of one."""
    flacs = sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    rows = []
    for path in flacs:
        seconds = soundfile.info(path).frames / 16000
        row = {"id": path.stem, "audio_filepath": str(path), "duration": seconds, "text": f"text of {path.stem}"}
        rows += [{**row, "speaker": path.stem.split("-")[0], "lang": "en"}]
        rows += [
            {**row, "id": f"{path.stem}-part", "offset": 0.5, "duration": 1.25, "words": [{"word": "a", "start": 1}]}
        ]
    return rows


def read_with_peer(name, folder):
    if not PEERS.is_dir():
        pytest.skip("the libraries are not installed (make data-peers)")
    command = [sys.executable, str(Path(__file__).with_name("read_data.py")), name, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(PEERS), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_nemo_reads_the_manifest(rows, tmp_path):
    export_rows("nemo", rows, tmp_path / "data")
    found = read_with_peer("nemo", tmp_path / "data")
    assert [os.path.realpath(item["audio_file"]) for item in found] == [r["audio_filepath"] for r in rows]
    for name in ("duration", "text", "offset", "speaker", "lang"):
        assert [item[name] for item in found] == [row.get(name) for row in rows]


@pytest.mark.parametrize("options", [{}, {"copy": True, "format": "wav"}])
def test_datasets_reads_the_folder(rows, tmp_path, options):
    export_rows("hf-audiofolder", rows, tmp_path / "data", **options)
    found = sorted(read_with_peer("hf-audiofolder", tmp_path / "data"), key=lambda row: row["id"])
    assert [(r["id"], r["transcription"], r["duration"]) for r in found] == [
        (r["id"], r["text"], r["duration"]) for r in rows
    ]
    assert [row["frames"] for row in found] == [round(row["duration"] * 16000) for row in rows]
    assert import_rows("hf-audiofolder", tmp_path / "data")[0] == rows
