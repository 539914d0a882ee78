"""utils/run.sh and steps/split_jobs.sh: results equal an undivided run, and an interrupted run leaves no process."""

import gzip
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.text.vocab import Vocab

ROOT = Path(__file__).parents[2]
RUN = ROOT / "utils" / "run.sh"
SPLIT = ROOT / "steps" / "split_jobs.sh"
GREEDY = ("ds2", "decode", "exp", "{in}", "{out}", "--greedy")
FLAKY = ("sh", "-c", 'printf "no newline"; [ JOB != 2 ] || [ ! -e broken ] || exit 7; cp "$0" "$1"', "{in}", "{out}")


def environment():
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def bash(*words, cwd, **variables):
    command = ["bash", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment() | variables, capture_output=True, text=True, timeout=120)


@pytest.fixture
def emissions(tmp_path, jsonl):
    """An experiment `exp` with only an alphabet, and `data/in.jsonl`: 20 rows with emissions, three of them broken."""
    rng = np.random.default_rng(3)
    (tmp_path / "exp").mkdir()
    (tmp_path / "data" / "arks").mkdir(parents=True)
    Vocab.from_texts(["abc "]).save(tmp_path / "exp" / "tokens.txt")
    rows = []
    with ArkWriter(tmp_path / "data" / "arks" / "e.ark") as ark:
        for i in range(20):
            x = rng.normal(size=(12, 5)).astype(np.float32)
            ref = ark.write(f"u{i:02}", x - np.log(np.exp(x).sum(1, keepdims=True)))
            rows.append({"id": f"u{i:02}", "text": "ä b", "emission": f"arks/{Path(ref).name}", "step_s": 0.03})
    for i in (4, 11, 12):
        rows[i]["emission"] = "arks/missing.ark:5"
    jsonl(tmp_path / "data" / "in.jsonl", rows)
    return tmp_path


def test_decoding_in_parts_equals_decoding_at_once(emissions):
    command = [*GREEDY[:-1], "--beam", "8", "--nbest", "2", "--max-bad", "20"]
    whole = [word.format(**{"in": "data/in.jsonl", "out": "whole/x.jsonl"}) for word in command]
    assert bash("-c", '"$0" "$@"', *whole, cwd=emissions).returncode == 0
    expected = tomllib.loads((emissions / "whole" / "x.jsonl.config.toml").read_text())
    for nj in (1, 2, 3):
        done = bash(SPLIT, "--nj", nj, "data/in.jsonl", f"of-{nj}/x.jsonl", f"deep/er/{nj}", *command, cwd=emissions)
        assert done.returncode == 0, done.stderr
        assert "20 in = 17 kept + 3 dropped" in done.stderr
        for name in ("x.jsonl", "x.jsonl.dropped.jsonl"):
            assert (emissions / f"of-{nj}" / name).read_bytes() == (emissions / "whole" / name).read_bytes()
        settings = tomllib.loads((emissions / f"of-{nj}" / "x.jsonl.config.toml").read_text())
        settings["made_by"]["command"] = settings["made_by"]["command"].replace(f"of-{nj}/", "whole/")
        for made_by in (settings["made_by"], expected["made_by"]):
            made_by["output"].pop("mtime_ns", None)
        assert settings == expected
        status = bash("-c", 'ds2 status "$0"', f"of-{nj}/x.jsonl", cwd=emissions)
        assert status.stdout.splitlines()[-1] == "1 fresh", status.stdout


def test_max_bad_counts_all_parts_and_can_be_raised_without_running_again(emissions, jsonl):
    words = ["--nj", "4", "data/in.jsonl", "out/x.jsonl", "log", *GREEDY]
    done = bash(SPLIT, *words, "--max-bad", "14", cwd=emissions)
    assert done.returncode == 1
    assert "refused, 3 of 20 utterances are bad (allowed 14 %" in done.stderr
    assert not (emissions / "out" / "x.jsonl").exists()
    assert len(jsonl(emissions / "out" / "x.jsonl.dropped.jsonl")) == 3
    done = bash(SPLIT, "--resume", "--run", "no-such-command", *words, cwd=emissions)
    assert (done.returncode, "allowed 1.0 %" in done.stderr) == (1, True), "the limit of ds2, if none is given"
    # part 3 alone has 40 % bad rows
    done = bash(SPLIT, "--resume", "--run", "no-such-command", *words, "--max-bad=15", cwd=emissions)
    assert done.returncode == 0, done.stderr
    assert len(jsonl(emissions / "out" / "x.jsonl")) == 17


