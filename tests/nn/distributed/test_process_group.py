from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from ds2cli.errors import Ds2Error
from ds2cli.nn.distributed import process_group
from ds2cli.nn.distributed.process_group import PeerLostError, ProcessGroup

TESTS = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def distributed_cases(monkeypatch):
    """The module with the functions that the processes run, importable by name in each of them."""
    monkeypatch.syspath_prepend(TESTS)
    import distributed_cases

    return distributed_cases


def is_running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_single_process_needs_no_group():
    group = ProcessGroup()
    flat = torch.ones(2)
    assert group.all_reduce(flat) is flat and group.shard([1, 2, 3]) == [1, 2, 3]
    assert group.all_gather({"a": "value"}) == {"a": "value"} and group.broadcast_object("word") == "word"
    group.close()


@pytest.mark.parametrize("size", [2, 3])
def test_shards_are_equal_parts_of_a_sorted_list(size):
    parts = [ProcessGroup(rank, size).shard(list(range(10, 0, -1))) for rank in range(size)]
    assert sorted(n for part in parts for n in part) == list(range(1, 11))
    assert max(map(sum, parts)) - min(map(sum, parts)) <= 10


@pytest.mark.parametrize(("cause", "error", "message"), [
    ("kill", PeerLostError, "one of the 2 processes exited early"), ("error", Ds2Error, "the error of the process"),
    ("unnoticed", PeerLostError, "one of the 2 processes exited early"),
])  # fmt: skip
def test_a_process_that_exits_early_is_detected_with_its_error(
    distributed_cases, tmp_path, monkeypatch, cause, error, message
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # of a training that was killed
    (tmp_path / "ds2-train-abandoned").mkdir()
    threads = torch.get_num_threads()
    group = process_group.start_processes(2, CPU, distributed_cases.exit_early, (cause,))
    start = time.monotonic()
    try:
        with pytest.raises(error, match=f"^train: {message}") as e:
            distributed_cases.exit_early(cause, group)
        assert type(e.value) is error
    finally:
        group.close()
    assert time.monotonic() - start < 30 and torch.get_num_threads() == threads
    assert not list(tmp_path.iterdir()) and not any(child.is_alive() for child in group._children)


@pytest.mark.parametrize(("cores", "threads", "used"), [(7, 7, 3), (2, 4, 1), (1, 1, 1), (8, 2, 2)])
def test_the_cores_are_divided_among_the_processes(distributed_cases, monkeypatch, cores, threads, used):
    before = torch.get_num_threads()
    monkeypatch.setenv("DS2_CORES", str(cores))
    torch.set_num_threads(threads)
    try:
        group = process_group.start_processes(2, CPU, distributed_cases.exit_early, ("kill",))
        assert torch.get_num_threads() == used
        with pytest.raises(PeerLostError):
            distributed_cases.exit_early("kill", group)
        group.close()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_process_that_exits_before_it_joins_is_not_waited_for(distributed_cases):
    start = time.monotonic()
    with pytest.raises(PeerLostError):
        process_group.start_processes(2, CPU, distributed_cases.exit_early, (distributed_cases.ExitWhenUnpickled(),))
    assert time.monotonic() - start < 60


PARENT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    from distributed_cases import report_pids
    from ds2cli.nn.distributed.process_group import start_processes
    report_pids(None, start_processes(2, torch.device("cpu"), report_pids, (None,)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_rank_0(tmp_path, number):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(TESTS)]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    parent = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = list(json.loads(parent.stdout.readline()).values())
    assert len(pids) == 2 and all(map(is_running, pids))
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    _, stderr = parent.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))
    assert stderr.count("Traceback") == (number == signal.SIGINT), stderr


def test_a_rank_needs_all_variables_of_torchrun():
    variables = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234"}
    assert process_group.torchrun_rank({**variables, "HOME": "/"}) == (3, 4)
    for name in variables:
        assert process_group.torchrun_rank({n: v for n, v in variables.items() if n != name}) is None


def test_processes_take_the_gpus_in_turn(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    devices = [process_group._select_device("cuda", rank) for rank in range(3)]
    assert devices == [torch.device("cuda", index) for index in (0, 1, 0)] and chosen == [0, 1, 0]
    assert process_group._select_device("cpu", 3) == torch.device("cpu")
