"""Reading the JSON of several gigabytes entry by entry: files that are whole, cut off and broken."""

import json
import tracemalloc

import pytest

from ds2cli.corpora import _segments_json
from ds2cli.corpora._segments_json import find_split, parse_parts, read_entries
from ds2cli.errors import DataError, UsageError

DOCUMENT = {
    "dataset": "GigaSpeech",
    "version": 1.25,
    "nested": {"audios": [1, 2], "text": 'a "quoted" } ] text'},
    "audios": [{"aid": f"é{i}", "segments": [{"text": "ü" * (i % 7)}] * (i % 5)} for i in range(50)],
    "after": [],
}


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_entries_are_those_of_json(tmp_path, monkeypatch, chunk, indent, ascii_only):
    monkeypatch.setattr(_segments_json, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, "utf-8")
    entries = list(read_entries(str(path)))
    assert [entry for _, entry in entries] == DOCUMENT["audios"]
    lines = text.splitlines()
    assert all(lines[number - 1].lstrip().startswith("{") for number, _ in entries)
    assert indent is None or len({number for number, _ in entries}) == 50


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
def test_wherever_a_file_is_cut_off_it_is_an_error(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(_segments_json, "_CHUNK", chunk)
    text = json.dumps({"v": 1, "audios": [{"a": "b\\n", "n": -1.5e3}, {"c": [True, None]}]})
    for end in range(1, text.index("]}]") + 2):
        (tmp_path / "a.json").write_text(text[:end])
        with pytest.raises(DataError, match=r"a.json:1: not JSON: .*(end|expected)"):
            list(read_entries(str(tmp_path / "a.json")))


@pytest.mark.parametrize(
    "text, message",
    [
        ('["audios"]', r"a.json:1: not JSON: expected an object with the list 'audios', found '\['"),
        ('{\n"audio": []}', "a.json: no list 'audios' in this file, expected the format of GigaSpeech or WenetSpeech"),
        ('{"audios": {}}', "expected a list, found '{'"),
        ('{"audios": [{} {}]}', "expected a comma or the end of the list, found '{'"),
        ('{"audios": [\n{},\n{"a" 1}' + " " * 100 + "]}", "a.json:3: not JSON: expected a colon"),
        ('{"audios": [\n{"a": \'b\'}' + " " * 100 + "]}", "a.json:2: not JSON: expected a value"),
        ('{"audios": [' + "[" * 100_000, "too deeply"),
        ("", "the file ends too early"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_entries(str(tmp_path / "a.json")))


def test_an_entry_that_never_ends_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_segments_json, "_CHUNK", 100)
    monkeypatch.setattr(_segments_json, "_LARGEST", 1000)
    (tmp_path / "a.json").write_text('{"audios": [{"text": "' + "x" * 100_000)
    with pytest.raises(DataError, match="not JSON: an entry has no end"):
        list(read_entries(str(tmp_path / "a.json")))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path, entry = tmp_path / "a.json", {"segments": [{"text": "a word " * 20}] * 100}
    with path.open("w") as f:
        f.write('{"audios": [')
        f.writelines(json.dumps(entry) + "," for _ in range(1500))
        f.write(json.dumps(entry) + "]}")
    assert path.stat().st_size > 20e6
    tracemalloc.start()
    assert sum(len(entry["segments"]) for _, entry in read_entries(str(path))) == 150_100
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


def test_parts_are_named_with_or_without_braces():
    assert parse_parts("all", ("XS", "S")) is None
    assert parse_parts("{xs}, S", ("XS", "S")) == {"XS", "S"}
    with pytest.raises(UsageError, match="--part XXL: expected all, or some of XS, S"):
        parse_parts("S,XXL", ("XS", "S"))


def test_the_split_is_that_of_the_evaluation_set():
    assert find_split(frozenset({"L", "M"})) == "train"
    assert find_split(frozenset({"TEST_NET"})) == "test_net"
    assert find_split(frozenset()) == "train"