def test_resume_runs_only_missing_parts(tmp_path, jsonl):
    rows = [{"id": f"u{i}"} for i in range(7)]
    jsonl(tmp_path / "R&D JOBless.jsonl", rows)
    words = ["--nj", "3", "R&D JOBless.jsonl", "out.jsonl", "logs & more"]
    (tmp_path / "broken").touch()
    done = bash(SPLIT, *words, *FLAKY, cwd=tmp_path)
    assert done.returncode == 1
    assert "status 7" in done.stderr and "with --resume to run only the missing parts" in done.stderr
    logs = [tmp_path / "logs & more" / f"out.{job}.log" for job in (1, 2, 3)]
    before = [log.read_text() for log in logs]
    (tmp_path / "broken").unlink()
    wrong = bash(SPLIT, "--resume", *words, *FLAKY, "more", cwd=tmp_path)
    assert (wrong.returncode, "differs from the earlier run" in wrong.stderr) == (2, True)
    wrong = bash(SPLIT, "--resume", "--nj", "2", *words[2:], *FLAKY, cwd=tmp_path)
    assert (wrong.returncode, "differs from the earlier run" in wrong.stderr) == (2, True)
    done = bash(SPLIT, "--resume", *words, *FLAKY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert jsonl(tmp_path / "out.jsonl") == rows
    after = [log.read_text() for log in logs]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    os.utime(tmp_path / "R&D JOBless.jsonl")
    stale = bash(SPLIT, "--resume", *words, *FLAKY, cwd=tmp_path)
    assert (stale.returncode, "has changed since" in stale.stderr) == (2, True)


def test_part_that_failed_after_writing_its_rows_runs_again(tmp_path, jsonl):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log", "sh", "-c", 'cp "$0" "$1"; [ ! -e broken ]', "{in}", "{out}"]
    (tmp_path / "broken").touch()
    assert bash(SPLIT, *words, cwd=tmp_path).returncode == 1
    assert "was not written" in bash(SPLIT, "--resume", *words, cwd=tmp_path).stderr
    (tmp_path / "broken").unlink()
    assert bash(SPLIT, "--resume", *words, cwd=tmp_path).returncode == 0


def test_without_resume_all_parts_run_again(tmp_path, jsonl):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log"]
    assert bash(SPLIT, *words, "cp", "{in}", "{out}", cwd=tmp_path).returncode == 0
    assert bash(SPLIT, *words, "sh", "-c", "[ JOB = 1 ] || : {in} {out}", cwd=tmp_path).returncode != 0
    assert not list((tmp_path / "log" / "out.parts").glob("out.*.jsonl"))


def test_there_are_no_more_jobs_than_rows(tmp_path, jsonl):
    rows = [{"id": f"{i:02d}"} for i in range(12)]
    jsonl(tmp_path / "in.jsonl", rows)
    words = [
        "--nj",
        "40",
        "in.jsonl",
        "out.jsonl",
        "log",
        "sh",
        "-c",
        '[ ! -e broken ] && cp "$0" "$1"',
        "{in}",
        "{out}",
    ]
    (tmp_path / "broken").touch()
    assert bash(SPLIT, *words, cwd=tmp_path).returncode != 0
    (tmp_path / "broken").unlink()
    done = bash(SPLIT, "--resume", *words, cwd=tmp_path)
    assert done.returncode == 0 and jsonl(tmp_path / "out.jsonl") == rows
    assert len(list((tmp_path / "log").glob("*.log"))) == 12
    done = bash(SPLIT, *words, cwd=tmp_path)
    assert "--nj 40: 12 used, as in.jsonl has no more rows" in done.stderr


def test_more_parts_than_rows_between_pipes(emissions):
    line = (
        f"cd data; head -n 2 in.jsonl | {SPLIT} --nj 3 - - log ds2 decode ../exp {{in}} {{out}} --greedy | cut -c1-11"
    )
    done = bash("-c", line, cwd=emissions)
    assert done.stdout.splitlines() == ['{"id":"u00"', '{"id":"u01"']


@pytest.mark.parametrize(
    "words, message",
    [
        (["in", "out", "log", "ds2", "decode", "{in}"], "must contain {in} and {out}"),
        (["in", "out", "JOBS", *GREEDY], "JOB is replaced by the number"),
        (["in", "out", "log", *GREEDY, "--max-bad"], "--max-bad: expected a percentage"),
        (["in", "out", "log", *GREEDY, "--dropped", "x"], "--dropped cannot be used"),
        (["in", "out", "log"], "usage:"),
        (["--nj", "0", "in", "out", "log", *GREEDY], "usage:"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(tmp_path, words, message):
    done = bash(SPLIT, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_selected_jobs_get_their_arguments_unchanged(tmp_path):
    words = ["it's", '"q" $HOME `x` \\ 100%', "größer", "a\nb", "*"]
    done = bash(RUN, "--num-threads", "3", "JOB=2,4:5", "ä/x.JOB.log", "printf", "%s|", *words, "JOB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "ä").iterdir()) == ["x.2.log", "x.4.log", "x.5.log"]
    assert "|".join([*words, "4|"]) in (tmp_path / "ä" / "x.4.log").read_text()
    for wrong in ("JOB=a:b", "JOB=1:", "JOB=3:2"):
        assert bash(RUN, wrong, "log", "true", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("script", ["run", "split"])
@pytest.mark.parametrize("interruption", ["ctrl-c", "kill"])
def test_interrupted_run_leaves_no_process(tmp_path, jsonl, script, interruption):
    """Ctrl-C reaches all processes of the terminal, kill only the script; the jobs must end in both cases."""
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    job = ["bash", "-c", "sleep 300 & echo $! > JOB.pid; wait", "{in}", "{out}"]
    launchers = {"run": [RUN, "JOB=1:2", "x.JOB.log"], "split": [SPLIT, "--nj", "2", "in.jsonl", "out.jsonl", "log"]}
    command = ["bash", *map(str, launchers[script]), *job]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = [tmp_path / f"{n}.pid" for n in (1, 2)]
    deadline = time.monotonic() + 60
    while not all(p.exists() and p.read_text().endswith("\n") for p in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    if interruption == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (script == "split") == ("--resume" in stderr)
    # on a busy machine a process may take a moment to end after its signal
    while (alive := [p for p in pids if is_alive(int(p.read_text()))]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("max_bad, allowed", [("33.4", True), ("33.3", False), ("", True)])
def test_joining_counts_only_bad_rows_against_the_limit(tmp_path, jsonl, max_bad, allowed):
    for part, bad in (("1", True), ("2", False)):
        jsonl(tmp_path / f"{part}.jsonl", [{"id": f"{part}-kept"}])
        drops = [{"id": f"{part}-{i}", "reason": "r", "detail": "", "bad": bad and i == 0} for i in range(3)]
        jsonl(tmp_path / f"{part}.jsonl.dropped.jsonl", drops)
    join = ROOT / "steps" / "join_parts.sh"
    done = bash(join, "--max-bad", max_bad, "1.jsonl", "2.jsonl", "out.jsonl", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "out.jsonl").exists()) == ((0, True) if allowed else (1, False)), done.stderr
    assert ("2 kept + 6 dropped" if allowed else "refused, 1 of 3 utterances are bad") in done.stderr
    assert len(jsonl(tmp_path / "out.jsonl.dropped.jsonl")) == 6


def test_a_refused_result_leaves_the_one_before_it(tmp_path, jsonl):
    files = {}
    for bad, status in ((1, 0), (2, 1), (1, 0)):
        jsonl(tmp_path / "1.jsonl", [{"id": f"kept-{bad}"}])
        drops = [{"id": f"{i}", "reason": "r", "detail": "", "bad": True} for i in range(bad)]
        jsonl(tmp_path / "1.jsonl.dropped.jsonl", drops)
        done = bash(ROOT / "steps" / "join_parts.sh", "--max-bad", "50", "1.jsonl", "out.jsonl", cwd=tmp_path)
        assert done.returncode == status, done.stderr
        found = {path.name: path.read_bytes() for path in tmp_path.glob("out.jsonl*") if path.suffix != ".toml"}
        assert found.pop("out.jsonl.refused.jsonl", b"").count(b"\n") == 2 * status
        files = files or found
        assert found == files


@pytest.mark.parametrize("name", ["decode.toml", "best.safetensors"])
def test_resume_refuses_an_experiment_that_has_changed(tmp_path, jsonl, name):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / name).touch()
    copy = ["sh", "-c", 'cp "$1" "$2"', "exp", "{in}", "{out}"]
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log", *copy[:3], "sh", *copy[4:], "exp"]
    assert bash(SPLIT, *words, cwd=tmp_path).returncode == 0
    assert bash(SPLIT, "--resume", *words, cwd=tmp_path).returncode == 0
    stamp = (tmp_path / "log" / "out.parts" / "command").stat().st_mtime
    os.utime(tmp_path / "exp" / name, (stamp + 1, stamp + 1))
    stale = bash(SPLIT, "--resume", *words, cwd=tmp_path)
    assert (stale.returncode, f"exp/{name} has changed since" in stale.stderr) == (2, True)


def test_the_command_and_the_counts_of_all_parts_are_saved(tmp_path, jsonl):
    for part, drops in (("1", 0), ("2", 2)):
        jsonl(tmp_path / f"{part}.jsonl", [{"id": part}])
        settings = f'max_bad = 100\n\n[made_by]\ncommand = "ds2 x"\nkept = 1\ndropped = {drops}\n'
        (tmp_path / f"{part}.jsonl.config.toml").write_text(settings)
        rows = [{"id": f"{part}-{i}", "reason": "r", "detail": "", "bad": False} for i in range(drops)]
        jsonl(tmp_path / f"{part}.jsonl.dropped.jsonl", rows)
    command = 'ds2 x "a b" c\\d & e'
    jsonl(tmp_path / "in.jsonl", [])
    words = ["--max-bad", "60", "--in", "in.jsonl", "--command", command, "1.jsonl", "2.jsonl", "out.jsonl"]
    done = bash(ROOT / "steps" / "join_parts.sh", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    saved = tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text())
    counts = {"kept": 2, "dropped": 2, "dropped_list": "out.jsonl.dropped.jsonl"}
    assert saved == {"max_bad": 60, "made_by": {"command": command, **counts}}


def test_a_run_that_read_standard_input_cannot_be_resumed(tmp_path):
    (tmp_path / "log/out.parts").mkdir(parents=True)
    (tmp_path / "log/out.parts/command").write_text("as before\n")
    done = bash(SPLIT, "--resume", "-", "out.jsonl", "log", "cp", "{in}", "{out}", cwd=tmp_path)
    assert done.returncode == 2
    assert "--resume: standard input cannot be read again" in done.stderr


def test_the_logs_and_parts_of_a_compressed_output_have_its_name_without_the_endings(tmp_path, jsonl):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}])
    words = ["--nj", "1", "in.jsonl", "x.y.jsonl.gz", "log", "cp", "{in}", "{out}"]
    # --resume, too: there is no earlier run
    assert bash(SPLIT, "--resume", *words, cwd=tmp_path).returncode == 0
    assert sorted(p.name for p in (tmp_path / "log").iterdir()) == ["x.y.1.log", "x.y.parts"]
    assert gzip.decompress((tmp_path / "x.y.jsonl.gz").read_bytes()) == b'{"id":"a"}\n'


@pytest.mark.long
def test_parts_without_rows_join_to_a_result_as_of_one_run(tmp_path, jsonl):
    (tmp_path / "wav").mkdir()
    rows = [{"id": f"u{i}", "audio_filepath": "wav/none.wav", "duration": float(i)} for i in range(3)]
    jsonl(tmp_path / "in.jsonl", rows)
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log", "ds2", "featurize", "{in}", "{out}", "--dir", "feats"]
    done = bash(SPLIT, *words, "--min-duration", "9", cwd=tmp_path)
    assert done.returncode == 1 and "refused, none of 3 utterances is kept" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert {row["reason"] for row in jsonl(tmp_path / "out.jsonl.dropped.jsonl")} == {"shorter-than-min-duration"}
    done = bash(SPLIT, *words, "--max-bad", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert "3 in = 0 kept + 3 dropped" in done.stderr


@pytest.mark.long
def test_the_record_of_joined_parts_names_config_files_from_its_folder(tmp_path, shared_data, jsonl):
    recording = sorted((shared_data / "LibriSpeech").rglob("*.flac"))[0]
    rows = [{"id": f"u{i}", "audio_filepath": str(recording), "duration": 1.0, "offset": float(i)} for i in range(2)]
    jsonl(tmp_path / "in.jsonl", rows)
    (tmp_path / "bins.toml").write_text("window_ms = 25.0\n")
    words = ["ds2", "featurize", "{in}", "{out}", "--dir", "feats", "--config", "bins.toml"]
    done = bash(SPLIT, "--nj", "2", "in.jsonl", "x/out.jsonl", "x/log", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'path = "../bins.toml"' in (tmp_path / "x/out.jsonl.config.toml").read_text()
    assert "fresh" in bash("-c", "ds2 status x/out.jsonl", cwd=tmp_path).stdout
    (tmp_path / "bins.toml").write_text("window_ms = 30.0\n")
    assert "window_ms was 25.0, is 30.0" in bash("-c", "ds2 status x/out.jsonl", cwd=tmp_path).stdout
