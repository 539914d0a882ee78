"""`ds2 segment` on the command line, alone and with the commands that read its rows."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile

from ds2cli.audio.read import read

RATE = 16000


@pytest.fixture
def aligned(tmp_path, jsonl):
    """Two aligned recordings: three sentences with a gap, and one word."""
    words = [(0.5, 0.9, "one"), (1.0, 1.5, "two"), (3.0, 3.4, "three"), (3.6, 4.2, "four"), (9.0, 9.5, "five")]
    gaps = [{"start": 4.3, "end": 5.0, "text": "and so on", "heard": "noise"}]
    rows = [
        {"id": "long", "audio_filepath": "long.wav", "duration": 10.0, "text": "one two three four and so on five"},
        {"id": "short", "audio_filepath": "long.wav", "offset": 2.5, "duration": 2.0, "text": "three"},
    ]
    rows[0] |= {"words": [{"word": w, "start": a, "end": b} for a, b, w in words], "gaps": gaps, "ctc_cost": 3.5}
    rows[1] |= {"words": [{"word": "three", "start": 0.5, "end": 0.9}]}
    return jsonl(tmp_path / "aligned.jsonl", rows)


def test_segments_of_two_recordings(ds2, jsonl, tmp_path, aligned):
    out = tmp_path / "out.jsonl"
    done = ds2("segment", aligned, out, "--max-pause", 1, "--padding", 0.2)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert [(row["id"], row["text"], row["offset"], row["duration"]) for row in jsonl(out)] == [
        ("long-00000300-00001700", "one two", 0.3, 1.4),
        ("long-00002800-00004300", "three four", 2.8, 1.5),
        ("long-00008800-00009700", "five", 8.8, 0.9),
        ("short-00000300-00001100", "three", 2.8, 0.8),
    ]
    assert done.stderr.splitlines() == [
        "segment: 4 in = 4 kept + 0 dropped",
        "segment: 4 segments (0.00 h) from 2 of 2 recordings; length 1.1 s on average, 0.8 to 1.5 s",
        "segment: 100.0 % of 0.00 h of speech kept",
    ]
    assert "mean_duration = 7.0" in (tmp_path / "out.jsonl.config.toml").read_text()


def test_what_is_dropped_is_listed(ds2, jsonl, tmp_path, aligned):
    out = tmp_path / "out.jsonl"
    done = ds2("segment", aligned, out, "--max-pause", 1, "--padding", 0.2, "--min-duration", 1)
    assert done.returncode == 0, done.stderr
    assert "segment: 4 in = 2 kept + 2 dropped (2 shorter-than-min-duration), see" in done.stderr
    assert "segments (0.00 h) from 1 of 2 recordings;" in done.stderr
    assert [row["id"] for row in jsonl(f"{out}.dropped.jsonl")] == ["long-00008800-00009700", "short-00000300-00001100"]


@pytest.mark.parametrize(
    ("rows", "options", "code", "message"),
    [
        ([{"id": "a", "audio_filepath": "a.wav", "text": "x"}], [], 1, "1 of 1 utterances are bad"),
        (
            [{"id": "a", "audio_filepath": "a.wav", "text": "", "words": []}],
            [],
            1,
            "none of 1 utterances is kept (1 no",
        ),
        ([{"id": "a", "text": "x", "words": []}], [], 1, "1 of 1 utterances are bad"),
        ([], [], 3, "no utterances, expected at least one"),
        ([], ["--min-duration", "9"], 2, "--mean-duration 7: expected a length from --min-duration 9"),
        ([], ["--padding", "-1"], 2, "--padding: expected 0 to 1000000, got -1.0"),
        ([], ["--max-duration", "1e308"], 2, "--max-duration: expected 0.1 to 1000000, got 1e+308"),
    ],
)
def test_errors(ds2, jsonl, tmp_path, rows, options, code, message):
    done = ds2("segment", jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", *options)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.fixture(scope="module")
def joined(shared_data, tmp_path_factory):
    """A folder with a WAV file of real recordings with silence between them, and its row as if it were aligned."""
    folder, samples, words, at = tmp_path_factory.mktemp("joined"), [], [], 0.0
    for path in sorted((shared_data / "asterisk" / "en_US_f_Allison").glob("*.flac"))[:6]:
        x = read(str(path))[0]
        words.append({"word": path.stem.replace("-", ""), "start": round(at, 3), "end": round(at + len(x) / RATE, 3)})
        samples += [x, np.zeros(RATE // 2, dtype=np.float32)]
        at += len(x) / RATE + 0.5
    soundfile.write(folder / "joined.wav", np.concatenate(samples), RATE, subtype="PCM_16")
    row = {"id": "joined", "audio_filepath": "joined.wav", "duration": round(at, 3), "words": words}
    row |= {"text": " ".join(w["word"] for w in words), "speaker": "allison", "gaps": [], "ctc_cost": 1.0}
    (folder / "aligned.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_the_rows_are_read_by_the_other_commands(ds2, jsonl, joined, tmp_path):
    shutil.copytree(joined, tmp_path, dirs_exist_ok=True)
    aligned = (tmp_path / "aligned.jsonl").read_text()
    cut = ds2("segment", "-", "-", "--max-duration", 60, stdin=aligned, cwd=tmp_path)
    assert cut.returncode == 0, cut.stderr
    feats = ds2("featurize", "-", "feats.jsonl", stdin=cut.stdout, cwd=tmp_path)
    assert feats.returncode == 0, feats.stderr
    rows = jsonl(tmp_path / "feats.jsonl")
    assert " ".join(row["text"] for row in rows) == json.loads(aligned)["text"]
    assert all(abs(row["num_frames"] - 100 * row["duration"]) <= 2 for row in rows)
    assert ds2("data", "validate", "feats.jsonl", "--no-normalized", cwd=tmp_path).returncode == 0
    shown = ds2("data", "show", "feats.jsonl", cwd=tmp_path).stdout
    assert "recording  joined" in shown and "offset  0.0" in shown
    stats = ds2("data", "stats", "feats.jsonl", cwd=tmp_path).stdout.split()
    assert stats[stats.index("utterances") + 1] == str(len(rows))
    scored = [{**row, "pred_text": row["text"], "pred_words": row["words"]} for row in rows]
    jsonl(tmp_path / "decoded.jsonl", scored)
    done = ds2("score", "decoded.jsonl", "--ctm", "x.ctm", cwd=tmp_path)
    assert done.stdout.startswith("%WER 0.00 [ 0 / 6"), done.stderr
    times = [line.split() for line in (tmp_path / "x.ctm").read_text().splitlines()]
    words = json.loads(aligned)["words"]
    assert [(t[0], t[4], float(t[2])) for t in times] == [("joined", w["word"], w["start"]) for w in words]


def test_segments_are_the_audio_of_their_words(ds2, jsonl, joined, tmp_path):
    """Without padding a segment of one word has exactly the samples of its recording."""
    shutil.copytree(joined, tmp_path, dirs_exist_ok=True)
    options = ["--padding", 0, "--max-pause", 0.4]
    assert ds2("segment", "aligned.jsonl", "out.jsonl", *options, "--max-duration", 60, cwd=tmp_path).returncode == 0
    whole = read(str(tmp_path / "joined.wav"))[0]
    for row in jsonl(tmp_path / "out.jsonl"):
        part = read(str(tmp_path / "joined.wav"), offset_s=row["offset"], duration_s=row["duration"])[0]
        begin = round(row["offset"] * RATE)
        np.testing.assert_array_equal(part, whole[begin : begin + len(part)])
        assert abs(len(part) - RATE * row["duration"]) <= 1 and np.abs(part).max() > 0.05
