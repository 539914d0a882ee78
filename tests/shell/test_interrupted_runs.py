"""What ends other trainings does not end this one: kills, signals, full disks, dead processes, other machines."""

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
from ds2cli.train.state_file import load_state

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def interrupted_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import interrupted_runs

        yield interrupted_runs


@pytest.fixture(scope="module")
def night(interrupted_runs, shared_data, tmp_path_factory):
    return interrupted_runs.manifests(shared_data, tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def whole(interrupted_runs, night):
    """A run of three epochs that nothing interrupts."""
    interrupted_runs.finish(night, night / "whole", "--epochs", 3)
    return night / "whole"


def killed_again_and_again(interrupted_runs, folder, exp, seed, kills, *options, epochs=3):
    """Kill a run so many times, then let it end; the number of steps at which it was killed."""
    rng, steps = random.Random(seed), []
    for turn in range(kills):
        every = 0 if turn % 2 else 0.0005
        run = interrupted_runs.Run(
            folder, exp, "--epochs", epochs, "--readers", rng.choice([0, 1, 2, 3]), "--save-minutes", every, *options
        )
        # the first kill comes before there is any checkpoint
        going_on = (
            run.until(lambda run=run: "steps a pass" in run.said()) if turn == 0 else run.saves(rng.randint(1, 3))
        )
        time.sleep(rng.uniform(0, 0.05))
        if steps and not (going_on and run.process.poll() is None) and run.end() == 0:
            break
        assert going_on and run.process.poll() is None, run.said()
        os.kill(run.pid, signal.SIGKILL)
        run.end()
        state = load_state(exp)
        steps.append(state["at"]["step"] if state else 0)
    interrupted_runs.finish(folder, exp, "--epochs", epochs, "--readers", 2, *options)
    return steps


def test_a_run_killed_at_random_steps_ends_as_one_that_was_not(interrupted_runs, night, whole):
    steps = killed_again_and_again(interrupted_runs, night, night / "killed", 1, 3)
    total = load_state(whole)["at"]["step"]
    assert steps == sorted(steps) and len(set(steps)) > 1 and steps[-1] < total, (steps, total)
    interrupted_runs.assert_same_end(night / "killed", whole)


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
def test_a_run_killed_many_times_ends_as_one_that_was_not(interrupted_runs, night, tmp_path, options):
    interrupted_runs.finish(night, tmp_path / "whole", "--epochs", 6, *options)
    steps = killed_again_and_again(interrupted_runs, night, tmp_path / "killed", 2, 8, *options, epochs=6)
    assert len(set(steps)) > 3, steps
    interrupted_runs.assert_same_end(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_signals_to_all_processes_save_or_end_and_nothing_else_is_said(interrupted_runs, night, tmp_path):
    exp = tmp_path / "exp"
    run = interrupted_runs.Run(night, exp, "--epochs", 10**6, "--readers", 2, "--save-minutes", 60)
    assert run.until(lambda: "epoch 1/" in run.said())
    before = run.saved()
    os.killpg(run.pid, signal.SIGUSR1)
    assert run.until(lambda: run.saved() != before)
    step = load_state(exp)["at"]["step"]
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    assert run.end() == 130
    lines = [
        line for line in run.said().splitlines() if not line.startswith(("epoch ", "    ")) and " kept + " not in line
    ]
    assert lines[0].startswith("train: the longest batch") and lines[1:] == [
        "train: writing last.pt after this step",
        "train: ending after this step",
        "train: interrupted, last.pt is written; the same command goes on from there",
    ]
    ended = load_state(exp)["at"]["step"]
    assert ended > step
    again = interrupted_runs.Run(night, exp, "--epochs", 10**6, "--nproc", 2, "--readers", 1)
    assert again.until(lambda: again.said().count("\nepoch ") > 1)
    os.killpg(again.pid, signal.SIGTERM)
    assert again.end() == 130 and load_state(exp)["at"]["step"] > ended
    assert "Traceback" not in again.said() and again.said().splitlines()[-1].startswith("train: interrupted")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system takes root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    """Leave no room."""
    with (disk / "ballast").open("wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            return


@pytest.mark.slow
def test_a_full_disk_is_a_line_and_the_run_goes_on(interrupted_runs, night, small_disk):
    exp = small_disk / "exp"
    run = interrupted_runs.Run(night, exp, "--epochs", 10**6, "--minutes", 0.3, "--set", "augment.gain_db=0")
    assert run.until(lambda: "epoch 2/" in run.said()), run.said()
    fill(small_disk)
    assert run.until(lambda: "no space left" in run.said()), run.said()
    (line,) = {line for line in run.said().splitlines() if "no space left" in line}
    assert line.endswith("training goes on, the checkpoint before it is whole")
    steps = load_state(exp)["at"]["step"]
    assert steps > 0 and load_model(exp)
    (small_disk / "ballast").unlink()
    assert run.end() == 0, run.said()
    assert load_state(exp)["at"]["step"] > steps and run.said().splitlines()[-1].startswith("train: done")
    assert not list(exp.glob(".*"))
    # it is still full at the end
    run = interrupted_runs.Run(night, exp, "--epochs", 10**6, "--set", "augment.gain_db=0")
    assert run.until(lambda: "steps a pass" in run.said())
    fill(small_disk)
    os.kill(run.pid, signal.SIGTERM)
    assert run.end() == 1, run.said()
    assert (
        "cannot be written: no space left on device (the checkpoint before it is whole" in run.said().splitlines()[-1]
    )
    assert load_state(exp)["at"]["step"] > steps and "Traceback" not in run.said()


def rows(interrupted_runs, exp):
    return interrupted_runs.end_of(exp)["rows"]


@pytest.mark.slow
def test_processes_learn_from_the_same_batches_as_one(interrupted_runs, night):
    plain = {"conf": "plain.toml"}
    interrupted_runs.finish(night, night / "one", "--epochs", 2, **plain)
    interrupted_runs.finish(
        night, night / "synced", "--epochs", 2, "--nproc", 2, "--sync-norm", "--readers", 1, **plain
    )
    one, synced = rows(interrupted_runs, night / "one"), rows(interrupted_runs, night / "synced")
    for a, b in zip(one, synced, strict=True):
        assert (a["step"], a["padding"] >= b["padding"]) == (b["step"], True)
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-3)
    for name, a in load_state(night / "one")["model"].items():
        b = load_state(night / "synced")["model"][name]
        assert (a - b).abs().max() <= 0.02 * a.abs().max().clamp_min(1e-2), name


@pytest.fixture(scope="module")
def pair(interrupted_runs, night):
    """A run of two processes that nothing interrupts."""
    interrupted_runs.finish(night, night / "pair", "--epochs", 3, "--nproc", 2)
    return night / "pair"


def test_a_process_that_is_killed_costs_a_restart(interrupted_runs, night, pair):
    run = interrupted_runs.Run(
        night, night / "lost", "--epochs", 3, "--nproc", 2, "--readers", 1, "--save-minutes", 0.0005
    )
    assert run.saves(3), run.said()
    (rank,) = interrupted_runs.ranks(run.pid)
    os.kill(rank, signal.SIGKILL)
    assert run.end() == 0, run.said()
    warned = "train: one of the 2 processes ended early; all start again from the last checkpoint"
    assert run.said().count(warned) == 1 and "Traceback" not in run.said()
    interrupted_runs.assert_same_end(night / "lost", pair)


@pytest.mark.slow
def test_without_restarts_it_is_one_line_and_without_the_first_nobody_stays(interrupted_runs, night, tmp_path):
    run = interrupted_runs.Run(
        night, tmp_path / "exp", "--epochs", 10**6, "--nproc", 2, "--readers", 1, "--restarts", 0
    )
    assert run.until(lambda: "epoch 1/" in run.said()), run.said()
    others = interrupted_runs.below(run.pid)
    (rank,) = interrupted_runs.ranks(run.pid)
    os.kill(rank, signal.SIGKILL)
    assert run.end() == 1
    assert run.said().splitlines()[-1] == (
        "ds2: train: one of the 2 processes ended early (the same command goes on from last.pt)"
    )
    assert "Traceback" not in run.said() and len(others) >= 3
    run = interrupted_runs.Run(night, tmp_path / "exp", "--epochs", 10**6, "--nproc", 2, "--readers", 1)
    assert run.until(lambda: len(run.said().splitlines()) > 3), run.said()
    others += interrupted_runs.below(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.end()
    until = time.monotonic() + 20
    while (left := [pid for pid in others if interrupted_runs.alive(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


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
def test_torchrun_starts_the_processes_and_starts_them_again(interrupted_runs, night, pair):
    options = ["--epochs", 3, "--readers", 1, "--save-minutes", 0.0005, "--fresh"]
    run = interrupted_runs.Run(night, night / "torchrun", *options, launcher=TORCHRUN)
    assert run.saves(3), run.said()
    os.kill(interrupted_runs.ranks(run.pid)[-1], signal.SIGKILL)
    assert run.end() == 0, run.said()
    assert run.said().count("train: the longest batch") == 2 and run.said().count("train: done") == 1
    interrupted_runs.assert_same_end(night / "torchrun", pair)
    run = interrupted_runs.Run(night, night / "torchrun", "--epochs", 10**6, launcher=TORCHRUN)
    assert run.until(lambda: "epoch 4/" in run.said()), run.said()
    os.kill(run.pid, signal.SIGTERM)
    run.end()
    assert run.said().count("train: interrupted, last.pt is written") == 1
    assert load_state(night / "torchrun")["at"]["epoch"] >= 3


def test_processes_with_other_settings_do_not_begin(interrupted_runs, night, tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    runs = []
    for rank in range(2):
        options = ["--batch-s", 3 + rank, "--readers", rank]
        runs.append(interrupted_runs.Run(night, tmp_path / "exp", *options, environment={**place, "RANK": str(rank)}))
    for rank, run in enumerate(runs):
        assert run.end() == 1
        said = f"batch_s is {3.0 + rank} in process {rank}, {4.0 - rank} in process {1 - rank}"
        assert run.said().splitlines()[-1] == f"ds2: train: {said} (the same command on every machine)"


@pytest.mark.slow
def test_two_hosts_train_as_one(interrupted_runs, night, pair, tmp_path):
    done = subprocess.run(
        [HERE / "two_hosts.sh", night, tmp_path, sys.executable], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(interrupted_runs.ROOT)},
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    interrupted_runs.assert_same_end(tmp_path / "a" / "whole", pair)
    assert not (tmp_path / "b" / "whole" / "last.pt").exists(), "the second host has no checkpoint"
    interrupted_runs.assert_same_end(tmp_path / "a" / "killed", pair)
