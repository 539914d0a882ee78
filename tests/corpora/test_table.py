"""Tables as spreadsheets, databases and people write them: what a row is, and the messages about the others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.corpora._table import Separated, normalize_name
from ds2cli.corpora.csv import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError


@pytest.fixture
def read(tmp_path):
    def read(data, name="t.csv", **settings):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        ledger = Ledger()
        return list(prepare(str(tmp_path / name), Options(**settings), ledger)), ledger

    return read


def texts(rows):
    return {row["id"]: row["text"] for row in rows}


def dropped(ledger, folder):
    return {row["id"].removeprefix(f"{folder}/"): row["reason"] for row in ledger.rows}


HEAD = "path,sentence\n"


@pytest.mark.parametrize(
    ("lines", "kept", "bad"),
    [
        # never closed, at the start, in the middle, at the end
        (['a.wav,"one', "b.wav,two", "c.wav,three"], {"b": "two", "c": "three"}, {"t.csv:2": "open-quote"}),
        (["a.wav,one", 'b.wav,"two', "c.wav,three"], {"a": "one", "c": "three"}, {"t.csv:3": "open-quote"}),
        (["a.wav,one", 'b.wav,"two'], {"a": "one"}, {"t.csv:3": "open-quote"}),
        # "closed" by a mark in a later row
        (['a.wav,"one', "b.wav,two", 'c.wav,three"'], {"b": "two", "c": 'three"'}, {"t.csv:2": "open-quote"}),
        (['a.wav,"one', 'b.wav,"two"'], {"b": "two"}, {"t.csv:2": "open-quote"}),
        (['a.wav,"one', 'b.wav,"two', "c.wav,x"], {"c": "x"}, {"t.csv:2": "open-quote", "t.csv:3": "open-quote"}),
        (['a.wav,"one', 'b.wav,two, too"'], {}, {"t.csv:2": "open-quote", "t.csv:3": "wrong-columns"}),
        # line breaks, delimiters and marks in a cell that is closed
        (['a.wav,"one', "", 'two, ""three"""', "b.wav,x"], {"a": 'one\n\ntwo, "three"', "b": "x"}, {}),
        (['"a.wav","one, two"', '"b.wav", "x, y"'], {"a": "one, two", "b": "x, y"}, {}),
        (['a.wav,say "one"', 'b.wav,"two" she said'], {"a": 'say "one"', "b": "two she said"}, {}),
        # too many, too few, only empty ones
        (
            ["a.wav,one, two", "b.wav", "c.wav,x,,", ",", ""],
            {"c": "x"},
            {"t.csv:2": "wrong-columns", "t.csv:3": "wrong-columns"},
        ),
    ],
)
def test_quotation_marks_and_columns(read, tmp_path, lines, kept, bad):
    rows, ledger = read(HEAD + "\n".join(lines) + "\n")
    assert texts(rows) == kept
    assert dropped(ledger, tmp_path) == bad


def test_rows_of_audio_paths_without_endings_are_known_by_their_columns(read):
    rows, ledger = read(HEAD + 'one,"is not closed\ntwo,is a row\nthree,"has\ntwo lines"\n')
    assert texts(rows) == {"two": "is a row", "three": "has\ntwo lines"} and ledger.reasons == {"open-quote": 1}
    # the text is before the audio path
    rows, ledger = read('text,path\n"is not closed,a.wav\nis a row,b.wav\n"has, two\nlines",c.wav\n')
    assert texts(rows) == {"b": "is a row", "c": "has, two\nlines"} and ledger.reasons == {"open-quote": 1}


@pytest.mark.long
def test_a_quotation_mark_in_the_first_of_many_rows_costs_one_row(read):
    lines = [f"x{i}.wav,the conference has ended and everybody went home" for i in range(4000)]
    rows, ledger = read(HEAD + 'a.wav,"open\n' + "\n".join(lines))
    assert (len(rows), ledger.reasons) == (4000, {"open-quote": 1})
    # each row could be the text of the one before: nothing looks like an audio path
    rows, ledger = read(HEAD + "\n".join(f'x{i},"open' for i in range(500)))
    assert (len(rows), ledger.dropped) == (0, 500)


def test_a_cell_beyond_all_limits_costs_one_row(read, tmp_path):
    long = "x" * 200_000
    rows, ledger = read(f'{HEAD}a.wav,"{long}"\nb.wav,y\n{long}\n')
    assert texts(rows) == {"b": "y"}
    assert dropped(ledger, tmp_path) == {"t.csv:2": "wrong-columns", "t.csv:4": "wrong-columns"}


