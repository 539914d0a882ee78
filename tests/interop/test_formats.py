"""Formats are found by their file names, also in folders of plugins."""

import pytest

from ds2cli.errors import UsageError
from ds2cli.interop import format_names, load_format
from tests.interop.conftest import FORMATS

PLUGIN = '''"""Lines: an id and a path each."""

import os
from pathlib import Path

from ds2cli.config.interop import ExportConfig as ExportOptions
from ds2cli.config.interop import ImportConfig as ImportOptions
from ds2cli.interop._found import Found

MAIN = "lines.txt"
FILES = (MAIN,)


def read(source, config, ledger):
    lines = Path(source, MAIN).read_text().splitlines()
    return Found(({"id": name, "audio_filepath": path}, False) for name, path in map(str.split, lines))


def write(open_rows, folder, config, ledger):
    rows = list(ledger.count_kept(open_rows(ledger)))
    Path(folder).mkdir()
    Path(folder, MAIN).write_text("".join(f"{r['id']} {r['audio_filepath']}\\n" for r in rows))
'''


def test_the_formats():
    assert format_names() == list(FORMATS)
    with pytest.raises(UsageError, match="unknown format 'x'"):
        load_format("x")


def test_a_format_in_a_folder_of_plugins(ds2, jsonl, recordings, tmp_path, monkeypatch):
    (tmp_path / "plugins/interop").mkdir(parents=True)
    (tmp_path / "plugins/interop/my_lines.py").write_text(PLUGIN)
    monkeypatch.setenv("DS2_PLUGINS", str(tmp_path / "plugins"))
    jsonl(
        tmp_path / "rows.jsonl", [{"id": "b", "audio_filepath": "mono.wav"}, {"id": "c", "audio_filepath": "mono.wav"}]
    )
    assert "my-lines" in ds2("data", "export", "--help").stdout
    done = ds2("data", "export", "my-lines", "rows.jsonl", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = ds2("data", "import", "my-lines", "out", "back.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = {"audio_filepath": "mono.wav", "duration": 4.0, "sample_rate": 16000}
    assert jsonl(tmp_path / "back.jsonl") == [{"id": "b", **row}, {"id": "c", **row}]
