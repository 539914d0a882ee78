"""utils/run.sh and steps/split_jobs.sh: parts are joined as if there had been none, an ended run leaves nothing."""

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


def bash(*words, cwd, **more):
    command = ["bash", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment() | more, capture_output=True, text=True, timeout=120)


@pytest.fixture
def emissions(tmp_path, jsonl):
    """An experiment `exp` that is only an alphabet, and `data/in.jsonl`: 20 rows with emissions, three broken."""
    rng = np.random.default_rng(3)
    (tmp_path / "exp").mkdir()
    (tmp_path / "data" / "arks").mkdir(parents=True)
    Vocab.from_texts(["abc "]).save(tmp_path / "exp" / "tokens.txt")
    rows = []
    with ArkWriter(tmp_path / "data" / "arks" / "e.ark") as ark:
        for i in range(20):
            x = rng.normal(size=(12, 5)).astype(np.float32)
            where = ark.write(f"u{i:02}", x - np.log(np.exp(x).sum(1, keepdims=True)))
            rows.append({"id": f"u{i:02}", "text": "ä b", "emission": f"arks/{Path(where).name}", "step_s": 0.03})
    for i in (4, 11, 12):
        rows[i]["emission"] = "arks/gone.ark:5"
    jsonl(tmp_path / "data" / "in.jsonl", rows)
    return tmp_path


def test_parts_are_decoded_as_the_whole_is(emissions):
    command = [*GREEDY[:-1], "--beam", "8", "--nbest", "2", "--max-bad", "20"]
    whole = [word.format(**{"in": "data/in.jsonl", "out": "whole/x.jsonl"}) for word in command]
    assert bash("-c", '"$0" "$@"', *whole, cwd=emissions).returncode == 0
    theirs = tomllib.loads((emissions / "whole" / "x.jsonl.config.toml").read_text())
    for nj in (1, 2, 3):
        done = bash(SPLIT, "--nj", nj, "data/in.jsonl", f"of-{nj}/x.jsonl", f"deep/er/{nj}", *command, cwd=emissions)
        assert done.returncode == 0, done.stderr
        assert "20 in = 17 kept + 3 dropped" in done.stderr
        for name in ("x.jsonl", "x.jsonl.dropped.jsonl"):
            assert (emissions / f"of-{nj}" / name).read_bytes() == (emissions / "whole" / name).read_bytes()
        ours = tomllib.loads((emissions / f"of-{nj}" / "x.jsonl.config.toml").read_text())
        ours["made_by"]["command"] = ours["made_by"]["command"].replace(f"of-{nj}/", "whole/")
        assert ours == theirs


def test_max_bad_is_of_the_whole_and_a_higher_one_costs_no_run(emissions, jsonl):
    words = ["--nj", "4", "data/in.jsonl", "out/x.jsonl", "log", *GREEDY]
    done = bash(SPLIT, *words, "--max-bad", "14", cwd=emissions)
    assert done.returncode == 1
    assert "refused, 3 of 20 utterances are bad (allowed 14 %" in done.stderr
    assert not (emissions / "out" / "x.jsonl").exists()
    assert len(jsonl(emissions / "out" / "x.jsonl.dropped.jsonl")) == 3
    # part 3 alone has 40 % bad ones
    done = bash(SPLIT, "--resume", "--run", "no-such-command", *words, "--max-bad=15", cwd=emissions)
    assert done.returncode == 0, done.stderr
    assert len(jsonl(emissions / "out" / "x.jsonl")) == 17


