"""`ds2 rover` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TEXTS = {
    "a": {"u1": "the cat sat", "u2": "on the mat"},
    "b": {"u1": "the hat sat", "u2": "on mat"},
    "c": {"u1": "the cat sad", "u2": "on the mat"},
}


@pytest.fixture
def systems(jsonl, tmp_path):
    """Three decodings of two utterances, of which the combination is right."""
    refs = {"u1": "the cat sat", "u2": "on the mat"}
    return [
        jsonl(tmp_path / f"{name}.jsonl", [{"id": u, "text": refs[u], "pred_text": text} for u, text in texts.items()])
        for name, texts in TEXTS.items()
    ]


def test_the_result_is_scored_like_a_decoding(ds2, jsonl, tmp_path, systems):
    out = tmp_path / "out.jsonl"
    done = ds2("rover", *systems, out)
    assert (done.returncode, done.stdout) == (0, "")
    assert "rover: 2 in = 2 kept + 0 dropped" in done.stderr
    assert "rover: 3 systems, 6 correspondence sets, unanimous 50.0 %, tied 0.0 %" in done.stderr
    assert "warning" not in done.stderr
    assert [row["pred_text"] for row in jsonl(out)] == ["the cat sat", "on the mat"]
    assert 'method = "votes"' in (tmp_path / "out.jsonl.config.toml").read_text()
    assert ds2("score", out).stdout.startswith("%WER 0.00 [ 0 / 6, 0 ins, 0 del, 0 sub ]")
    assert ds2("score", systems[1]).stdout.startswith("%WER 33.33 [ 2 / 6")


def test_a_decoding_in_place_of_out_is_not_overwritten(ds2, jsonl, tmp_path, systems):
    before = jsonl(systems[2])
    done = ds2("rover", *systems)
    assert done.returncode == 2 and f"OUT {systems[2]} is a decoding, and would be replaced" in done.stderr
    assert jsonl(systems[2]) == before
    assert [ds2("rover", *systems, tmp_path / "out.jsonl").returncode for _ in range(2)] == [0, 0]


def test_standard_input_and_output(ds2, tmp_path, systems):
    text = Path(systems[0]).read_text("utf-8")
    done = ds2("rover", "-", *systems[1:], "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["pred_text"] for line in done.stdout.splitlines()] == ["the cat sat", "on the mat"]
    done = ds2("rover", "-", "-", "-", stdin=text)
    assert done.returncode == 2
    assert "- (standard input) can be given for one input only" in done.stderr


def test_utterances_that_a_system_lacks_are_warned_of_in_one_line(ds2, jsonl, tmp_path, systems):
    few = jsonl(tmp_path / "few.jsonl", [{"id": "u2", "text": "on the mat", "pred_text": "on the mat"}])
    done = ds2("rover", systems[0], few, systems[2], tmp_path / "out.jsonl")
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "warning" in line]
    assert f"utterances without a hypothesis: 1 in {few} (of 2)" in line
    assert [row["pred_text"] for row in jsonl(tmp_path / "out.jsonl")] == ["the cat sat", "on the mat"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a", "out"], 2, "rover: expected 2 to 255 decodings, then OUT (- is standard output), found "),
        (["a", "b", "out", "--alpha", "0.3"], 2, "--alpha has no effect with --method votes"),
        (["a", "b", "out", "--method", "mean"], 2, "expected one of votes, average, maximum, share, got 'mean'"),
        (["a", "b", "out", "--method", "average", "--alpha", "2"], 2, "--alpha: expected 0 to 1, got 2.0"),
        (["a", "b", "out", "--method", "average"], 1, "rover: refused: 2 of 2 utterances are bad"),
        (["a", "b", "out", "--times"], 1, "2 no-times"),
        (["a", "none", "out"], 3, "none.jsonl: no such file"),
        (["a", "empty", "out"], 1, "has a hypothesis of another system"),
        (["empty", "empty", "out"], 3, "no utterances, expected at least one"),
        (["a", "unsorted", "out"], 3, "expected sorted ids (ds2 data sort)"),
        (["a", "other", "out"], 3, "utterance 'u1' has different texts in "),
    ],
)
def test_errors(ds2, jsonl, tmp_path, systems, arguments, code, message):
    jsonl(tmp_path / "empty.jsonl", [])
    jsonl(tmp_path / "unsorted.jsonl", [{"id": "u2", "pred_text": "x"}, {"id": "u1", "pred_text": "x"}])
    jsonl(tmp_path / "other.jsonl", [{"id": "u1", "text": "other", "pred_text": "x"}])
    names = {"a", "b", "c", "out", "none", "empty", "unsorted", "other"}
    done = ds2("rover", *(tmp_path / f"{a}.jsonl" if a in names else a for a in arguments))
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_max_bad_accepts_a_part(ds2, jsonl, tmp_path, systems):
    rows = jsonl(systems[0])
    jsonl(systems[0], [rows[0], {**rows[1], "pred_text": 7}])
    out = tmp_path / "out.jsonl"
    assert ds2("rover", *systems, out).returncode == 1
    done = ds2("rover", *systems, out, "--max-bad", 50)
    assert done.returncode == 0
    assert "2 in = 1 kept + 1 dropped (1 wrong-type)" in done.stderr
    assert [row["id"] for row in jsonl(out)] == ["u1"]
    assert jsonl(f"{out}.dropped.jsonl")[0]["id"] == "u2"


def test_a_saved_config_repeats_the_run(ds2, jsonl, tmp_path, systems):
    for file in systems:
        rows = jsonl(file)
        for row in rows:
            row["pred_words"] = [{"word": w, "conf": 0.5} for w in row["pred_text"].split()]
        jsonl(file, rows)
    out, again = tmp_path / "out.jsonl", tmp_path / "again.jsonl"
    assert ds2("rover", *systems, out, "--method", "average", "--alpha", 0.3).returncode == 0
    assert ds2("rover", *systems, again, "--config", f"{out}.config.toml").returncode == 0
    assert out.read_text() == again.read_text()
    assert jsonl(out)[0]["pred_words"][0] == {"word": "the", "conf": 0.5, "votes": 3}


def test_two_systems_cannot_outvote_each_other(ds2, jsonl, tmp_path, systems):
    out = tmp_path / "out.jsonl"
    done = ds2("rover", *systems[:2], out)
    assert [row["pred_text"] for row in jsonl(out)] == ["the cat sat", "on the mat"]
    assert "warning: with two systems every disagreement is a tie" in done.stderr


def test_interrupted_runs_leave_no_result(tmp_path, systems):
    """SIGINT while the second system is a pipe that ends later."""
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "ds2cli", "rover", systems[0], str(pipe), str(tmp_path / "out.jsonl")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with pipe.open("w") as f:
        f.write('{"id": "u1", "pred_text": "x"}\n')
        f.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert "Traceback" not in log
    assert not list(tmp_path.glob("out*"))
