"""Kaldi's data folders: faults are found and named, commands run only on request, others read what is written."""

import gzip
import os
import shlex
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import soundfile

from ds2cli.archive import ArkWriter
from ds2cli.errors import DataError, UsageError
from tests.interop.conftest import export_rows, import_rows, real_paths

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path, recordings, monkeypatch):
    """A function that writes the files of a data folder: name_ext=text → the folder. The current one has mono.wav."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    def write(**files):
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            (tmp_path / "data" / name.replace("_scp", ".scp")).write_bytes(content)
        return tmp_path / "data"

    return write


def reasons(ledger):
    return {row["id"]: row["reason"] for row in ledger.rows}


def test_a_folder_without_segments(folder):
    data = folder(wav_scp="a mono.wav\nb\tmy stereo.wav\n", text="a hello  there\nb two words\n",
                  utt2spk="a s1\nb s2\n", spk2gender="s1 f\ns2 m\n", utt2lang="a en\nb tr\n")  # fmt: skip
    rows, ledger = import_rows("kaldi", data)
    assert rows == [
        {"id": "a", "audio_filepath": "mono.wav", "duration": 4.0, "text": "hello  there", "speaker": "s1",
         "gender": "female", "lang": "en", "sample_rate": 16000},
        {"id": "b", "audio_filepath": "my stereo.wav", "duration": 3.0, "text": "two words", "speaker": "s2",
         "gender": "male", "lang": "tr", "sample_rate": 8000},
    ]  # fmt: skip
    assert (ledger.kept, ledger.rows) == (2, [])


def test_segments_with_channels_and_an_open_end(folder):
    data = folder(
        wav_scp="call-A my stereo.wav\ncall-B my stereo.wav\nm mono.wav\n",
        segments="u1 call-A 0.1 0.4\nu2 call-B 1 -1\nu3 m 0.3 1.1\n",
        reco2file_and_channel="call-A call A\ncall-B call B\nm mono A\n",
        text="u1 a\nu2 b\nu3 c\n",
    )
    rows, _ = import_rows("kaldi", data)
    assert [(r["audio_filepath"], r["channel"], r["offset"], r["duration"], r["recording"]) for r in rows] == [
        ("my stereo.wav", 0, 0.1, 0.3, "call-A"),
        ("my stereo.wav", 1, 1.0, 2.0, "call-B"),
        ("mono.wav", 0, 0.3, 0.8, "m"),
    ]


def test_a_channel_that_was_extracted_already_is_not_selected_again(folder):
    data = folder(wav_scp="a mono.wav\n", reco2file_and_channel="a call B\n")
    assert "channel" not in import_rows("kaldi", data)[0][0]


def test_every_fault_costs_one_utterance_and_is_named(folder):
    """In = kept + dropped: each line that is wrong is named once, and the others are kept."""
    data = folder(
        wav_scp="m mono.wav\nx missing.wav\n",
        segments=(
            "backwards m 2 1\nbad-number m 1 two\nduplicate m 0 1\nduplicate m 1 2\ngood m 0 1\nin-text-not m 0 1\n"
            "late m 9 -1\nlatin m 0 1\nmissing-audio x 0 1\nno-wav y 0 1\nshort m 1\nzero m 1 1\n"
        ),
        text=(
            b"backwards w\nbad-number w\nduplicate w\ngood w\nlate w\nlatin M\xfcller\nmissing-audio w\nno-wav w\n"
            b"only-in-text w\nshort w\nzero w\n"
        ),
        utt2spk="good s\r\nonly-in-utt2spk s\r\n",
    )
    rows, ledger = import_rows("kaldi", data)
    assert [row["id"] for row in rows] == ["duplicate", "good"]
    assert rows[1]["speaker"] == "s"
    assert reasons(ledger) == {
        "backwards": "bad-segment", "bad-number": "wrong-type", "duplicate": "duplicate-id", "in-text-not": "no-text",
        "late": "bad-segment", "latin": "not-utf8", "missing-audio": "missing-audio", "no-wav": "no-recording",
        "only-in-text": "no-segment", "only-in-utt2spk": "no-segment", "short": "bad-segment", "zero": "bad-segment",
    }  # fmt: skip
    assert ledger.summary().startswith("14 in = 2 kept + 12 dropped")
    details = {row["id"]: row["detail"] for row in ledger.rows}
    assert "in text, but not in segments" in details["only-in-text"]
    assert "which wav.scp lacks" in details["no-wav"]
    assert "text:6" in details["latin"] and "Windows-1252" in details["latin"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_ends_marks_and_order_do_not_matter(folder, start, ending):
    lines = {"wav_scp": ["b mono.wav", "a mono.wav", "é mono.wav", "Z mono.wav"], "text": ["é z", "a x", "Z w", "b y"]}
    data = folder(**{name: start + ending.join([*texts, ""]) for name, texts in lines.items()})
    rows, ledger = import_rows("kaldi", data)
    assert [(row["id"], row["text"]) for row in rows] == [("Z", "w"), ("a", "x"), ("b", "y"), ("é", "z")]
    assert sum("is not sorted" in note for note in ledger.notes) == 2


def test_compressed_files(folder):
    data = folder(wav_scp="a mono.wav\n")
    (data / "text.gz").write_bytes(gzip.compress(b"a hello\n"))
    assert import_rows("kaldi", data)[0][0]["text"] == "hello"


COMMAND = "a cat mono.wav |\nb mono.wav\n"


def test_a_command_is_not_run_unless_it_is_allowed(folder, tmp_path):
    data = folder(wav_scp=f"a touch {tmp_path}/ran; cat mono.wav |\nb mono.wav\n", segments="u a 0 1\nv b 0 1\n")
    rows, ledger = import_rows("kaldi", data)
    assert [row["id"] for row in rows] == ["v"]
    assert reasons(ledger) == {"u": "command"}
    assert "--allow-commands --audio-dir" in ledger.rows[0]["detail"]
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError, match="--audio-dir"):
        import_rows("kaldi", data, allow_commands=True)
    assert not (tmp_path / "ran").exists()


def test_commands_that_ds2_writes_are_not_run(folder):
    """And what only begins like them is not taken for them."""
    pan = "ffmpeg -nostdin -v error -i {} -af 'pan=mono|c0=c1' -f wav - |\n"
    stereo = os.path.abspath("my stereo.wav")
    data = folder(wav_scp=f"a {pan.format(stereo)}b {pan.format(shlex.quote(stereo))}"
                          f"c {pan.format('/x.wav; touch ran; echo')}d {pan.format('relative.wav')}")  # fmt: skip
    rows, ledger = import_rows("kaldi", data)
    assert [(row["id"], row["audio_filepath"], row["channel"]) for row in rows] == [("b", stereo, 1)]
    assert reasons(ledger) == {"a": "command", "c": "command", "d": "command"}
    assert not Path("ran").exists()


def test_an_allowed_command_is_run_once_and_its_output_stored(folder, tmp_path):
    data = folder(
        wav_scp="a/1 echo >> ran; cat mono.wav |\nbad false |\nnothing true |\n",
        segments="u a/1 0 1\nv a/1 1 -1\nw bad 0 1\nx nothing 0 1\n",
        reco2file_and_channel="a/1 a B\nbad bad A\nnothing nothing A\n",
    )
    rows, ledger = import_rows("kaldi", data, allow_commands=True, audio_dir="audio")
    assert [(r["audio_filepath"], r["offset"], r["duration"]) for r in rows] == [
        ("audio/a_1.wav", 0.0, 1.0),
        ("audio/a_1.wav", 1.0, 3.0),
    ]
    assert "channel" not in rows[0]
    assert (tmp_path / "audio/a_1.wav").read_bytes() == (tmp_path / "mono.wav").read_bytes()
    assert (tmp_path / "ran").read_text() == "\n"
    assert reasons(ledger) == {"w": "command-failed", "x": "command-failed"}


def test_recordings_in_archives_are_stored_on_request(folder, tmp_path, recordings):
    samples, rate = soundfile.read(recordings[0], dtype="float32")
    wave = kaldi_native_io.WaveData(rate, np.round(samples[None] * 32768).astype(np.float32))
    with kaldi_native_io.WaveWriter(f"ark,scp:{tmp_path}/wav.ark,{tmp_path}/wav.scp") as writer:
        writer.write("a", wave)
        writer.write("b", wave)
    data = folder(wav_scp=(tmp_path / "wav.scp").read_text())
    assert reasons(import_rows("kaldi", data)[1]) == {"a": "in-archive", "b": "in-archive"}
    rows, _ = import_rows("kaldi", data, audio_dir="audio")
    assert [row["duration"] for row in rows] == [4.0, 4.0]
    assert np.abs(soundfile.read(rows[1]["audio_filepath"], dtype="float32")[0] - samples).max() < 1e-4


def test_features_by_byte_and_not_by_range(folder, tmp_path):
    with ArkWriter(tmp_path / "f.ark") as ark:
        ref = ark.write("a", np.zeros((7, 3), np.float32))
    data = folder(feats_scp=f"a {ref}\nb {ref}[0:3]\nc copy-feats ark:x ark:- |\n", text="a x\nb y\nc z\n")
    rows, ledger = import_rows("kaldi", data)
    assert rows == [{"id": "a", "text": "x", "feats": ref, "num_frames": 7}]
    assert reasons(ledger) == {"b": "feats-range", "c": "command"}


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "no wav.scp and no feats.scp"),
        ({"segments": "a m 0 1\n", "feats_scp": "a x:1\n"}, "no wav.scp"),
        ({"wav_scp": "a mono.wav\n", "ds2.jsonl": "{}\n"}, "ds2.jsonl:1"),
        ({"wav_scp": "a mono.wav\nb mono.wav\n", "ds2.jsonl": '{"utt":"a"}\n{"utt":"a"}\n'}, "ds2.jsonl:2"),
    ],
)
def test_what_is_no_data_folder(folder, files, message):
    data = folder(**files)
    with pytest.raises(DataError, match=message):
        import_rows("kaldi", data)


def test_root_is_where_relative_paths_start(folder, tmp_path, monkeypatch):
    data = folder(wav_scp="a mono.wav\nb cat mono.wav |\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    rows, _ = import_rows("kaldi", data, root="..", allow_commands=True, audio_dir="audio")
    assert [row["audio_filepath"] for row in rows] == ["../mono.wav", "audio/b.wav"]


def test_an_export_has_the_files_that_validate_data_dir_expects(tmp_path, hard_rows):
    """The rules of utils/validate_data_dir.sh: all files have the same ids in order, segments four fields."""
    ledger = export_rows("kaldi", hard_rows, tmp_path / "k", prefix_speaker=True)
    tables = {
        p.name: [line.split(" ") for line in p.read_text("utf-8").split("\n")[:-1]]
        for p in (tmp_path / "k").iterdir()
        if p.name != "ds2.jsonl"
    }
    assert tables.keys() == {"wav.scp", "segments", "reco2file_and_channel", "utt2spk", "spk2utt", "utt2dur"}
    ids = [line[0] for line in tables["utt2spk"]]
    assert ids == sorted(ids) and len(ids) == len(hard_rows)
    assert [line[0] for line in tables["segments"]] == [line[0] for line in tables["utt2dur"]] == ids
    assert all(len(line) == 4 and float(line[2]) < float(line[3]) for line in tables["segments"])
    speakers = [line[1] for line in tables["utt2spk"]]
    assert speakers == sorted(speakers)
    assert [[utt, spk] for spk, *utts in tables["spk2utt"] for utt in utts] == tables["utt2spk"]
    names = [line[0] for line in tables["wav.scp"]]
    assert names == sorted(names) == sorted({line[1] for line in tables["segments"]})
    assert [line[0] for line in tables["reco2file_and_channel"]] == names
    assert all(len(line) == 3 and line[2] in "AB" for line in tables["reco2file_and_channel"])
    assert any("no text is written" in note for note in ledger.notes)


def test_an_export_replaces_all_files_of_the_one_before(tmp_path, hard_rows):
    export_rows("kaldi", hard_rows[:3], tmp_path / "k")
    assert (tmp_path / "k/text").exists() and (tmp_path / "k/segments").exists()
    export_rows(
        "kaldi", [{k: v for k, v in r.items() if k not in ("offset", "text")} for r in hard_rows[:2]], tmp_path / "k"
    )
    assert not (tmp_path / "k/text").exists() and not (tmp_path / "k/segments").exists()


def test_ids_out_of_the_order_of_speakers_are_reported(tmp_path, recordings):
    rows = [{"id": name, "audio_filepath": recordings[0], "duration": 4.0, "text": "x", "speaker": speaker}
            for name, speaker in (("a", "s2"), ("b", "s1"), ("c", "s1"))]  # fmt: skip
    ledger = export_rows("kaldi", rows, tmp_path / "k")
    assert any("--prefix-speaker" in note and "1 places" in note for note in ledger.notes)
    ledger = export_rows("kaldi", rows, tmp_path / "k2", prefix_speaker=True)
    assert (tmp_path / "k2/utt2spk").read_text() == "s1-b s1\ns1-c s1\ns2-a s2\n"
    assert import_rows("kaldi", tmp_path / "k2")[0] == rows


def test_texts_that_kaldi_refuses_are_counted(tmp_path, recordings):
    texts = ("", "a <s> b", "a\u200bb")
    rows = [{"id": f"u{i}", "audio_filepath": recordings[0], "duration": 4.0, "text": t} for i, t in enumerate(texts)]
    notes = export_rows("kaldi", rows, tmp_path / "k").notes
    assert [note[:20] for note in notes] == ["1 texts have charact", "1 texts have no word", "1 texts have words t"]


def test_rows_that_kaldi_cannot_have_are_dropped(tmp_path, recordings):
    row = {"audio_filepath": recordings[0], "offset": 0.0, "duration": 1.0}
    rows = [{"id": "a", **row}, {"id": "b", **row, "duration": 0.0}, {"id": "c", **row, "audio_filepath": "x|"}]
    ledger = export_rows("kaldi", rows, tmp_path / "k")
    assert (ledger.kept, reasons(ledger)) == (1, {"b": "no-duration", "c": "unusable-path"})


def test_edits_by_kaldi_tools_count(tmp_path, recordings):
    rows = [{"id": n, "audio_filepath": recordings[0], "duration": 4.0, "text": "a  b", "split": "x"} for n in "uv"]
    export_rows("kaldi", rows, tmp_path / "k")
    for path in (tmp_path / "k").glob("*"):
        if path.name not in ("ds2.jsonl", "spk2utt"):
            path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("u")))
    (tmp_path / "k/text").write_text("v c d\n")
    found, ledger = import_rows("kaldi", tmp_path / "k")
    assert real_paths(found) == [{**rows[1], "text": "c d"}]
    assert ledger.rows == []


@pytest.mark.long
@pytest.mark.peer
def test_lhotse_and_kaldi_native_io_read_an_export(tmp_path, librispeech):
    lhotse_kaldi = pytest.importorskip("lhotse.kaldi")
    rows = librispeech[:20]
    with ArkWriter(tmp_path / "f.ark") as ark:
        rows = [{**r, "feats": ark.write(r["id"], np.full((5, 4), i, np.float32)), "num_frames": 5, "offset": 0.5,
                 "duration": 1.25} for i, r in enumerate(rows)]  # fmt: skip
    export_rows("kaldi", rows, tmp_path / "k")
    _, supervisions, _ = lhotse_kaldi.load_kaldi_data_dir(tmp_path / "k", sampling_rate=16000)
    found = {s.id: s for s in supervisions}
    for row in rows:
        supervision = found[row["id"]]
        assert (supervision.start, supervision.duration) == (0.5, 1.25)
        assert (supervision.text, supervision.speaker, supervision.language) == (row["text"], row["speaker"], "en")
    with kaldi_native_io.SequentialFloatMatrixReader(f"scp:{tmp_path}/k/feats.scp") as reader:
        assert [(key, matrix.shape, matrix[0, 0]) for key, matrix in reader] == [
            (row["id"], (5, 4), i) for i, row in enumerate(rows)
        ]
