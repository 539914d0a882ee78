"""The number of cores, and what is limited by it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli import cgroups, cores
from ds2cli.errors import UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight cores, and files of control groups: (their paths and contents, those of this process) → number of cores."""

    def count(files, membership):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        return cores.count_cores()

    monkeypatch.delenv("DS2_CORES")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return count


def v1(group, quota, period=100000):
    return {f"cpu/{group}cpu.cfs_quota_us": f"{quota}\n", f"cpu/{group}cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/\n", 8),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 8),
        ({"cpu.max": "300000 100000\n"}, "0::/\n", 3),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "5000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "900000 100000\n"}, "0::/\n", 8),
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "600000 100000\n"}, "0::/a/b\n", 4),
        (v1("", -1), "3:cpu,cpuacct:/\n", 8),
        (v1("", 250000), "5:memory:/x\n3:cpu,cpuacct:/docker/abc\n0::/\n", 3),
        (v1("a/", 200000), "4:cpuset:/\n3:cpu:/a\n", 2),
        ({"cpu.max": "broken\n"}, "0::/\n", 8),
    ],
    ids=str,
)
def test_the_affinity_and_the_quota_limit_the_cores(machine, files, membership, expected):
    assert machine(files, membership) == expected


def test_the_affinity_is_that_of_this_process(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert machine({}, "0::/\n") == 1


def test_a_system_without_control_groups_or_affinity(monkeypatch, tmp_path):
    monkeypatch.delenv("DS2_CORES")
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "missing")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.count_cores() == 6


def test_the_variable_comes_first(monkeypatch):
    monkeypatch.setenv("DS2_CORES", "3")
    assert cores.count_cores() == 3
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("DS2_CORES", wrong)
        with pytest.raises(UsageError, match=f"DS2_CORES={wrong}: expected the number of cores"):
            cores.count_cores()


def test_shell_scripts_read_the_number(tmp_path):
    command = [sys.executable, "-m", "ds2cli.cores"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env | {"DS2_CORES": "5"}, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "5\n")
    done = subprocess.run(command, env=env | {"DS2_CORES": "x"}, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("DS2_CORES=x: expected")


@pytest.mark.parametrize("nj", [2, 99])
def test_more_jobs_than_cores_are_lowered_in_one_line(ds2, tmp_path, jsonl, nj):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(scale=0.1, size=8000), 16000)
    # more than one process takes at a time
    rows = [{"id": f"u{i:02}", "audio_filepath": "a.wav", "duration": 0.5, "text": "a"} for i in range(10)]
    source = jsonl(tmp_path / "in.jsonl", rows)
    done = ds2("featurize", source, tmp_path / "out.jsonl", "--nj", nj)
    assert done.returncode == 0, done.stderr
    lowered = "warning: --nj 99: 2 used, as 2 cores are available"
    assert [line for line in done.stderr.splitlines() if "--nj" in line] == [lowered] * (nj == 99)
    assert len(jsonl(tmp_path / "out.jsonl")) == 10


def test_threads_that_wait_for_disks_may_be_more_than_the_cores(ds2, tmp_path):
    (tmp_path / "corpus").mkdir()
    done = ds2("prepare", "folder", tmp_path / "corpus", tmp_path / "out.jsonl", "--nj", 99)
    assert "warning: --nj 99: 16 used, as 2 cores are available, 8 for each" in done.stderr


def test_more_training_processes_than_cores_are_refused(ds2, toy, tmp_path):
    refusal = "ds2: train: --nproc 99: expected at most one process per core, found 2 cores (use --nproc 2)\n"
    for command in (["train", toy / "train.jsonl", tmp_path / "exp"], ["plan", toy / "train.jsonl"]):
        done = ds2(*command, "--nproc", 99, "--device", "cpu")
        assert (done.returncode, done.stderr) == (2, refusal)
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(("nproc", "readers", "used"), [(1, 99, 2), (2, 2, 1)])
def test_data_loader_processes_share_the_cores(ds2, toy, tmp_path, nproc, readers, used):
    done = ds2(
        *("train", toy / "train.jsonl", tmp_path / "exp", "--epochs", 1, "--batch-s", 10, "--set", "model.rnn_size=8"),
        *("--set", "model.rnn_layers=1", "--device", "cpu", "--nproc", nproc, "--readers", readers),
    )
    assert done.returncode == 0, done.stderr
    available = "2 cores are available" + " for 2 processes" * (nproc > 1)
    expected = f"warning: --readers {readers}: {used} used, as {available}"
    assert [line for line in done.stderr.splitlines() if "--readers" in line] == [expected]
    assert f"readers = {used}\n" in (tmp_path / "exp" / "config.toml").read_text()


