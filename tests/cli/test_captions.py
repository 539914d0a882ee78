"""`CaptionFiles`: all files of a run of `ds2 align`, or none of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import srt as srt_reader
from praatio import textgrid as praat

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.atomic import together
from ds2cli.cli.lib.captions import FOLDERS, CaptionFiles
from ds2cli.config.align import AlignConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
OUTPUTS = {"ctm": "x.ctm", **{name: name for name in (*FOLDERS, "kaldi_data")}}
WORDS = [{"word": "a", "start": 0.0, "end": 0.5, "conf": 0.5}, {"word": "b", "start": 1.0, "end": 1.5}]


def everything(folder):
    return AlignConfig(**{name: str(folder / path) for name, path in OUTPUTS.items()})


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def place(tmp_path):
    """An experiment without a network and rows with emissions."""
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    rng, rows = np.random.default_rng(0), []
    with ArkWriter(tmp_path / "e.ark") as ark:
        for i, text in enumerate(["a b", "ba", "b a b"]):
            log_probs = np.log(rng.dirichlet(np.ones(4), 20)).astype(np.float32)
            row = {"id": f"u{i}", "audio_filepath": str(tmp_path / f"wav/u{i}.wav"), "duration": 2.0, "text": text}
            rows.append({**row, "emission": ark.write(f"u{i}", log_probs), "step_s": 0.1})
    manifest.write(str(tmp_path / "in.jsonl"), rows)
    return tmp_path


def test_align_writes_every_format(ds2, jsonl, place):
    options = [word for name, path in OUTPUTS.items() for word in (f"--{name.replace('_', '-')}", path)]
    done = ds2("align", "exp", "in.jsonl", "out/ali.jsonl", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    rows = jsonl(place / "out/ali.jsonl")
    assert {"words", "align_logprob"} <= set(rows[0])
    ctm = [line.split() for line in (place / "x.ctm").read_text().splitlines()]
    assert [(line[0], line[4]) for line in ctm] == [(row["id"], w["word"]) for row in rows for w in row["words"]]
    for row in rows:
        grid = praat.openTextgrid(str(place / "textgrid" / f"{row['id']}.TextGrid"), includeEmptyIntervals=True)
        entries = grid.getTier("words").entries
        assert [(e.start, e.end) for e in entries if e.label] == [(w["start"], w["end"]) for w in row["words"]]
        cues = srt_reader.parse((place / "srt" / f"{row['id']}.srt").read_text("utf-8"))
        assert " ".join(cue.content for cue in cues).split() == row["text"].split()
        document = json.loads((place / "whisper_json" / f"{row['id']}.json").read_text("utf-8"))
        assert document["text"] == row["text"]
        labels = (place / "audacity" / f"{row['id']}.labels.txt").read_text("utf-8").splitlines()
        assert len(labels) == len(row["words"])
        table = (place / "elan" / f"{row['id']}.elan.txt").read_text("utf-8").splitlines()
        assert len(table) >= len(row["words"]) + 1
        assert (place / "vtt" / f"{row['id']}.vtt").read_text("utf-8").startswith("WEBVTT\n\n00:00:0")
    assert (place / "kaldi_data" / "text").read_text() == "u0 a b\nu1 ba\nu2 b a b\n"
    assert (place / "kaldi_data" / "wav.scp").read_text().splitlines()[0] == f"u0 {place}/wav/u0.wav"


def test_a_refused_result_leaves_every_file_as_it_was(ds2, jsonl, place):
    options = [word for name, path in OUTPUTS.items() for word in (f"--{name.replace('_', '-')}", f"out/{path}")]
    assert ds2("align", "exp", "in.jsonl", "out/ali.jsonl", *options, cwd=place).returncode == 0
    before = contents(place / "out")
    rows = jsonl(place / "in.jsonl")
    rows[0]["text"] = "b"
    rows[2]["emission"] = "no.ark:1"
    jsonl(place / "bad.jsonl", rows)
    assert ds2("align", "exp", "bad.jsonl", "out/ali.jsonl", *options, cwd=place).returncode == 1
    after = contents(place / "out")
    assert after.pop("ali.jsonl.refused.jsonl") and after == before


def test_the_files_are_written_when_the_rows_go_to_a_pipe(ds2, place):
    done = ds2("align", "exp", "in.jsonl", "-", "--srt", "srt", "--ctm", "x.ctm", cwd=place)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr
    assert sorted(p.name for p in (place / "srt").iterdir()) == ["u0.srt", "u1.srt", "u2.srt"]
    done = ds2("align", "exp", "in.jsonl", "ali.jsonl", "--ctm", "-", cwd=place)
    assert done.stdout == (place / "x.ctm").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ctm", "-"], "--ctm -: standard output already gets the results (name a file)"),
        (["--srt", "-"], "--srt writes a folder of files, expected its name"),
        (["--kaldi-data", "-"], "--kaldi-data writes a folder of files, expected its name"),
        (["--line-length", "30"], "--line-length only applies with --srt or --vtt"),
        (["--textgrid", "x", "--min-cue", "2"], "--min-cue only applies with --srt or --vtt"),
        (["--vtt", "x", "--min-cue", "8"], "--min-cue 8 is longer than --max-cue 7"),
    ],
)
def test_settings_that_contradict_each_other(ds2, place, options, message):
    done = ds2("align", "exp", "in.jsonl", "-", *options, cwd=place)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr


def test_a_file_in_the_place_of_a_folder(ds2, place):
    (place / "x").write_text("")
    done = ds2("align", "exp", "in.jsonl", "out.jsonl", "--textgrid", "x", cwd=place)
    assert done.returncode == 3 and "x: cannot be written: " in done.stderr
    assert not (place / "out.jsonl").exists()
    done = ds2("align", "exp", "in.jsonl", "x.ctm", "--ctm", "x.ctm", cwd=place)
    assert done.returncode == 2 and "x.ctm is to be written twice" in done.stderr
    done = ds2("align", "exp", "in.jsonl", "new.jsonl", "--srt", "new.jsonl", cwd=place)
    assert done.returncode == 2 and "--srt writes a folder of files, expected its name, got 'new.jsonl'" in done.stderr
    assert not (place / "new.jsonl").exists()


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), CaptionFiles(everything(tmp_path), "words", "-") as files:
        files.add({"id": "a", "words": WORDS})
        raise RuntimeError
    assert contents(tmp_path) == {}
    with pytest.raises(RuntimeError), together():
        with CaptionFiles(everything(tmp_path), "words", "-") as files:
            files.add({"id": "a", "words": WORDS})
        raise RuntimeError
    assert contents(tmp_path) == {}


def test_rows_of_a_longer_recording(tmp_path):
    rows = [
        {"id": "a-1", "audio_filepath": "x/talk.wav", "offset": 10.0, "duration": 2.0, "words": WORDS},
        {"id": "a-2", "audio_filepath": "x/talk.wav", "offset": 12.0, "duration": 2.0, "words": WORDS},
        {"id": "b-1", "audio_filepath": "y/talk.wav", "offset": 5.0, "duration": 2.0, "words": WORDS},
        {"id": "b-2", "audio_filepath": "y/talk.wav", "offset": 7.0, "duration": 2.0, "words": WORDS},
        {"id": "c", "recording": "show", "duration": 2.0, "words": WORDS[:1]},
        {"id": "d"},
    ]
    with CaptionFiles(everything(tmp_path), "words", "-") as files:
        for row in rows:
            before = json.dumps(row)
            files.add(row)
            assert json.dumps(row) == before
    ctm = (tmp_path / "x.ctm").read_text().splitlines()
    assert ctm[0] == "talk 1 5.000 0.500 a 0.5000" and ctm[-1] == "show 1 0.000 0.500 a 0.5000" and len(ctm) == 9
    segments = (tmp_path / "kaldi_data" / "segments").read_text().splitlines()
    assert segments == [
        "a-1 talk 10.000 12.000",
        "a-2 talk 12.000 14.000",
        "b-1 talk-1 5.000 7.000",
        "b-2 talk-1 7.000 9.000",
        "c show 0.000 2.000",
    ]
    scp = [line.split()[0] for line in (tmp_path / "kaldi_data" / "wav.scp").read_text().splitlines()]
    assert scp == ["talk", "talk-1"]
    # subtitles are of the row's own audio
    assert (tmp_path / "srt" / "a-2.srt").read_text().startswith("1\n00:00:00,000 --> ")
    assert [w.partition(":")[0] for w in files.warnings] == [
        str(tmp_path / "x.ctm"),
        str(tmp_path / "kaldi_data/wav.scp"),
        "utterances without words, which are in no file of words",
    ]


def test_recordings_that_are_known_by_their_paths(tmp_path):
    config = AlignConfig(ctm=str(tmp_path / "x.ctm"), vtt=str(tmp_path))
    with CaptionFiles(config, "pred_words", "-", id_is_path=True) as files:
        for path in ("-", "a/talk.mp3", "b/talk.wav", "b/the_show.wav"):
            files.add({"id": path, "pred_words": WORDS[:1], "audio_filepath": object()})
    names = [line.split()[0] for line in (tmp_path / "x.ctm").read_text().splitlines()]
    assert names[:2] + names[3:] == ["stdin", "talk", "the_show"] and names[2].startswith("talk-")
    assert sorted(p.stem for p in tmp_path.glob("*.vtt")) == sorted(names)


def test_many_files_need_no_open_descriptors(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    config = AlignConfig(srt=str(tmp_path), vtt=str(tmp_path))
    with together(), CaptionFiles(config, "words", "-") as files:
        used = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, before[1]))
        try:
            for i in range(60):
                files.add({"id": f"u{i:02d}", "words": WORDS})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(list(tmp_path.glob("*.srt"))) == len(list(tmp_path.glob("*.vtt"))) == 60


def test_a_word_that_is_none_is_an_error_of_the_data(tmp_path):
    config = AlignConfig(ctm=str(tmp_path / "x.ctm"))
    message = "--ctm: utterance 'a': an element of 'pred_words'"
    with pytest.raises(DataError, match=message), CaptionFiles(config, "words", "-") as files:
        files.add({"id": "a", "words": [{"word": "", "start": 0, "end": 1}]})
    with pytest.raises(UsageError):
        CaptionFiles(AlignConfig(elan=""), "words", "-")