@pytest.mark.parametrize("delimiter", ["\t", "|"])
def test_cells_of_several_lines_in_a_table_with_tabs_or_bars(read, delimiter):
    lines = [
        "path|sentence",
        'a.wav|"one',
        'two"',
        'b.wav|"open',
        "c.wav|three",
        '"d.wav"|"quoted ""all"""',
        'e.wav|"x" and "y"',
    ]
    rows, ledger = read("\n".join(lines).replace("|", delimiter))
    assert texts(rows) == {"a": "one\ntwo", "b": '"open', "c": "three", "d": 'quoted "all"', "e": '"x" and "y"'}
    assert not ledger.rows


@pytest.mark.parametrize("delimiter", ["\t", "|", ";", ","])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_delimiters_encodings_and_line_ends(read, delimiter, codec, line_end):
    lines = ["path,sentence", "a.wav,één; twee", "b.wav,x|y", "c.wav,z\tz"]
    table = [line.replace(",", delimiter) if delimiter not in line.partition(",")[2] else None for line in lines]
    rows, ledger = read(line_end.join([line for line in table if line] + [""]).encode(codec))
    assert [row["id"] for row in rows] == [
        name for name, line in zip("-abc", table, strict=True) if line and name != "-"
    ]
    assert not ledger.rows


@pytest.mark.parametrize(
    "head",
    [
        "Path;Sentence",
        "PATH ; TEXT",
        '"File Name";"Transcript"',
        "audio-path;normalized text",
        "\ufeffwav_filename;WRD",
        "sep=;\npath;text",
        '"sep=;"\r\nAudio;Text;;',
    ],
)
def test_names_of_columns_in_any_dress(read, head):
    rows, ledger = read(f"{head}\na.wav;ja, nein\n")
    assert texts(rows) == {"a": "ja, nein"} and not ledger.rows


def test_a_delimiter_that_excel_names_is_heeded(read):
    assert texts(read("SEP=~\npath~text\na.wav~x; y|z,\t\n")[0]) == {"a": "x; y|z,"}
    assert texts(read("sep=\t\npath\ttext\na.wav\tx;,|\n")[0]) == {"a": "x;,|"}


@pytest.mark.parametrize(
    "lines",
    [
        ["a.wav,hello; world", "b.wav,bye"],
        ["a.wav;hello, world", "b.wav;bye"],
        ["a.wav;hello, world"],
        ["a.wav|hello, world; x"],
        ["a\thello, world; x", "b\tbye, x|y"],
        ["a;hello, world", "b;bye"],
        ["a,hello|world", "b,bye"],
    ],
)
def test_the_delimiter_of_a_table_without_a_header(read, lines):
    rows, ledger = read("\n".join(lines), audio_column="0", text_column="1")
    assert texts(rows)["a"].startswith("hello") and len(texts(rows)["a"]) > 9 and len(rows) == len(lines)
    assert not ledger.rows


def test_the_first_row_of_a_table_without_a_header_may_lack_its_last_cell(read, tmp_path):
    rows, ledger = read("a|In 1999|\nb|In 2000|in two thousand\n")
    assert texts(rows) == {"b": "in two thousand"} and dropped(ledger, tmp_path) == {"a": "no-text"}


def test_columns_of_an_option_in_other_case(read):
    assert texts(read("Datei|Satz\na.wav|x\n", audio_column="datei", text_column="SATZ")[0]) == {"a": "x"}
    rows, _ = read("path,Path,text\na.wav,b.wav,x\n")
    assert texts(rows) == {"a": "x"}
    assert texts(read("path,Path,text\na.wav,b.wav,x\n", audio_column="Path")[0]) == {"b": "x"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "path,phrase\na.wav,x\n",
            r"no column has a usual name for the text: 'path, phrase' \(--text-column NAME, or --no-text\)",
        ),
        ("text,who\nx,anna\n", r"no column has a usual name for the audio: .* \(--audio-column NAME\)"),
        ("path,text,text\na.wav,x,y\n", "several columns are named 'text': rename all but the one of the text"),
        ("path,Text,TEXT\na.wav,x,y\n", "several columns"),
        (
            "Once upon a time, there was\na table\n",
            r"t.csv:1: no column has a usual name: 'Once upon a time, there was'",
        ),
        ("|\na|b\n", r"t.csv:1: no column has a usual name"),
        (",,\n", r"t.csv:1: no column has a usual name"),
        ("\n\nx;y\n", r"t.csv:3: no column has a usual name: 'x, y'"),
        ("\u200b" * 999 + ",x\n", r"no column has a usual name: '(.u200b){13}.?… \("),
    ],
)
def test_a_table_whose_columns_are_not_known_is_a_usage_error(read, table, message):
    with pytest.raises(UsageError, match=message):
        read(table)