def test_resume_runs_only_what_is_missing(tmp_path, jsonl):
    rows = [{"id": f"u{i}"} for i in range(7)]
    jsonl(tmp_path / "R&D JOBless.jsonl", rows)
    words = ["--nj", "3", "R&D JOBless.jsonl", "out.jsonl", "logs & more"]
    (tmp_path / "broken").touch()
    done = bash(SPLIT, *words, *FLAKY, cwd=tmp_path)
    assert done.returncode == 1
    assert "status 7" in done.stderr and "--resume runs only the parts that are missing" in done.stderr
    logs = [tmp_path / "logs & more" / f"out.{job}.log" for job in (1, 2, 3)]
    before = [log.read_text() for log in logs]
    (tmp_path / "broken").unlink()
    wrong = bash(SPLIT, "--resume", *words, *FLAKY, "more", cwd=tmp_path)
    assert (wrong.returncode, "is another one" in wrong.stderr) == (2, True)
    done = bash(SPLIT, "--resume", *words, *FLAKY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert jsonl(tmp_path / "out.jsonl") == rows
    after = [log.read_text() for log in logs]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    os.utime(tmp_path / "R&D JOBless.jsonl")
    stale = bash(SPLIT, "--resume", *words, *FLAKY, cwd=tmp_path)
    assert (stale.returncode, "has changed since" in stale.stderr) == (2, True)


def test_a_part_that_ended_badly_after_its_rows_runs_again(tmp_path, jsonl):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log", "sh", "-c", 'cp "$0" "$1"; [ ! -e broken ]', "{in}", "{out}"]
    (tmp_path / "broken").touch()
    assert bash(SPLIT, *words, cwd=tmp_path).returncode == 1
    assert "not made" in bash(SPLIT, "--resume", *words, cwd=tmp_path).stderr
    (tmp_path / "broken").unlink()
    assert bash(SPLIT, "--resume", *words, cwd=tmp_path).returncode == 0


def test_without_resume_nothing_of_an_earlier_run_is_used(tmp_path, jsonl):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    words = ["--nj", "2", "in.jsonl", "out.jsonl", "log"]
    assert bash(SPLIT, *words, "cp", "{in}", "{out}", cwd=tmp_path).returncode == 0
    assert bash(SPLIT, *words, "sh", "-c", "[ JOB = 1 ] || : {in} {out}", cwd=tmp_path).returncode != 0
    assert not list((tmp_path / "log" / "out.parts").glob("out.*.jsonl"))


def test_more_parts_than_rows_and_pipes(emissions):
    line = (
        f"cd data; head -n 2 in.jsonl | {SPLIT} --nj 3 - - log ds2 decode ../exp {{in}} {{out}} --greedy | cut -c1-11"
    )
    done = bash("-c", line, cwd=emissions)
    assert done.stdout.splitlines() == ['{"id":"u00"', '{"id":"u01"']


@pytest.mark.parametrize(
    "words, what",
    [
        (["in", "out", "log", "ds2", "decode", "{in}"], "lacks {in} or {out}"),
        (["in", "out", "JOBS", *GREEDY], "JOB stands for the number"),
        (["in", "out", "log", *GREEDY, "--max-bad"], "--max-bad is a percentage"),
        (["in", "out", "log", *GREEDY, "--dropped", "x"], "--dropped has no meaning"),
        (["in", "out", "log"], "usage:"),
        (["--nj", "0", "in", "out", "log", *GREEDY], "usage:"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, words, what):
    done = bash(SPLIT, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert what in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_some_jobs_only_in_words_that_survive(tmp_path):
    words = ["it's", '"q" $HOME `x` \\ 100%', "größer", "a\nb", "*"]
    done = bash(RUN, "--num-threads", "3", "JOB=2,4:5", "ä/x.JOB.log", "printf", "%s|", *words, "JOB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "ä").iterdir()) == ["x.2.log", "x.4.log", "x.5.log"]
    assert "|".join([*words, "4|"]) in (tmp_path / "ä" / "x.4.log").read_text()
    for wrong in ("JOB=a:b", "JOB=1:", "JOB=3:2"):
        assert bash(RUN, wrong, "log", "true", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("script", ["run", "split"])
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_an_interrupted_run_leaves_no_process(tmp_path, jsonl, script, how):
    """Ctrl-C reaches all processes of the terminal, kill only the script; what the jobs started must end as well."""
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    job = ["bash", "-c", "sleep 300 & echo $! > JOB.pid; wait", "{in}", "{out}"]
    before = {"run": [RUN, "JOB=1:2", "x.JOB.log"], "split": [SPLIT, "--nj", "2", "in.jsonl", "out.jsonl", "log"]}
    command = ["bash", *map(str, before[script]), *job]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = [tmp_path / f"{n}.pid" for n in (1, 2)]
    until = time.monotonic() + 60
    while not all(p.exists() and p.read_text().endswith("\n") for p in pids) and time.monotonic() < until:
        time.sleep(0.05)
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (script == "split") == ("--resume" in said)
    assert not [p for p in pids if alive(int(p.read_text()))]


def alive(pid):
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
