"""utils/recipe.sh: what recipes share, with a recipe of three lines."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "utils/run.sh"
HEAD = """#!/usr/bin/env bash
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=@ROOT@
exp=exp; who=world
help="usage: recipe.sh [--who world]"
. ./cmd.sh
. $root/utils/recipe.sh
"""


def environment():
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe with a body and return a function that runs it."""
    (tmp_path / "egs").mkdir()
    (tmp_path / "egs/cmd.sh").write_text('cmd=\ncheck_job="--mem 1G --num-threads 1"\ncheck_nj=2\n')
    script = tmp_path / "egs/recipe.sh"

    def run(body, *options, rc=0):
        script.write_text(HEAD.replace("@ROOT@", shlex.quote(str(ROOT))) + body)
        script.chmod(0o755)
        done = subprocess.run(
            [script, *map(str, options)], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done

    run.folder = tmp_path / "egs"
    return run


STAGES = """
if begin_stage 0 "first"; then job check hello echo "hello, $who"; fi
if begin_stage 1 "second"; then job_to out.txt check number echo 5 "${parallel[@]}"; fi
"""


def test_stages_are_chosen_and_commands_run_here(recipe):
    done = recipe(STAGES, "--nj", 1)
    assert done.stdout == "hello, world\n5 --nj 1\n" and "== stage 1: second" in done.stderr
    assert (recipe.folder / "out.txt").read_text() == "5 --nj 1\n"
    assert recipe(STAGES, "--stop-stage", 0, "--who", "you").stdout == "hello, you\n"


def test_with_cmd_the_same_commands_are_jobs_with_logs(recipe):
    done = recipe(STAGES, "--nj", 7, "--cmd", f"{RUN} --max-jobs 1")
    assert done.stdout == "5 --nj 1\n"  # the threads of check_job; what the jobs print is in their logs
    log = (recipe.folder / "exp/log/hello.log").read_text().splitlines()
    assert log[0] == r"# echo hello\,\ world" and log[2] == "hello, world" and log[3].endswith("status 0")


@pytest.mark.parametrize("cmd", ["", RUN])
def test_dry_run_prints_commands_that_can_be_pasted(recipe, cmd):
    options = ["--nj", 3] + (["--cmd", cmd] if cmd else [])
    body = STAGES + "split_job check up in.jsonl up.jsonl cp {in} {out}\n"
    printed = recipe(body, *options, "--dry-run", "--who", "it's me").stdout
    assert not list(recipe.folder.glob("[!cr]*")) and "# stage 0: first\n" in printed
    assert "--mem 1G --num-threads 1" in printed
    (recipe.folder / "in.jsonl").write_text('{"id":"a"}\n{"id":"b"}\n')
    ran = subprocess.run(["bash", "-eu"], input=printed, env=environment(), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert (recipe.folder / "out.txt").read_text() == ("5 --nj 1\n" if cmd else "5 --nj 3\n")
    assert (recipe.folder / "up.jsonl").read_text() == '{"id":"a"}\n{"id":"b"}\n'
    said = (recipe.folder / "exp/log/hello.log").read_text() if cmd else ran.stdout
    assert "hello, it's me\n" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "two"], "--stage: expected the number of a stage, got 'two'"),
        (["--resume=maybe"], "--resume: expected true or false, got 'maybe'"),
        (["--nj", "0"], "--nj: expected a number of jobs, got '0'"),
        (["--cmd", "utils/none.sh"], "utils/none.sh is no program"),
        (["more"], "unexpected argument more"),
        (["--other", "1"], "unknown option --other"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = recipe(STAGES, *options, rc=2)
    assert message in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout


@pytest.mark.parametrize("cmd", ["", RUN])
def test_a_failure_ends_the_recipe_and_names_the_log(recipe, cmd):
    body = """
if begin_stage 3 "fails"; then job check broken bash -c 'echo the cause >&2; exit 4'; fi
if begin_stage 4 "never"; then job check never touch never; fi
"""
    done = recipe(body, *(["--cmd", cmd] if cmd else []), rc=1 if cmd else 4)
    last = done.stderr.splitlines()[-1]
    assert "stage 3: broken failed with status" in last and "--stage 3 --resume true continues" in last
    assert ("log: exp/log/broken.log" in last) == bool(cmd) and "the cause" in done.stderr
    assert not (recipe.folder / "never").exists()


def test_output_of_a_failed_command_does_not_replace_the_one_before(recipe):
    (recipe.folder / "out.txt").write_text("before\n")
    body = "job_to out.txt check number bash -c 'echo half; exit 3'\n"
    recipe(body, rc=3)
    recipe(body, "--cmd", RUN, rc=1)
    assert (recipe.folder / "out.txt").read_text() == "before\n"


def rows(folder, count=4):
    lines = [json.dumps({"id": f"u{i}", "duration": i + 1.5}, separators=(",", ":")) for i in range(count)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")


def test_resume_submits_only_what_is_not_fresh(recipe):
    rows(recipe.folder)
    body = 'job check first ds2 data subset "${if_stale[@]}" in.jsonl first.jsonl --first 2\n'
    cmd = ["--cmd", RUN]
    log = recipe.folder / "exp/log/first.log"
    recipe(body, *cmd)
    log.unlink()
    assert "first: fresh" in recipe(body, *cmd, "--resume").stderr and not log.exists()
    # other options of the command are another output
    recipe(body.replace("--first 2", "--first 3"), *cmd, "--resume")
    assert len((recipe.folder / "first.jsonl").read_text().splitlines()) == 3
    log.unlink()
    rows(recipe.folder, 1)
    recipe(body.replace("--first 2", "--first 3"), *cmd, "--resume")
    assert log.exists() and len((recipe.folder / "first.jsonl").read_text().splitlines()) == 1


def test_resume_of_a_command_whose_standard_output_is_missing(recipe):
    rows(recipe.folder)
    body = "job_to said.txt check first ds2 data subset in.jsonl first.jsonl --first 2\n"
    recipe(body, "--cmd", RUN)
    (recipe.folder / "said.txt").write_text("kept\n")
    assert recipe(body, "--cmd", RUN, "--resume").stdout == "kept\n"
    (recipe.folder / "said.txt").unlink()
    assert recipe(body, "--cmd", RUN, "--resume").stdout == "" and (recipe.folder / "said.txt").exists()


TORCHRUN = 'echo "OMP=$OMP_NUM_THREADS $@"\n'


@pytest.mark.parametrize(
    ("variables", "nodes", "meet"),
    [
        ({}, "--nnodes 1", "--standalone"),
        (
            {"SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_ID": "123456"},
            "--nnodes 3",
            "--rdzv-backend c10d --rdzv-id 123456 --rdzv-endpoint n1:23456",
        ),
    ],
)
def test_torchrun_on_one_machine_and_on_the_nodes_of_a_job(tmp_path, variables, nodes, meet):
    for name, text in {"torchrun": TORCHRUN, "scontrol": "printf 'n1\\nn2\\nn3\\n'\n"}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (tmp_path / name).chmod(0o755)
    env = environment() | variables | {"OMP_NUM_THREADS": "8"}
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    command = [ROOT / "utils/torchrun.sh", "--nproc", "2", "ds2", "train", "a b.jsonl", "exp"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    processes = f"{nodes} --nproc-per-node 2 --max-restarts 3 {meet}"
    assert done.stdout == f"OMP=4 {processes} -m ds2cli train a b.jsonl exp\n", done.stderr
    done = subprocess.run([*command[:4], "decode", "exp"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "expected 'ds2 train …'" in done.stderr


def test_resume_continues_split_jobs_and_starts_again_when_their_input_changed(recipe):
    rows(recipe.folder)
    script = "echo x >>ran.JOB; [ JOB != 2 ] || [ -e repaired ] || exit 5; cp {in} {out}"
    body = f'split_job check "copy" in.jsonl copy.jsonl bash -c {shlex.quote(script)}\n'
    done = recipe(body, "--cmd", RUN, rc=1)
    assert "log: exp/log/copy.JOB.log" in done.stderr
    (recipe.folder / "repaired").touch()
    recipe(body, "--cmd", RUN, "--resume")
    assert [(recipe.folder / f"ran.{job}").read_text().count("x") for job in (1, 2)] == [1, 2]
    assert (recipe.folder / "copy.jsonl").read_text() == (recipe.folder / "in.jsonl").read_text()
    time.sleep(0.02)
    rows(recipe.folder, 6)
    assert "in.jsonl has changed" in recipe(body, "--cmd", RUN, "--resume").stderr
    assert len((recipe.folder / "copy.jsonl").read_text().splitlines()) == 6
    assert "differs from the earlier run" in recipe(body, "--cmd", RUN, "--resume", "--nj", 3).stderr


@pytest.mark.parametrize("cmd", ["", RUN])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_jobs(recipe, cmd, number):
    body = """
if begin_stage 2 "long"; then
  job_to out.txt check long bash -c 'trap "echo stopped >>signals; exit 143" INT TERM; echo $$ >pid
    while true; do sleep 0.05; done'
fi
"""
    recipe("", rc=0)
    script = recipe.folder / "recipe.sh"
    script.write_text(script.read_text() + body)
    command = [script, *(["--cmd", cmd] if cmd else [])]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        pid = recipe.folder / "pid"
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.02)
        # Ctrl-C reaches the group of the recipe, kill only the recipe itself
        os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
        _, stderr = run.communicate(timeout=30)
    assert run.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert "interrupted in stage 2" in stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert (recipe.folder / "signals").read_text() == "stopped\n"  # once
    assert not (recipe.folder / "out.txt").exists()