def test_without_texts_no_column_of_texts_is_needed(read):
    assert [row["id"] for row in read("path,phrase\na.wav,x\n", text=False)[0]] == ["a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty, expected a table"),
        (b"\n \r\n", "the file is empty, expected a table"),
        ("\ufeff".encode("utf-16"), "the file is empty, expected a table"),
        (HEAD.encode(), "the table has no rows"),
        (b"[]", "the table has no rows"),
        (b"RIFF\x24\x10\0\0WAVEfmt ", "expected a text file, found a WAV recording"),
        (b"PK\x03\x04" + bytes(range(256)), "expected a text file, found a ZIP archive or an Excel workbook"),
        (b'[{"path": "a.wav", "text": "x"},\n', "t.csv:1: not JSON: the line is incomplete"),
        (b'[\n{"path": "a.wav", "text": "x"}\n{}]', "t.csv:3: not JSON: expected a comma at column 1, found '{}]'"),
        (b"[" * 100_000, "not JSON: its lists or objects are too deeply nested"),
        (b"{'path': 'a.wav'}", "not JSON: expected a name in double quotes at column 2"),
    ],
)
def test_a_file_that_is_no_table_is_an_error_of_one_line(read, data, message):
    with pytest.raises(DataError, match=message) as e:
        read(data)
    assert "\n" not in str(e.value)


ROWS = [{"audio_filepath": f"{name}.wav", "text": text} for name, text in (("a", "één"), ("b", "two"))]


@pytest.mark.parametrize(
    "document",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        f" \n{json.dumps(ROWS)}",
        "\n\n".join(map(json.dumps, ROWS)),
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        json.dumps({row["text"]: {"wav": row["audio_filepath"], "words": row["text"]} for row in ROWS}, indent=4),
    ],
    ids=["list", "indented list", "empty line first", "lines", "jq", "objects by id"],
)
@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_json_of_every_kind(read, document, codec):
    rows, ledger = read(document.encode(codec))
    assert [(Path(row["audio_filepath"]).name, row["text"]) for row in rows] == [("a.wav", "één"), ("b.wav", "two")]
    assert not ledger.rows


def test_bad_rows_of_a_json_list_are_dropped_with_their_lines(read, tmp_path):
    rows, ledger = read('[\n {"path": "a.wav", "text": "x"},\n 5,\n {"path": "b.wav"},\n {"path": ["c"], "text": "x"}]')
    assert texts(rows) == {"a": "x"}
    assert dropped(ledger, tmp_path) == {"t.csv:3": "not-json", "b": "no-text", "t.csv:5": "wrong-type"}
    # lines of JSON of which the first is bad
    rows, ledger = read('{"path": \n{"path": "a.wav", "text": "x"}\n')
    assert texts(rows) == {"a": "x"} and dropped(ledger, tmp_path) == {"t.csv:1": "not-json"}


@pytest.mark.parametrize("missing", ["null", "NaN", '""'])
def test_an_offset_without_a_value_is_none(read, missing):
    line = (
        f'{{"audio_filepath": "a.wav", "text": "x", "offset": {missing}, "duration": {missing}, "speaker": {missing}}}'
    )
    (row,), _ = read(line)
    assert not row.keys() & {"offset", "duration", "speaker"}


@pytest.mark.parametrize(
    "field",
    [
        '"offset": true, "duration": 1',
        '"offset": "soon", "duration": 1',
        '"offset": 1, "duration": null',
        f'"offset": {"1" * 400}, "duration": 1',
    ],
)
def test_an_offset_that_is_no_number_drops_its_row(read, field):
    _, ledger = read(f'{{"path": "a.wav", "text": "x", {field}}}')
    assert ledger.reasons == {"wrong-type": 1}
    assert "must be seconds from 0 to 1e+09, got " in ledger.rows[0]["detail"]


def test_numbers_may_name_rows_and_speakers(read):
    (row,), _ = read('{"path": "a.wav", "text": "x", "id": 7, "speaker": 103}')
    assert (row["id"], row["speaker"]) == ("7", "103")
    assert read('{"path": "a.wav", "text": "x", "id": true}')[1].reasons == {"wrong-type": 1}


