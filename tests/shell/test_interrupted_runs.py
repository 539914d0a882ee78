"""Trainings survive kills, signals, full disks and dead processes, also across machines."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ds2cli.nn.checkpoint import load_model
from ds2cli.train.resume import load_checkpoint

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def interrupted_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import interrupted_runs

        yield interrupted_runs


@pytest.fixture(scope="module")
def data(interrupted_runs, shared_data, tmp_path_factory):
    return interrupted_runs.write_data(shared_data, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(interrupted_runs, data):
    """The folder of an uninterrupted run of three epochs."""
    interrupted_runs.run_to_end(data, data / "uninterrupted", "--epochs", 3)
    return data / "uninterrupted"


def kill_repeatedly(interrupted_runs, folder, exp, seed, kills, *options, epochs=3):
    """Kill a run `kills` times, then let it finish; returns the step of last.pt after each kill."""
    rng, steps = random.Random(seed), []
    for turn in range(kills):
        save_minutes = 0 if turn % 2 else 0.0005
        run = interrupted_runs.Run(
            folder,
            exp,
            "--epochs",
            epochs,
            "--readers",
            rng.choice([0, 1, 2, 3]),
            "--save-minutes",
            save_minutes,
            *options,
        )
        # the first kill comes before the first checkpoint
        if turn == 0:
            running = run.wait_until(lambda run=run: "steps per epoch" in run.output())
        else:
            running = run.wait_for_saves(rng.randint(1, 3))
        time.sleep(rng.uniform(0, 0.05))
        if steps and not (running and run.process.poll() is None) and run.wait() == 0:
            break
        assert running and run.process.poll() is None, run.output()
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        checkpoint = load_checkpoint(exp)
        steps.append(checkpoint["at"]["step"] if checkpoint else 0)
    interrupted_runs.run_to_end(folder, exp, "--epochs", epochs, "--readers", 2, *options)
    return steps


def test_a_run_killed_at_random_steps_ends_like_an_uninterrupted_one(interrupted_runs, data, uninterrupted):
    steps = kill_repeatedly(interrupted_runs, data, data / "killed", 1, 3)
    total = load_checkpoint(uninterrupted)["at"]["step"]
    assert steps == sorted(steps) and len(set(steps)) > 1 and steps[-1] < total, (steps, total)
    interrupted_runs.assert_same_result(data / "killed", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--accumulate", 2),
        ("--set", "optim.method=sgd", "--set", "optim.momentum=0.9", "--set", "optim.lr=0.001"),
        ("--nproc", 2),
        ("--nproc", 2, "--sync-norm"),
    ],
)
def test_a_run_killed_many_times_ends_like_an_uninterrupted_one(interrupted_runs, data, tmp_path, options):
    interrupted_runs.run_to_end(data, tmp_path / "uninterrupted", "--epochs", 6, *options)
    steps = kill_repeatedly(interrupted_runs, data, tmp_path / "killed", 2, 8, *options, epochs=6)
    assert len(set(steps)) > 3, steps
    interrupted_runs.assert_same_result(tmp_path / "killed", tmp_path / "uninterrupted")


@pytest.mark.slow
def test_signals_to_all_processes_save_or_stop_without_further_output(interrupted_runs, data, tmp_path):
    exp = tmp_path / "exp"
    run = interrupted_runs.Run(data, exp, "--epochs", 10**6, "--readers", 2, "--save-minutes", 60)
    assert run.wait_until(lambda: "epoch 1/" in run.output())
    inode = run.checkpoint_inode()
    os.killpg(run.pid, signal.SIGUSR1)
    assert run.wait_until(lambda: run.checkpoint_inode() != inode)
    step = load_checkpoint(exp)["at"]["step"]
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait() == 130
    lines = [
        line for line in run.output().splitlines() if not line.startswith(("epoch ", "    ")) and " kept + " not in line
    ]
    assert lines[0].startswith("warning: train: each of the 60 training texts is one word")
    assert lines[1].startswith("train: the longest batch") and lines[2:] == [
        "train: writing last.pt after this step",
        "train: stopping after this step",
        "train: interrupted; last.pt was written and the same command resumes from it",
    ]
    stopped = load_checkpoint(exp)["at"]["step"]
    assert stopped > step
    resumed = interrupted_runs.Run(data, exp, "--epochs", 10**6, "--nproc", 2, "--readers", 1)
    assert resumed.wait_until(lambda: resumed.output().count("\nepoch ") > 1)
    os.killpg(resumed.pid, signal.SIGTERM)
    assert resumed.wait() == 143 and load_checkpoint(exp)["at"]["step"] > stopped
    assert "Traceback" not in resumed.output() and resumed.output().splitlines()[-1].startswith("train: interrupted")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a small file system needs root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    """Write a file that takes all free space."""
    with (disk / "ballast").open("wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            return


@pytest.mark.slow
def test_a_full_disk_is_reported_and_training_continues(interrupted_runs, data, small_disk):
    exp = small_disk / "exp"
    run = interrupted_runs.Run(data, exp, "--epochs", 10**6, "--minutes", 0.3, "--set", "augment.gain_db=0")
    assert run.wait_until(lambda: "epoch 2/" in run.output()), run.output()
    fill(small_disk)
    assert run.wait_until(lambda: "no space left" in run.output()), run.output()
    (line,) = {line for line in run.output().splitlines() if "no space left" in line}
    assert line.endswith("training continues, the previous checkpoint is intact")
    steps = load_checkpoint(exp)["at"]["step"]
    assert steps > 0 and load_model(exp)
    (small_disk / "ballast").unlink()
    assert run.wait() == 0, run.output()
    assert load_checkpoint(exp)["at"]["step"] > steps and run.output().splitlines()[-1].startswith("train: done")
    assert not list(exp.glob(".*"))
    # the disk is still full at the end
    run = interrupted_runs.Run(data, exp, "--epochs", 10**6, "--set", "augment.gain_db=0")
    assert run.wait_until(lambda: "steps per epoch" in run.output())
    fill(small_disk)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 1, run.output()
    assert (
        "cannot be written: no space left on device (the previous checkpoint is intact" in run.output().splitlines()[-1]
    )
    assert load_checkpoint(exp)["at"]["step"] > steps and "Traceback" not in run.output()


def rows(interrupted_runs, exp):
    return interrupted_runs.final_state(exp)["rows"]


@pytest.mark.slow
def test_two_processes_train_on_the_same_batches_as_one(interrupted_runs, data):
    no_dropout = {"conf": "no_dropout.toml"}
    interrupted_runs.run_to_end(data, data / "one", "--epochs", 2, **no_dropout)
    interrupted_runs.run_to_end(
        data, data / "synced", "--epochs", 2, "--nproc", 2, "--sync-norm", "--readers", 1, **no_dropout
    )
    single, synced = rows(interrupted_runs, data / "one"), rows(interrupted_runs, data / "synced")
    for a, b in zip(single, synced, strict=True):
        assert (a["step"], a["padding"] >= b["padding"]) == (b["step"], True)
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-3)
    for name, a in load_checkpoint(data / "one")["model"].items():
        b = load_checkpoint(data / "synced")["model"][name]
        assert (a - b).abs().max() <= 0.02 * a.abs().max().clamp_min(1e-2), name


@pytest.fixture(scope="module")
def pair(interrupted_runs, data):
    """The folder of an uninterrupted run of two processes."""
    interrupted_runs.run_to_end(data, data / "pair", "--epochs", 3, "--nproc", 2)
    return data / "pair"


def test_a_killed_process_costs_one_restart(interrupted_runs, data, pair):
    run = interrupted_runs.Run(
        data, data / "lost", "--epochs", 3, "--nproc", 2, "--readers", 1, "--save-minutes", 0.0005
    )
    assert run.wait_for_saves(3), run.output()
    (rank,) = interrupted_runs.training_ranks(run.pid)
    os.kill(rank, signal.SIGKILL)
    assert run.wait() == 0, run.output()
    warning = "train: one of the 2 processes exited early; restarting all processes from the last checkpoint"
    assert run.output().count(warning) == 1 and "Traceback" not in run.output()
    assert "--readers" not in run.output(), "two processes with a reader each have a core each"
    interrupted_runs.assert_same_result(data / "lost", pair)


@pytest.mark.slow
def test_without_restarts_it_is_one_error_line_and_no_process_outlives_the_first(interrupted_runs, data, tmp_path):
    run = interrupted_runs.Run(data, tmp_path / "exp", "--epochs", 10**6, "--nproc", 2, "--readers", 1, "--restarts", 0)
    assert run.wait_until(lambda: "epoch 1/" in run.output()), run.output()
    child_pids = interrupted_runs.descendants(run.pid)
    (rank,) = interrupted_runs.training_ranks(run.pid)
    os.kill(rank, signal.SIGKILL)
    assert run.wait() == 1
    assert run.output().splitlines()[-1] == (
        "ds2: train: one of the 2 processes exited early (the same command resumes from last.pt)"
    )
    assert "Traceback" not in run.output() and len(child_pids) >= 3
    run = interrupted_runs.Run(data, tmp_path / "exp", "--epochs", 10**6, "--nproc", 2, "--readers", 1)
    assert run.wait_until(lambda: len(run.output().splitlines()) > 3), run.output()
    child_pids += interrupted_runs.descendants(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while (remaining := [pid for pid in child_pids if interrupted_runs.is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not remaining


TORCHRUN = (
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "--max-restarts",
    "1",
    "-m",
    "ds2cli",
)


@pytest.mark.slow
def test_torchrun_starts_and_restarts_the_processes(interrupted_runs, data, pair):
    options = ["--epochs", 3, "--readers", 1, "--save-minutes", 0.0005, "--fresh"]
    run = interrupted_runs.Run(data, data / "torchrun", *options, launcher=TORCHRUN)
    assert run.wait_for_saves(3), run.output()
    os.kill(interrupted_runs.training_ranks(run.pid)[-1], signal.SIGKILL)
    assert run.wait() == 0, run.output()
    assert run.output().count("train: the longest batch") == 2 and run.output().count("train: done") == 1
    interrupted_runs.assert_same_result(data / "torchrun", pair)
    run = interrupted_runs.Run(data, data / "torchrun", "--epochs", 10**6, launcher=TORCHRUN)
    assert run.wait_until(lambda: "epoch 4/" in run.output()), run.output()
    os.kill(run.pid, signal.SIGTERM)
    run.wait()
    assert run.output().count("train: interrupted; last.pt was written") == 1
    assert load_checkpoint(data / "torchrun")["at"]["epoch"] >= 3


def test_processes_with_different_settings_do_not_start(interrupted_runs, data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    runs = []
    for rank in range(2):
        options = ["--batch-s", 3 + rank, "--readers", rank]
        runs.append(
            interrupted_runs.Run(data, tmp_path / "exp", *options, environment={**rendezvous, "RANK": str(rank)})
        )
    for rank, run in enumerate(runs):
        assert run.wait() == 1
        difference = f"batch_s is {3.0 + rank} in process {rank}, {4.0 - rank} in process {1 - rank}"
        assert run.output().splitlines()[-1] == f"ds2: train: {difference} (use the same command on every machine)"


@pytest.mark.slow
def test_two_hosts_train_like_one(interrupted_runs, data, pair, tmp_path):
    done = subprocess.run(
        [HERE / "two_hosts.sh", data, tmp_path, sys.executable], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(interrupted_runs.ROOT)},
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    interrupted_runs.assert_same_result(tmp_path / "a" / "uninterrupted", pair)
    assert not (tmp_path / "b" / "uninterrupted" / "last.pt").exists(), "the second host has no checkpoint"
    interrupted_runs.assert_same_result(tmp_path / "a" / "killed", pair)
