import itertools
import json
import os
import random
from pathlib import Path

import pytest

from ds2cli import manifest
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError


def rows(*ids):
    return [{"id": i} for i in ids]


def test_unknown_fields_are_kept(tmp_path):
    path = str(tmp_path / "a.jsonl")
    given = [{"id": "é", "text": "你好", "mood": {"x": [1]}}]
    assert manifest.write(path, given) == 1
    assert list(manifest.read(path)) == given


@pytest.mark.parametrize(
    "line, reason",
    [
        ('{"id": "a", "text": "caf\udce9"}\n', "not-utf8"),
        ('{"id": "a", "text": "\\ud800"}\n', "not-utf8"),
        ('{"id": "a", "text": "x"\n', "not-json"),
        ("[1]\n", "not-json"),
        ("\n", "not-json"),
        ('{"id": "a"}\n', "no-text"),
        ('{"id": "a", "text": null}\n', "no-text"),
        ('{"id": "a", "text": 7}\n', "wrong-type"),
        ('{"id": 7, "text": "x"}\n', "wrong-type"),
        ('{"id": "a b", "text": "x"}\n', "wrong-type"),
        ('{"id": "a\\u0000", "text": "x"}\n', "wrong-type"),
        ('{"id": "a\\u001b[31m", "text": "x"}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "duration": "3"}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "duration": NaN}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "duration": true}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "num_frames": 1.5}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "speed": "fast"}\n', "wrong-type"),
        ('{"id": "a", "text": "x", "feats": "a\\u0000.ark:3"}\n', "wrong-type"),
        pytest.param(
            f'{{"id": "a", "text": "x", "duration": {"1" * 400}}}\n', "wrong-type", id="too large for a float"
        ),
        pytest.param(f'{{"id": "a", "text": "x", "n": {"1" * 5000}}}\n', "not-json", id="5000 digits"),
        pytest.param(f'{{"id": "a", "text": "x", "n": {"[" * 200000}}}\n', "not-json", id="deep"),
    ],
)
def test_bad_lines_have_reasons(line, reason):
    with pytest.raises(BadUtterance) as e:
        manifest.parse(line, ("id", "text"))
    assert e.value.reason == reason


@pytest.mark.parametrize(
    "line, message",
    [
        ("\n", "the line is empty: delete it"),
        ('{"id": "a"\n', "not JSON: the line is incomplete, it ends at column 10"),
        ('{"id": a}\n', "not JSON: expected a value at column 8, found 'a}'"),
        (
            "{'id': 1}",
            "not JSON: expected a name in double quotes at column 2, found \"'id': 1}\" "
            "(strings are in double quotes in JSON)",
        ),
        ('{"id": None}', "not JSON: expected a value at column 8, found 'None}' (null in JSON)"),
        ('{"id": "a",}', "not JSON: expected no comma before the } at column 12, found '}'"),
        ('{"id": [1, ]}', "not JSON: expected no comma before the ] at column 12, found ']}'"),
        ('{"id":"a"},', "not JSON: expected the end of the line, one object per line, at column 11, found ','"),
        ('{"id":"a","x":{"y":1,"y":2}}', "not JSON: the field 'y' appears twice"),
        ('{"id":"a","id" :"b"}', "not JSON: the field 'id' appears twice"),
        ('{"id":"a\\":","x":1,"x":NaN}', "not JSON: the field 'x' appears twice"),
        ('{"id":"a","snr":' + "9" * 400 + ".0}", "field 'snr' must be finite, got Infinity (null if it is unknown)"),
        ('{"id":"a","x":[1,{"y":NaN}]}', "field 'x' must be finite, got [1, {\"y\": NaN}] (null if it is unknown)"),
        ('{"id":"a","snr":-1e999}', "field 'snr' must be finite, got -Infinity (null if it is unknown)"),
        (
            '{"id": "a}\n',
            "not JSON: expected a closing quotation mark for the string that starts at column 8, found '\"a}'",
        ),
        ('{"id":"a"}{}', "not JSON: expected the end of the line, one object per line, at column 11, found '{}'"),
        ('{"id":"a\tb"}', "not JSON: expected \\t or \\n for a tab or a line break at column 9, found '\\tb\"}'"),
        ("[1]\n", "expected an object {…}, got a list"),
        ('"a"', "expected an object {…}, got a string"),
        pytest.param('{"a":' * 99999, "not JSON: its lists or objects are too deeply nested", id="deep"),
        pytest.param('{"a":' + "1" * 5000 + "}", "not JSON: a number has too many digits", id="long"),
        ('{"text": "caf\udce9"}', "not UTF-8, perhaps Windows-1252 for 'café' (iconv -f windows-1252 -t utf-8)"),
        ('{"text": "\\uDc00"}', "half a surrogate pair (\\ud800 to \\udfff), expected Unicode text"),
    ],
)
def test_lines_that_are_not_json(line, message):
    with pytest.raises(BadUtterance) as e:
        manifest.parse(line)
    assert e.value.detail == message