@pytest.mark.parametrize("name", [".", "..", "/", "a/..", "./", "a\0.wav", "n" * 300, "n" * 5000 + ".wav", "x/" * 3000])
def test_audio_paths_that_name_no_file_cost_their_row(read, name):
    rows, ledger = read(json.dumps({"path": name, "text": "x"}) + '\n{"path": "b.wav", "text": "y"}\n')
    assert [row["id"] for row in rows][-1:] == ["b"] and len(rows) + ledger.dropped == 2


def test_a_text_in_place_of_an_audio_path_is_shown_in_short(read, tmp_path):
    _, ledger = read(json.dumps({"path": "sehr schön " * 40, "text": "x"}))
    assert dropped(ledger, tmp_path) == {"t.csv:1": "missing-audio"}
    assert len(ledger.rows[0]["detail"]) < 250 and "is too long for a file name" in ledger.rows[0]["detail"]


def test_exchanged_columns_are_named(read, tmp_path):
    _, ledger = read(HEAD + "the conference is now muted " * 12 + ",a.wav\n")
    assert dropped(ledger, tmp_path) == {"t.csv:2": "no-text"}
    assert "are the columns of the audio path and the text exchanged?" in ledger.rows[0]["detail"]


def test_a_folder_that_cannot_be_entered_is_named(tmp_path):
    (tmp_path / "clips").mkdir(mode=0)
    (tmp_path / "t.csv").write_text(HEAD + "a.wav,x\n")
    code = "from tests.corpora.test_table import print_drops; print_drops()"
    rights = "-dac_override,-dac_read_search"
    as_user = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    if as_user and not shutil.which(as_user[0]):
        pytest.skip("root may enter every folder, and setpriv is not installed")
    command = [*as_user, sys.executable, "-c", code, str(tmp_path / "t.csv")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert f"no file 'a.wav', but {tmp_path}/clips cannot be entered (chmod u+x)" in done.stdout


def print_drops():
    """Print what was dropped of the table that is the argument."""
    ledger = Ledger()
    list(prepare(sys.argv[1], Options(), ledger))
    print(*(row["detail"] for row in ledger.rows))


def test_text_that_is_not_utf8_names_the_command_for_the_table(read, tmp_path):
    _, ledger = read(HEAD.encode() + "a.wav,naïve “yes”\n".encode("windows-1252"))
    assert dropped(ledger, tmp_path) == {"a": "not-utf8"}
    assert f"Windows-1252 for 'naïve' (iconv -f windows-1252 -t utf-8 {tmp_path}/t.csv > " in ledger.rows[0]["detail"]


def test_ids_made_from_audio_paths_are_unique(read):
    table = "path,text\nx/a.wav,1\nx-a.wav,2\nb.wav,3\n./b.wav,4\na b.wav,5\n"
    rows, ledger = read(table)
    names = {row["text"]: row["id"] for row in rows}
    assert names["1"].startswith("x-a-") and names["2"].startswith("x-a-") and names["1"] != names["2"]
    # one recording twice has one id, and the second row is dropped when the rows are sorted
    assert (names["3"], names["4"], names["5"]) == ("b", "b", "a_b")
    assert ledger.notes == ["2 ids end in a hash of the path of their recording, as they would not be unique"]


def test_recordings_are_found_with_any_ending_in_any_case(read, tmp_path):
    (tmp_path / "clips/sub").mkdir(parents=True)
    for name in ("clips/A.WAV", "clips/sub/b.Flac", "clips/v1.5.mp3", "clips/c.txt"):
        (tmp_path / name).touch()
    rows, _ = read("path,text\nA,x\nsub/b,x\nsub\\b.Flac,x\nv1.5,x\nc,x\n")
    found = [os.path.relpath(row["audio_filepath"], tmp_path) for row in rows]
    assert found == ["clips/A.WAV", "clips/sub/b.Flac", "clips/sub/b.Flac", "clips/v1.5.mp3", "clips/c"]


def test_names_are_compared_without_their_dress():
    assert normalize_name(' "Audio  File-Path" ') == "audio_file_path"
    assert normalize_name("\u200e Sen\xadtence\u200b") == "sentence"
    table = Separated.open(iter([(1, "a;b,c"), (2, "d;e")]), lambda name: False)
    assert (table.delimiter, table.head) == (";", ["a", "b,c"])
