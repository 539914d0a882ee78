import gzip
import io
import json

import pytest

from ds2cli.corpora.csv import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare as stage


def rows_of(path, **settings):
    ledger = Ledger()
    return list(prepare(str(path), Options(**settings), ledger)), ledger


def reasons(ledger):
    return {r["id"]: r["reason"] for r in ledger.rows}


@pytest.mark.parametrize(
    "table, count, first, text",
    [
        ("LJSpeech-1.1/metadata.csv", 12, "LJ001-0001", "printing in the only sense with which"),
        ("commonvoice/en/train.tsv", 40, "common_voice_en_41917153", "as players do well the player character's"),
        ("an4_nemo/an4_val.json", 10, "an4_nemo-test-wav-an392-mjwl-b", ""),
    ],
)
def test_known_tables_need_no_options(shared_data, table, count, first, text):
    ledger = Ledger()
    rows = list(stage.run("csv", str(shared_data / table), Options(), ledger))
    assert len(rows) == count
    assert not ledger.rows
    assert rows[0]["id"] == first
    assert rows[0]["text"].startswith(text)


def test_columns_by_name_and_by_number(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('Datei,Wer,Satz\na.wav,anna,"Ja, ""gut"""\n')
    expected = {"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "text": 'Ja, "gut"', "speaker": "anna"}
    rows, _ = rows_of(table, audio_column="Datei", text_column="Satz", speaker_column="Wer", lang="de")
    assert rows == [{**expected, "lang": "de"}]
    rows, _ = rows_of(table, audio_column="0", text_column="2", id_column="1")
    assert [r["id"] for r in rows] == ["Wer", "anna"]


def test_unknown_columns_are_a_usage_error(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("x,y\n1,2\n")
    with pytest.raises(UsageError, match="--audio-column"):
        rows_of(table)
    with pytest.raises(UsageError, match=r"--audio-column z: .* has x, y"):
        rows_of(table, audio_column="z", text_column="x")
    with pytest.raises(DataError, match="empty"):
        (tmp_path / "e.csv").touch()
        rows_of(tmp_path / "e.csv")
    with pytest.raises(DataError, match="no such file"):
        rows_of(tmp_path / "none.csv")


def test_windows_line_ends_and_gzip(tmp_path):
    text = "\ufeffpath,sentence\r\na.wav,hello\r\n\r\nb.wav,two\r\n"
    (tmp_path / "t.csv").write_bytes(text.encode())
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.csv", "t.csv.gz"):
        rows, ledger = rows_of(tmp_path / name)
        assert [(r["id"], r["text"]) for r in rows] == [("a", "hello"), ("b", "two")]
        assert not ledger.rows


def test_bad_lines_are_dropped(tmp_path):
    table = tmp_path / "t.tsv"
    good = b"a.wav\thello\n"
    table.write_bytes(
        b"path\tsentence\n" + good + "b.wav\tMüller\n".encode("latin-1") + b"c.wav\n\td\ne.wav\t\nz.wav\tx\n"
    )
    rows, ledger = rows_of(table)
    assert [r["id"] for r in rows] == ["a", "z"]
    assert reasons(ledger) == {
        "b": "not-utf8",
        f"{table}:4": "wrong-columns",
        f"{table}:5": "no-audio-filepath",
        "e": "no-text",
    }


def test_bad_json_lines(tmp_path):
    table = tmp_path / "t.jsonl"
    lines = [
        {"audio_filepath": "a.wav", "text": "good"},
        {"audio_filepath": "b.wav", "text": 5},
        {"audio_filepath": "c.wav"},
        {"audio_filepath": ["d"], "text": "x"},
        {"audio_filepath": "e.wav", "text": "x", "offset": "soon", "duration": 1},
        {"audio_filepath": "f.wav", "text": "x", "offset": 1.5, "duration": 2},
        {"id": 7, "audio_filepath": "g.wav", "text": "x"},
    ]
    table.write_text("\n".join(map(json.dumps, lines)) + "\n\n[1]\n{oops\n")
    rows, ledger = rows_of(table)
    assert [r["id"] for r in rows] == ["a", "f-00001500", "7"]
    assert (rows[1]["offset"], rows[1]["duration"]) == (1.5, 2.0)
    assert reasons(ledger) == {
        "b": "wrong-type",
        "c": "no-text",
        f"{table}:4": "wrong-type",
        "e": "wrong-type",
        f"{table}:9": "not-json",
        f"{table}:10": "not-json",
    }
    assert len(rows_of(table, text=False)[0]) == 4


def test_audio_is_found_near_the_table(tmp_path):
    for place in ("clips", "elsewhere"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.mp3").touch()
    (tmp_path / "t.csv").write_text("path,text\na,x\n")
    assert rows_of(tmp_path / "t.csv")[0][0]["audio_filepath"] == str(tmp_path / "clips/a.mp3")
    rows, _ = rows_of(tmp_path / "t.csv", audio_dir=str(tmp_path / "elsewhere"))
    assert rows[0]["audio_filepath"] == str(tmp_path / "elsewhere/a.mp3")


def test_the_last_column_of_an_ljspeech_table_is_the_text(tmp_path):
    for line, text in (("LJ1|In 1999, Dr. X|in nineteen", "in nineteen"), ("LJ1|in words", "in words")):
        (tmp_path / "metadata.csv").write_text(f"{line}\n")
        (row,) = prepare(str(tmp_path / "metadata.csv"), Options(), Ledger())
        assert (row["id"], row["text"]) == ("LJ1", text)


@pytest.mark.parametrize("separator", ["|", "\t"])
def test_quotation_marks_belong_to_the_text_of_a_table_with_bars_or_tabs(tmp_path, separator):
    lines = [["path", "sentence"], ["a.wav", '"Go," he said'], ["b.wav", '"and stayed'], ["c.wav", "the end"]]
    (tmp_path / "t.csv").write_text("".join(separator.join(line) + "\n" for line in lines))
    rows, _ = rows_of(tmp_path / "t.csv")
    assert [(row["id"], row["text"]) for row in rows] == [("a", lines[1][1]), ("b", lines[2][1]), ("c", lines[3][1])]


def test_columns_of_json_lines_by_name(tmp_path):
    cells = {"wav_path": "a.wav", "words": "yes", "who": "anna", "key": "k", "text": "no", "speaker": "no", "id": "no"}
    (tmp_path / "t.jsonl").write_text(json.dumps(cells) + "\n")
    columns = {"audio_column": "wav_path", "text_column": "words", "speaker_column": "who", "id_column": "key"}
    (row,), _ = rows_of(tmp_path / "t.jsonl", **columns)
    expected = {"id": "k", "audio_filepath": str(tmp_path / "a.wav"), "text": "yes", "speaker": "anna", "lang": "en"}
    assert row == expected


def test_the_usual_columns_of_the_id_and_the_speaker(tmp_path):
    (tmp_path / "t.csv").write_text("client_id,utt_id,path,sentence\nanna,k,a.wav,x\n,,b.wav,y\n")
    rows, _ = rows_of(tmp_path / "t.csv")
    assert [(row["id"], row.get("speaker")) for row in rows] == [("k", "anna"), ("b", None)]


def test_segments_of_a_table(tmp_path):
    lines = ["id,path,text,offset,duration", "x,a.wav,t,1.5,2", ",b.wav,t,0,0.5", "y,c.wav,t,,3"]
    bad = ["p,d.wav,t,-1,2", "q,e.wav,t,1,", "r,f.wav,t,inf,1", "s,g.wav,t,1e306,1"]
    (tmp_path / "t.csv").write_text("\n".join(lines + bad) + "\n")
    rows, ledger = rows_of(tmp_path / "t.csv")
    assert [(row["id"], row.get("offset"), row.get("duration")) for row in rows] == [
        ("x", 1.5, 2.0),
        ("b-00000000", 0.0, 0.5),
        ("y", None, None),
    ]
    assert reasons(ledger) == dict.fromkeys("pqrs", "wrong-type")


def test_the_audio_files_of_a_table_may_be_in_several_folders(tmp_path):
    names = ["t/clips/a.wav", "t/wavs/b.wav", "c.wav", "t/wavs/v1.5.flac", "t/clips/d.wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "t/t.csv").write_text("path,text\na.wav,x\nb.wav,x\nc.wav,x\nv1.5,x\nd.wav,x\n")
    rows, _ = rows_of(tmp_path / "t/t.csv")
    assert [row["audio_filepath"] for row in rows] == [str(tmp_path / name) for name in names]


def test_a_table_that_the_shell_opens_is_searched_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus/clips").mkdir(parents=True)
    (tmp_path / "corpus/clips/a.wav").touch()
    (tmp_path / "corpus/t.csv").write_text("path,text\na.wav,x\n")
    with (tmp_path / "corpus/t.csv").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert [row["audio_filepath"] for row in rows_of("-")[0]] == ["corpus/clips/a.wav"]
        assert rows_of(f"/dev/fd/{stdin.fileno()}")[0][0]["audio_filepath"] == "corpus/clips/a.wav"


def test_a_table_in_a_named_pipe_starts_from_the_current_folder(tmp_path, monkeypatch, piped):
    path = piped(b"path,text\na.wav,x\n", "t.csv")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/a.wav").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert [row["audio_filepath"] for row in rows_of(path)[0]] == ["a.wav"]


def test_a_table_in_a_pipe_starts_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.wav").touch()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"path,text\na.wav,x\nb.wav,\n")))
    rows, ledger = rows_of("-")
    assert [row["audio_filepath"] for row in rows] == ["clips/a.wav"]
    assert reasons(ledger) == {"b": "no-text"}


@pytest.mark.parametrize(
    "value, channel", [("0", 0), ("1", 1), ("A", 0), ("b", 1), (" B ", 1), ("1.0", 1), ("12", 12), ("", None)]
)
def test_a_row_may_state_its_channel(tmp_path, value, channel):
    (tmp_path / "t.csv").write_text(f"path,text,channel\ncall.wav,x,{value}\n")
    row = rows_of(tmp_path / "t.csv")[0][0]
    assert row.get("channel") == channel
    assert row["id"] == ("call" if channel is None else f"call-ch{channel}")


@pytest.mark.parametrize("value", ["C", "left", "-1", "0.5", "nan", "inf", "1e400"])
def test_a_channel_that_is_none_drops_the_row(tmp_path, value):
    (tmp_path / "t.csv").write_text(f"id,path,text,channel\np,call.wav,x,{value}\n")
    rows, ledger = rows_of(tmp_path / "t.csv")
    assert not rows and reasons(ledger) == {"p": "wrong-type"}
    assert "the channel must be a number from 0, or A or B, got" in ledger.rows[0]["detail"]


def test_channels_in_json(tmp_path):
    rows = [{"path": "call.wav", "text": "x", "channel": channel} for channel in (0, 1.0, "A", None, True, [])]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(rows)))
    found, ledger = rows_of(tmp_path / "t.jsonl")
    assert [row.get("channel") for row in found] == [0, 1, 0, None]
    assert reasons(ledger) == {"4": "wrong-type", "5": "wrong-type"}


def test_the_segments_of_both_sides_of_a_call_have_different_ids(tmp_path):
    (tmp_path / "t.csv").write_text(
        "path,text,channel,offset,duration\nc.wav,x,A,0,1\nc.wav,y,B,0,1\nc.wav,z,B,1.5,1\n"
    )
    ids = [row["id"] for row in rows_of(tmp_path / "t.csv")[0]]
    assert ids == ["c-00000000-ch0", "c-00000000-ch1", "c-00001500-ch1"]
