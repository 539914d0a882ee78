"""The shell scripts: options, jobs, and the usage lines of the recipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("egs/*/*.sh"), *ROOT.glob("steps/*.sh"), *ROOT.glob("utils/*.sh")])


def bash(script, *args, cwd=None):
    ds2 = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": ds2, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", *map(str, [script, *args])], capture_output=True, text=True, cwd=cwd, env=env)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name if p.parent.name != "asterisk" else "asterisk")
def test_every_script_is_valid_bash(script):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    first = script.read_text().splitlines()[0]
    sourced = script.name in ("options.sh", "path.sh", "cores.sh")
    assert (first == "#!/usr/bin/env bash") == os.access(script, os.X_OK) or sourced


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "s.sh"
    options = ROOT / "utils" / "options.sh"
    path.write_text(f'set -eu\nnj=2; long_name=; flag=false; help=usage\n. {options}\necho "$nj|$long_name|$flag|$*"\n')
    return path


@pytest.mark.parametrize(
    "args, out",
    [
        ([], "2||false|"),
        (["--nj", "4", "a", "b"], "4||false|a b"),
        (["--nj=4", "--long-name", "x y", "--", "--nj"], "4|x y|false|--nj"),
        (["--long-name=--mem=4G -p a=b"], "2|--mem=4G -p a=b|false|"),
        (["--flag", "a"], "2||true|a"),
        (["--flag", "true", "a"], "2||true|a"),
        (["--help"], "usage"),
    ],
)
def test_options(script, args, out):
    done = bash(script, *args)
    assert (done.returncode, done.stdout.strip()) == (0, out)


@pytest.mark.parametrize("args", [["--nope", "1"], ["--nj"], ["--PATH=x"], ["--n;j=1"]])
def test_wrong_options_exit_2(script, args):
    done = bash(script, *args)
    assert done.returncode == 2
    assert args[0].split("=")[0] in done.stderr


def test_each_job_has_its_log(tmp_path):
    run = ROOT / "utils" / "run.sh"
    done = bash(run, "--max-jobs", "2", "JOB=1:5", tmp_path / "log" / "x.JOB.log", "sh", "-c", "echo hello JOB")
    assert done.returncode == 0
    for job in range(1, 6):
        log = (tmp_path / "log" / f"x.{job}.log").read_text()
        assert f"\nhello {job}\n" in log
        assert "status 0" in log.splitlines()[-1]


def test_no_more_than_max_jobs_run_at_once(tmp_path):
    # each job counts the jobs that have started and not ended
    count = "touch on.JOB; sleep 0.3; set -- on.*; echo $#; rm on.JOB"
    done = bash(ROOT / "utils" / "run.sh", "--max-jobs", "2", "JOB=1:4", "x.JOB.log", "sh", "-c", count, cwd=tmp_path)
    assert done.returncode == 0
    counts = [int((tmp_path / f"x.{job}.log").read_text().splitlines()[2]) for job in range(1, 5)]
    assert max(counts) <= 2


def test_logs_of_an_earlier_run_are_removed_before_the_first_job(tmp_path):
    command = (ROOT / "utils" / "run.sh", "--max-jobs", "1", "JOB=1:2", "x.JOB.log", "sh", "-c", "ls x.*.log")
    for _ in range(2):
        assert bash(*command, cwd=tmp_path).returncode == 0
        assert (tmp_path / "x.1.log").read_text().splitlines()[2:-1] == ["x.1.log"]


def test_failed_job_fails_the_run_and_shows_its_log(tmp_path):
    done = bash(ROOT / "utils" / "run.sh", "JOB=1:3", tmp_path / "x.JOB.log", "sh", "-c", "echo job JOB; [ JOB != 2 ]")
    assert done.returncode == 1
    assert "status 1" in done.stderr
    assert "job 2" in done.stderr
    assert "job 1" not in done.stderr


def test_filter_in_parts_equals_the_filter(tmp_path, jsonl):
    rows = [{"id": f"u{i:02}", "duration": float(i)} for i in range(9)]
    path = jsonl(tmp_path / "in.jsonl", rows)
    command = ["ds2", "data", "subset", "--min-duration", "4", "{in}", "{out}"]
    done = bash(ROOT / "steps" / "split_jobs.sh", "--nj", "3", path, tmp_path / "out.jsonl", tmp_path / "log", *command)
    assert done.returncode == 0, done.stderr
    assert jsonl(tmp_path / "out.jsonl") == rows[4:]


@pytest.mark.parametrize("recipe", ["asterisk", "librispeech"])
def test_recipes_print_their_usage(recipe):
    run = ROOT / "egs" / recipe / "run.sh"
    assert "usage:" in bash(run, "--help").stdout
    assert bash(run, "--stop").returncode == 2
