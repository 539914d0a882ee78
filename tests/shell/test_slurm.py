"""utils/slurm.sh, with a real one-node Slurm if its packages are installed; some tests need none."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import read_matrix

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "utils" / "slurm.sh"
SPLIT = ROOT / "steps" / "split_jobs.sh"
NODE = ROOT / "tests" / "shell" / "slurm_node.sh"
WORDS = ["it's", '"q" $HOME `x` \\ 100% ${x} !', "größer €", "a\nb\t", "*", "#SBATCH", ""]


def environment(**variables):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}


@pytest.fixture(scope="module")
def cluster():
    """Environment variables for a one-node Slurm that runs during the tests of this module."""
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [p for p in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(p, path=path)]
    if missing:
        pytest.skip(f"no {missing[0]} (apt-get install -y slurm-wlm munge)")
    if os.getuid() != 0:
        pytest.skip("starting the daemons of Slurm needs root")
    command = ["bash", NODE, "bash", "-c", 'echo "$SLURM_CONF"; cat']
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as process:
        conf = process.stdout.readline().strip()
        if not conf:
            pytest.skip(f"Slurm does not start here: {process.stderr.read()}")
        yield environment(SLURM_CONF=conf, DS2_TEST_VARIABLE="ja, ü")
        process.stdin.close()
        assert process.wait(60) == 0
    assert not Path(conf).parent.exists()


@pytest.fixture
def slurm(cluster, tmp_path):
    """Run a script in an empty folder, in the environment of the cluster."""

    def run(script, *words, **env):
        command = ["bash", *map(str, [script, *words])]
        return subprocess.run(command, cwd=tmp_path, env=cluster | env, capture_output=True, text=True, timeout=120)

    return run


def queue(env):
    return subprocess.run(["squeue", "--noheader"], env=env, capture_output=True, text=True, check=True).stdout


def test_arguments_environment_and_job_numbers_reach_the_task(slurm, tmp_path):
    script = 'printf "%s|" "$@"; echo "$DS2_TEST_VARIABLE"; command -v ds2; pwd'
    done = slurm(SLURM, "JOB=2,4:5", "ä %a/x.JOB.log", "bash", "-c", script, "JOB", *WORDS, "JOB")
    assert done.returncode == 0, done.stderr
    assert "JOB=2,4:5" in done.stderr
    assert sorted(p.name for p in (tmp_path / "ä %a").iterdir()) == ["x.2.log", "x.4.log", "x.5.log"]
    log = (tmp_path / "ä %a" / "x.4.log").read_text()
    assert "|".join([*WORDS, "4|ja, ü\n"]) in log
    assert log.splitlines()[-3:-1] == [str(Path(sys.executable).parent / "ds2"), str(tmp_path)]
    assert log.startswith("# bash -c printf") and log.splitlines()[-1].endswith("status 0")


def test_failed_task_fails_the_array_and_shows_its_log(slurm):
    done = slurm(
        SLURM, "--max-jobs", "1", "JOB=1:3", "x.JOB.log", "bash", "-c", "echo task JOB; [ JOB != 2 ] || exit 9"
    )
    assert done.returncode == 1
    assert "task 2 of job" in done.stderr and "status 9; the end of x.2.log" in done.stderr
    assert "task 2\n" in done.stderr and "task 1" not in done.stderr and "task 3" not in done.stderr


def test_a_task_that_is_killed_before_it_wrote_its_status_is_a_failure(slurm):
    """As by the kernel for its memory: the script of the task is the parent of its command."""
    done = slurm(SLURM, "JOB=1:2", "x.JOB.log", "bash", "-c", "[ JOB != 2 ] || kill -9 $PPID", DS2_LOG_WAIT="2")
    assert done.returncode == 1
    assert "task 2 of job" in done.stderr and "status unknown (killed: time, memory or node?)" in done.stderr
    assert "task 1 of job" not in done.stderr


@pytest.mark.parametrize("seconds", ["2.5", "soon", "-1"])
def test_a_wait_that_is_no_number_is_refused_before_anything_runs(slurm, seconds):
    done = slurm(SLURM, "x.JOB.log", "true", DS2_LOG_WAIT=seconds)
    message = f"utils/slurm.sh: DS2_LOG_WAIT: expected whole seconds, got '{seconds}'\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_resources_are_requested(slurm, tmp_path):
    show = 'scontrol show job "$SLURM_JOB_ID"; echo "omp $OMP_NUM_THREADS gpu $CUDA_VISIBLE_DEVICES"'
    options = ["--mem", "300M", "--gpu", "1", "--num-threads", "2", "--time", "7", "--partition", "test"]
    done = slurm(SLURM, *options, "x.JOB.log", "bash", "-c", show, DS2_SBATCH="--comment=site --mem=1G --nice=3")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "x.1.log").read_text()
    for part in ("mem=300M", "CPUs/Task=2", "TimeLimit=00:07:00", "Comment=site", "Nice=3", "omp 2 gpu 0"):
        assert part in log


def test_impossible_requests_are_reported_and_can_be_withdrawn(slurm, cluster, tmp_path):
    done = slurm(SLURM, "--mem", "99G", "JOB=1:2", "x.JOB.log", "true")
    assert done.returncode == 1
    assert "configuration is not available" in done.stderr and "sbatch refused the array (" in done.stderr
    command = ["bash", str(SLURM), "--num-threads", "9", "JOB=1:2", "x.JOB.log", "true"]
    with subprocess.Popen(command, cwd=tmp_path, env=cluster, stderr=subprocess.PIPE, text=True) as process:
        reported = next(line for line in process.stderr if "is waiting" in line)
        # neither messages that no one reads any more nor a second signal end it before the array is cancelled
        process.stderr.close()
        process.terminate()
        time.sleep(0.02)
        process.terminate()
    assert "is waiting: PartitionConfig (no node is large enough?" in reported
    assert process.returncode == 130 and queue(cluster) == ""


@pytest.mark.parametrize("delay", [0.05, 0.1, None], ids=["0.05 s", "0.1 s", "running"])
@pytest.mark.parametrize("interruption", ["ctrl-c", "kill"])
def test_interrupted_array_is_cancelled(cluster, tmp_path, interruption, delay):
    """After a delay in seconds, or as soon as the first task runs."""
    # Slurm signals the processes of a task one by one: the shell may go on for a moment after its sleep has ended
    command = ["bash", str(SLURM), "JOB=1:3", "x.JOB.log", "bash", "-c", "sleep 300; sleep 2; touch late"]
    process = subprocess.Popen(command, cwd=tmp_path, env=cluster, stderr=subprocess.DEVNULL, start_new_session=True)
    log, deadline = tmp_path / "x.1.log", time.monotonic() + 60
    while delay is None and time.monotonic() < deadline and not (log.is_file() and "# started" in log.read_text()):
        time.sleep(0.05)
    time.sleep(delay or 0)
    if interruption == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    # a script that had barely started may be killed by the signal
    assert process.wait(30) in ((130,) if delay is None else (130, -signal.SIGINT, -signal.SIGTERM))
    assert queue(cluster) == ""
    if delay is None:
        assert log.read_text().rstrip().endswith("status 143")
    assert not (tmp_path / "late").exists()


def test_featurizing_in_three_parts_resumes_after_one_failed(slurm, shared_data, tmp_path, jsonl):
    chapter = sorted((shared_data / "LibriSpeech" / "test-other").rglob("*.trans.txt"))[0]
    (tmp_path / "wav").mkdir()
    for line in chapter.read_text().splitlines()[:9]:
        name, _, text = line.partition(" ")
        shutil.copy(chapter.with_name(f"{name}.flac"), tmp_path / "wav")
        (tmp_path / "wav" / f"{name}.txt").write_text(text + "\n")
    done = slurm("-c", "ds2 prepare folder wav in.jsonl && ds2 featurize in.jsonl one.jsonl --dir one")
    assert done.returncode == 0, done.stderr
    (tmp_path / "broken").touch()
    flaky = ["sh", "-c", '[ JOB != 2 ] || [ ! -e broken ] || exit 4; exec "$@"', "sh"]
    words = ["--nj", "3", "--run", f"{SLURM} --mem 400M", "in.jsonl", "out/x.jsonl", "log", *flaky]
    words += ["ds2", "featurize", "{in}", "{out}", "--dir", "feats"]
    done = slurm(SPLIT, *words)
    assert done.returncode == 1
    assert "task 2 of job" in done.stderr and "JOB=1:3" in done.stderr
    (tmp_path / "broken").unlink()
    done = slurm(SPLIT, "--resume", *words)
    assert done.returncode == 0, done.stderr
    assert "JOB=2\n" in done.stderr
    joined, reference = (list(manifest.read(str(tmp_path / name))) for name in ("out/x.jsonl", "one.jsonl"))
    assert sorted(p.name for p in (tmp_path / "feats").glob("x.?.1.ark")) == [f"x.{job}.1.ark" for job in (1, 2, 3)]
    for a, b in zip(joined, reference, strict=True):
        np.testing.assert_array_equal(read_matrix(a.pop("feats"), a["id"]), read_matrix(b.pop("feats"), b["id"]))
        assert a == b


def test_arguments_reach_a_simulated_slurm_unchanged(tmp_path):
    """A replacement for sbatch runs the tasks at once; squeue prints nothing."""
    (tmp_path / "bin").mkdir()
    sbatch = """
cat > script; printf '%s\\n' "$@" > options; echo 17
for n in 3 4; do SLURM_ARRAY_TASK_ID=$n bash script > "x y.$n.log" 2>&1; done"""
    for name, text in {"sbatch": sbatch, "squeue": "", "scancel": ""}.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = environment(DS2_SBATCH="--account=speech --mem=1G")
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    command = [
        "bash",
        SLURM,
        "--max-jobs",
        "7",
        "--mem",
        "2G",
        "JOB=3:4",
        "x y.JOB.log",
        "printf",
        "%s|",
        *WORDS,
        "JOB",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "|".join([*WORDS, "4|"]) in (tmp_path / "x y.4.log").read_text()
    options = (tmp_path / "options").read_text().splitlines()
    assert options[:2] == ["--account=speech", "--mem=1G"]
    assert {"--array=3-4%7", "--output=x y.%a.log", "--mem=2G", "--export=ALL"} < set(options)


def test_missing_slurm_is_reported_in_one_line(tmp_path):
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run([SLURM, "x.log", "true"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("utils/slurm.sh: no sbatch on the PATH (")
    assert len(done.stderr.splitlines()) == 1
