"""What other commands refuse, and `ds2 data fix` makes rows of: a JSON list, rows of NeMo."""

import json
import re
import shlex
from pathlib import Path

import pytest

from ds2cli import manifest
from ds2cli.checks.faults import Tally
from ds2cli.config.data import ValidateConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.stages import data_fix, data_repair
from ds2cli.stages.data_validate import Validation, open_source
from ds2cli.stages.lm import read_sentences

NEMO = [
    {"audio_filepath": "wavs/b.wav", "offset": None, "duration": None, "text": "one"},
    {"audio_filepath": "wavs/a.wav", "offset": 1.5, "duration": 2.0, "text": "two"},
    {"audio_filepath": "wavs/a.wav", "offset": 3.5, "duration": 1.0, "text": "three", "lang": None},
    {"audio_filepath": "wavs/b.flac", "text": "four"},
]
IDS = ["wavs-a-00001500", "wavs-a-00003500"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wavs").mkdir()
    for name in ("a.wav", "b.wav", "b.flac"):
        (tmp_path / "wavs" / name).touch()
    return tmp_path


def validate_all(path):
    return Validation(ValidateConfig(), Tally(), lambda _: {}).check([open_source(path, Path(), 0)])


def repair(path):
    ledger = Ledger()
    rows = list(data_fix.fix(data_repair.sort(path, ledger, make_ids=True), ledger))
    return rows, ledger


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(NEMO),
        json.dumps(NEMO, indent=2),
        "\n\n[\n" + ",\n".join(map(json.dumps, NEMO)) + "\n]\n",
        "\n".join(json.dumps(row, indent=1) for row in NEMO),
        "\n".join(map(json.dumps, NEMO)),
    ],
    ids=["one line", "indented", "a row per line", "objects over several lines", "JSON Lines without ids"],
)
def test_a_json_list_and_rows_of_nemo_become_rows(folder, text):
    (folder / "list.json").write_text(text)
    rows, ledger = repair("list.json")
    assert [row["text"] for row in rows] == ["two", "three", *[rows[i]["text"] for i in (2, 3)]]
    assert [row["id"] for row in rows[:2]] == IDS
    # of two files of one name, each has a hash of its path in its id
    assert all(re.fullmatch(r"wavs-b-[0-9a-f]{12}", row["id"]) for row in rows[2:])
    assert {row["text"] for row in rows[2:]} == {"one", "four"}
    assert all(None not in row.values() for row in rows) and "offset" not in rows[2]
    assert ledger.rows == [] and ledger.notes[0].startswith("4 rows had no id")
    manifest.write("rows.jsonl", rows)
    assert list(manifest.read("rows.jsonl", ("id", "audio_filepath", "text"))) == rows


def test_the_bad_rows_of_a_list_are_dropped_by_line(folder):
    rows = ['{"id":"b","text":"x"}', '{"id":"a","text":3}', '{"text":"no path"}', "[]", '{"id":"c","text":"\\ud800"}']
    (folder / "list.json").write_text("[\n" + ",\n".join([*rows, '{"id":"b","text":"y"}']) + "\n]")
    kept, ledger = repair("list.json")
    assert kept == [{"id": "b", "text": "x"}]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [
        ("list.json:3", "wrong-type"),
        ("list.json:4", "no-id"),
        ("list.json:5", "not-json"),
        ("list.json:6", "not-utf8"),
        ("list.json:7", "duplicate-id"),
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ('[{"id":"a"},\n{"id":"b"}', "list.json:2: not JSON: the line is incomplete"),
        ('[\n{"id":"a"}\n{"id":"b"}\n]', "list.json:3: not JSON: expected a comma"),
        ("[\n{'id':'a'}\n]", "list.json:2: not JSON: expected a name in double quotes"),
        ('[{"id":' + "[" * 100000, "list.json: not JSON: its lists or objects are too deeply nested"),
    ],
)
def test_a_broken_list_is_one_line(folder, text, message):
    (folder / "list.json").write_text(text)
    with pytest.raises(DataError) as e:
        repair("list.json")
    assert str(e.value).startswith(message)


@pytest.mark.parametrize("path", ["my list.json", "a.jsonl", "list"])
@pytest.mark.parametrize(
    "read",
    [
        lambda path: manifest.read(path, ledger=Ledger()),
        lambda path: validate_all(path),
        lambda path: read_sentences(str, [path], Ledger()),
    ],
)
def test_the_command_that_the_error_names_helps(folder, path, read):
    (folder / path).write_text(json.dumps([{"id": "b"}, {"id": "a"}], indent=1))
    with pytest.raises(DataError, match=r"expected one object per line \(ds2 data fix ") as e:
        list(read(path))
    _, _, _, source, out = shlex.split(re.search(r"\((ds2 data fix .*) writes it so\)$", str(e.value))[1])
    manifest.write(out, repair(source)[0])
    assert [row["id"] for row in manifest.read(out)] == ["a", "b"]


def test_a_text_that_starts_with_a_tag_is_no_list(folder):
    (folder / "text").write_text("[noise] one\ntwo\n")
    assert list(read_sentences(str, ["text"], ledger := Ledger())) == ["two"]
    assert ledger.dropped == 1