def test_a_known_field_that_is_null_is_missing():
    line = '{"id":"a","text":null,"duration":null,"offset":null,"feats":null,"speed":null,"mood":null}'
    assert manifest.parse(line) == {"id": "a", "mood": None}


def test_a_bad_row_is_dropped_and_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"a"}\n{"id":"b"\n{"id":"c"}\n{"id":"c"}\n{"id":"d","text":1}\n{"id":7}\n{"id":""}\n')
    ledger = Ledger()
    assert [r["id"] for r in ledger.count_kept(manifest.read(str(path), ledger=ledger))] == ["a", "c"]
    assert [(r["id"], r["reason"]) for r in ledger.rows] == [
        (f"{path}:2", "not-json"),
        ("c", "duplicate-id"),
        ("d", "wrong-type"),
        (f"{path}:6", "wrong-type"),
        (f"{path}:7", "wrong-type"),
    ]
    assert ledger.kept + ledger.dropped == 7


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n", "\n \t\n\n", "\n\ufeff"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_line_ends_empty_lines_and_byte_order_marks_are_no_part_of_a_row(tmp_path, line_end, codec):
    path, ledger = tmp_path / "a.jsonl", Ledger()
    path.write_bytes("".join(f'{{"id":"{i}","text":"é"}}{line_end}' for i in "abc").encode(codec))
    assert list(manifest.read(str(path), ledger=ledger)) == [{"id": i, "text": "é"} for i in "abc"]
    assert not ledger.rows


def test_empty_lines_count_in_the_numbers_of_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('\n{"id":"a"}\n\n{"id":5}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:4: field 'id'"):
        list(manifest.read(str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize("name", ["n" * 300, "loop", "a\0b", "\ud800", "folder", "none"])
def test_a_manifest_that_cannot_be_opened_is_an_error_of_one_line(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"^\S*/w?.+: [^\n]+$"):
        list(manifest.read(f"{tmp_path}/{name}"))


def test_without_a_ledger_a_bad_row_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"a"}\n{"id":"b"\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        list(manifest.read(str(path)))
    path.write_text('{"id":"a"}\n{"id":"b"}\n{"id":"b"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: id 'b' appears more than once"):
        list(manifest.read(str(path)))


@pytest.mark.parametrize("ledger", [None, Ledger()])
def test_unsorted_ids_are_an_error(tmp_path, ledger):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"b"}\n{"id":"a"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: id 'a' comes after 'b', expected sorted ids \(ds2 data sort\)"):
        list(manifest.read(str(path), ledger=ledger))


def test_order_is_by_code_point():
    names = ["Z", "a", "é", "你", "\U0001f600"]
    assert sorted(names) == sorted(names, key=lambda s: s.encode())


@pytest.mark.parametrize("ids", ["ba", "aa", "aba"])
def test_unsorted_or_repeated_ids_are_not_written(tmp_path, ids):
    path = tmp_path / "a.jsonl"
    with pytest.raises(DataError, match="expected unique sorted ids"):
        manifest.write(str(path), rows(*ids))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_can_be_moved_with_its_manifest(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    manifest.write(str(tmp_path / "data" / "a.jsonl"), [{"id": "a", "audio_filepath": str(tmp_path / "x.wav")}])
    monkeypatch.chdir(tmp_path)
    manifest.write("data/b.jsonl", [{"id": "a", "audio_filepath": "data/wav/x.wav", "feats": "feats/a.ark:12"}])
    line = json.loads((tmp_path / "data" / "b.jsonl").read_text())
    assert line["audio_filepath"] == os.path.join("wav", "x.wav")
    assert line["feats"] == os.path.join("..", "feats", "a.ark:12")
    (read,) = manifest.read("data/b.jsonl")
    assert os.path.normpath(read["audio_filepath"]) == os.path.join("data", "wav", "x.wav")
    (kept,) = manifest.read("data/a.jsonl")
    assert kept["audio_filepath"] == str(tmp_path / "x.wav")


@pytest.mark.parametrize("seed", range(20))
def test_join_is_a_full_outer_join(seed):
    draw = random.Random(seed)
    left, right = (sorted(draw.sample("abcdefgh", draw.randint(0, 8))) for _ in range(2))
    joined = list(manifest.join(rows(*left), rows(*right)))
    expected = [(i if i in left else None, i if i in right else None) for i in sorted({*left, *right})]
    assert [(a and a["id"], b and b["id"]) for a, b in joined] == expected


def test_base_folder_of_files_and_pipes(tmp_path):
    for path, folder in {"-": "", "/dev/null": "", "a.jsonl": "", "/x/a.jsonl": "/x"}.items():
        assert manifest.base_folder(path) == folder
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert manifest.base_folder(str(pipe)) == ""


def test_paths_are_relative_to_a_redirected_file(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    row = {"id": "a", "feats": "feats/a.ark:2"}
    with Path("data/a.jsonl").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        manifest.write("-", [row])
    assert json.loads((tmp_path / "data/a.jsonl").read_text())["feats"] == "../feats/a.ark:2"
    with Path("data/a.jsonl").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert list(manifest.read("-")) == [row]
        assert manifest.base_folder(f"/dev/fd/{file.fileno()}") == str(tmp_path / "data")
    # the stream of a deleted file still has its old name
    with Path("data/b.jsonl").open("w") as file:
        (tmp_path / "data/b.jsonl").unlink()
        assert manifest.base_folder("-", file) == ""
    assert manifest.base_folder("/dev/shm/not-there-yet.jsonl") == "/dev/shm"


@pytest.mark.parametrize("ids, is_sorted", [("Ba", True), ("aB", False), ("aé", True), ("éz", False)])
def test_rows_are_read_in_code_point_order_only(tmp_path, ids, is_sorted):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id":"{i}"}}\n' for i in ids), "utf-8")
    if is_sorted:
        assert [row["id"] for row in manifest.read(str(tmp_path / "a.jsonl"))] == list(ids)
    else:
        with pytest.raises(DataError, match="expected sorted ids"):
            list(manifest.read(str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize(
    "field",
    [
        *(
            '"duration": -0.1',
            '"duration": 1.1e9',
            '"offset": -1',
            '"offset": 1e304',
            '"speed": 0',
            '"num_frames": -1',
            '"hits": -1',
            '"sample_rate": 8e3',
        ),
        *('"num_steps": true', '"step_s": "1"', '"ctc_cost": Infinity', '"pred_score": "0"', '"lang": 1', '"split": 1'),
        *('"speaker": ["a"]', '"words": [1]', '"nbest": {}', '"errors": "none"', '"emission": 3', '"id": ""'),
    ],
)
def test_a_value_outside_the_range_of_its_field_is_refused(field):
    with pytest.raises(BadUtterance, match=rf"wrong-type: field '{field.split(chr(34))[1]}' must be "):
        manifest.parse(f"{{{field}}}\n" if '"id"' in field else f'{{"id": "a", {field}}}\n')


def test_values_at_the_limits_of_their_fields_are_accepted():
    zeros = '"duration":0,"offset":0.0,"num_frames":0,"hits":0,"step_s":0,"speed":1e-9'
    row = f'{{"id":"a",{zeros},"words":[],"nbest":[{{}}],"pred_score":-1e300,"text":"","speaker":"a b","feats":"x y"}}'
    assert manifest.parse(row) == json.loads(row)


def test_a_bad_row_of_standard_input_is_named_by_its_line(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"id":"a"}\n{"id":5}\n')
    with (tmp_path / "a.jsonl").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(DataError, match=r"^<stdin>:2: field 'id'"):
            list(manifest.read("-"))


@pytest.mark.parametrize("name", manifest.PATH_FIELDS)
@pytest.mark.parametrize("folder", ["", "in/"])
def test_an_empty_path_stays_empty(tmp_path, monkeypatch, name, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    source = Path(f"{folder}a.jsonl")
    source.write_text(json.dumps({"id": "a", name: ""}) + "\n")
    manifest.write("out/b.jsonl", manifest.read(str(source)))
    assert json.loads(Path("out/b.jsonl").read_text()) == {"id": "a", name: ""}


def test_paths_are_rebased_as_by_relpath(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    parts = ["a", "b.wav", "..", ".", "", "...", "a b", ".x", "x.", "ü"]
    paths = ["/".join(p) for n in (1, 2, 3) for p in itertools.product(parts, repeat=n)]
    folders = ["a", "a/b", "..", ".", "../x", str(tmp_path), str(tmp_path / "here"), "a/../b", "a//b/"]
    for current in (tmp_path, tmp_path / "here"):
        monkeypatch.chdir(current)
        for folder, path in itertools.product(folders, paths):
            if path and not path.startswith("/"):
                expected = os.path.relpath(os.path.join(folder, path))
                assert manifest.rebase_paths({"feats": path}, folder) == {"feats": expected}, (folder, path)
                assert manifest.path_from(folder, path) == os.path.relpath(path, folder), (folder, path)
