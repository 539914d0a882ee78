import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import soundfile

from ds2cli.corpora import corpus_names


@pytest.fixture
def bad_files(tmp_path, shared_data):
    """A folder of good recordings and one bad file of each kind, with their texts."""
    flac = next((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    speech, rate = soundfile.read(flac, dtype="float32")
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(4):
        soundfile.write(folder / f"good{i}.wav", speech[: rate * 2], rate)
    (folder / "truncated.flac").write_bytes(flac.read_bytes()[:20000])
    (folder / "zero.wav").touch()
    speech[9] = np.nan
    soundfile.write(folder / "nan.wav", speech, rate, subtype="FLOAT")
    (folder / "text.wav").write_text("this is no recording\n" * 50)
    soundfile.write(folder / "latin.wav", np.zeros(rate), rate)
    for audio in list(folder.iterdir()):
        audio.with_suffix(".txt").write_text("hello world\r\n")
    (folder / "latin.txt").write_bytes("Müller".encode("latin-1"))
    soundfile.write(folder / "mute.wav", np.zeros(rate), rate)
    return folder


BROKEN = {
    "truncated": "truncated-audio",
    "zero": "empty-file",
    "nan": "not-a-number",
    "text": "not-audio",
    "latin": "not-utf8",
    "mute": "no-text",
}


def test_bad_files_are_dropped(ds2, jsonl, bad_files, tmp_path):
    out = tmp_path / "out.jsonl"
    done = ds2("prepare", "folder", bad_files.name, "out.jsonl", "--max-bad", 100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(r["id"], r["text"]) for r in jsonl(out)] == [(f"good{i}", "hello world") for i in range(4)]
    assert {r["id"]: r["reason"] for r in jsonl(f"{out}.dropped.jsonl")} == BROKEN
    assert "10 in = 4 kept + 6 dropped" in done.stderr
    assert jsonl(out)[0]["audio_filepath"] == "in/good0.wav"


def test_too_many_bad_files_are_refused(ds2, bad_files, tmp_path):
    done = ds2("prepare", "folder", bad_files, tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert not (tmp_path / "out.jsonl").exists()
    assert (tmp_path / "out.jsonl.dropped.jsonl").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["libri", "x"], 2, "unknown corpus 'libri'"),
        (["folder", "/nowhere"], 3, "no such folder"),
        (["librispeech", "x", "--lang", "en"], 2, "prepare librispeech: there is no option --lang"),
        (["folder", "x", "--set", "part=all"], 2, "unknown setting 'part'"),
        (["asterisk", "x", "--part", "training"], 2, "expected one of all, train, dev, test, got 'training'"),
        (["folder", "x", "--check", "no"], 2, "decode, header"),
    ],
)
def test_mistakes_are_usage_or_data_errors(ds2, words, code, message):
    done = ds2("prepare", *words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_asterisk_in_the_layout_of_the_tarball(ds2, jsonl, shared_data, tmp_path):
    """The real prompts in the layout of the tarball: recordings and the list in one folder."""
    voice = shared_data / "asterisk/en_US_f_Allison"
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds/en_US_f_Allison").symlink_to(voice)
    lines = [line.split("\t") for line in (voice / "transcripts.tsv").read_text("utf-8").splitlines()]
    (tmp_path / "sounds/core-sounds-en.txt").write_text("".join(f"{name}: {text}\n" for name, text in lines), "utf-8")
    counts = {}
    for part in ("train", "all"):
        done = ds2("prepare", "asterisk", tmp_path / "sounds", tmp_path / f"{part}.jsonl", "--part", part)
        assert done.returncode == 0, done.stderr
        counts[part] = len(jsonl(tmp_path / f"{part}.jsonl"))
    assert counts["all"] == len(lines)
    assert counts["all"] > counts["train"] > counts["all"] / 2


def test_help_lists_the_corpora_with_their_titles(ds2):
    done = ds2("prepare", "--help")
    assert done.returncode == 0
    listed = dict(re.findall(r"^  ([a-z_0-9]+)  +(.*)$", done.stdout.split("Commands:")[1], re.MULTILINE))
    assert listed.keys() == set(corpus_names())
    assert listed["librispeech"].startswith("LibriSpeech: about 1,000 hours of read English audiobooks")


def test_help_of_a_corpus_is_its_docstring_and_its_options(ds2):
    text = ds2("prepare", "librispeech", "--help").stdout
    assert "\n  Source     OpenSLR 12;" in text
    assert "--part" in text and "--numbers" in text
    assert "--lang" not in text and "--audio-column" not in text


def test_an_unknown_corpus_is_one_line(ds2):
    done = ds2("prepare", "libri", "x")
    problem = f"unknown corpus 'libri', expected one of {', '.join(corpus_names())}"
    assert done.stderr == f"ds2: {problem} (DS2_PLUGINS adds those of plugins)\n"


def test_only_the_corpus_in_use_is_imported():
    code = (
        "import sys; from ds2cli.cli.main import app;"
        "app(['prepare', 'folder', '--print-config'], standalone_mode=False);"
        "print(sorted(m for m in sys.modules if m.startswith('ds2cli.corpora.') and '._' not in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['ds2cli.corpora.folder']"


def test_settings_of_an_output_are_read_back(ds2, bad_files, tmp_path):
    """--config of a saved file, then --set, then options; the dropped utterances go to the file of --dropped."""
    first = ds2("prepare", "folder", bad_files, tmp_path / "a.jsonl", "--no-text", "--max-bad", 50, "--lang", "es")
    assert first.returncode == 0, first.stderr
    done = ds2(
        *("prepare", "folder", bad_files, tmp_path / "b.jsonl", "--config", tmp_path / "a.jsonl.config.toml"),
        *("--set", "nj=2", "--dropped", tmp_path / "d.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()
    assert (tmp_path / "d.jsonl").read_text() == (tmp_path / "a.jsonl.dropped.jsonl").read_text()
    settings = tomllib.loads((tmp_path / "b.jsonl.config.toml").read_text())
    assert (settings["nj"], settings["lang"], settings["text"], settings["max_bad"]) == (2, "es", False, 50)