@pytest.mark.parametrize("variables", [{"DS2_CORES": "1"}, {"DS2_CORES": "2", "OMP_NUM_THREADS": "1"}])
def test_a_command_computes_with_at_most_a_thread_per_core(variables):
    code = "import sys; from ds2cli.cli.main import main; sys.argv[1:] = ['--version']\ntry: main()\nexcept SystemExit:"
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")} | variables
    command = [sys.executable, "-c", f"{code}\n    import torch; print(torch.get_num_threads())"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["1"], done.stderr


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_threads_of_torch_wait_without_spinning_unless_told_otherwise(given, policy):
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": given} if given else {}
    # it is read when torch is loaded, which no command does before its options are understood
    code = "import os, sys, ds2cli.cli.main; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == f"{policy} False\n", done.stderr


def test_jobs_run_one_per_core_and_share_the_cores(tmp_path):
    """Each job adds a line to a file when it starts and when it ends; more never run at once than the cores allow."""
    run = ROOT / "utils" / "run.sh"
    work = 'echo + >>log; echo "$OMP_NUM_THREADS"; sleep 0.2; echo - >>log'
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}

    def jobs(*options, count=6, **variables):
        (tmp_path / "log").unlink(missing_ok=True)
        command = ["bash", run, *options, f"JOB=1:{count}", "x.JOB.log", "bash", "-c", work, "JOB"]
        done = subprocess.run(
            command, cwd=tmp_path, env=env | {"DS2_CORES": "4"} | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        running = most = 0
        for line in (tmp_path / "log").read_text().split():
            running += 1 if line == "+" else -1
            most = max(most, running)
        threads = {(tmp_path / f"x.{job}.log").read_text().splitlines()[2] for job in range(1, count + 1)}
        return most, threads, done.stderr

    most, threads, said = jobs()
    assert most <= 4 and threads == {"1"}
    assert said == f"{run}: 6 jobs: 4 at a time, as 4 cores are available\n"
    assert jobs("--max-jobs", "99")[2] == said
    most, threads, said = jobs("--max-jobs", "2", count=3)
    assert most <= 2 and threads == {"2"} and said == ""
    most, threads, said = jobs("--num-threads", "3", count=2)
    assert most == 1 and threads == {"3"} and "2 jobs of 3 threads: 1 at a time" in said
    most, threads, said = jobs("--num-threads", "99", count=1)
    assert threads == {"4"} and said == f"{run}: 99 threads per job: 4 used, as 4 cores are available\n"
    # the variable counts like the option, which has precedence
    most, threads, said = jobs(count=3, OMP_NUM_THREADS="2,1")
    assert most <= 2 and threads == {"2"} and "3 jobs of 2 threads: 2 at a time" in said
    most, threads, said = jobs(count=2, OMP_NUM_THREADS="99")
    assert most == 1 and threads == {"4"} and "99 threads per job: 4 used" in said and "1 at a time" in said
    most, threads, said = jobs("--num-threads", "1", count=2, OMP_NUM_THREADS="4")
    assert most <= 2 and threads == {"1"} and said == ""


SERVER = ROOT / "egs" / "asterisk" / "serve.sh"
"""It measures the server's own default."""

SCRIPTS = sorted(p for p in set(ROOT.glob("egs/*/*.sh")) - {SERVER} if p.name != "cmd.sh")


@pytest.mark.parametrize("recipe", SCRIPTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_recipes_use_all_cores_by_default(recipe):
    text = recipe.read_text()
    if ". $root/utils/recipe.sh" in text:
        # which has that line; the recipe must not set another number
        assert not re.search(r"\bnj=[1-9]", text)
        return
    assert re.search(r"^(.*; )?nj=;", text, re.MULTILINE) and ". $root/utils/cores.sh; nj=${nj:-$cores}" in text
