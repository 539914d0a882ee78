from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
    """The module of what processes do, which all of them find by its name."""
    monkeypatch.syspath_prepend(TESTS)
    import distributed_cases

    return distributed_cases


def running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_is_a_group_of_its_own():
    group = ProcessGroup()
    flat = torch.ones(2)
    assert group.all_reduce(flat) is flat and group.shard([1, 2, 3]) == [1, 2, 3]
    assert group.all_gather({"a": "why"}) == {"a": "why"} and group.broadcast_object("word") == "word"
    group.close()


@pytest.mark.parametrize("size", [2, 3])
def test_shares_are_equal_parts_of_a_sorted_list(size):
    parts = [ProcessGroup(rank, size).shard(list(range(10, 0, -1))) for rank in range(size)]
    assert sorted(n for part in parts for n in part) == list(range(1, 11))
    assert max(map(sum, parts)) - min(map(sum, parts)) <= 10


@pytest.mark.parametrize(("how", "error", "said"), [
    ("kill", PeerLostError, "one of the 2 processes ended early"), ("error", Ds2Error, "what the process had to say"),
    ("unheard", PeerLostError, "one of the 2 processes ended early"),
])  # fmt: skip
def test_a_process_that_ends_early_is_found_out_with_its_reason(distributed_cases, how, error, said):
    group = process_group.start(2, CPU, distributed_cases.dies, (how,))
    start = time.monotonic()
    try:
        with pytest.raises(error, match=f"^train: {said}") as e:
            distributed_cases.dies(how, group)
        assert type(e.value) is error
    finally:
        group.close()
    assert time.monotonic() - start < 30
    assert not group._rendezvous_dir.exists() and not any(child.is_alive() for child in group._children)


def test_a_process_that_dies_before_it_joins_is_not_waited_for(distributed_cases):
    start = time.monotonic()
    with pytest.raises(PeerLostError):
        process_group.start(2, CPU, distributed_cases.dies, (distributed_cases.DeadOnArrival(),))
    assert time.monotonic() - start < 60


PARENT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    import distributed_cases
    from ds2cli.nn.distributed import process_group
    distributed_cases.says(None, process_group.start(2, torch.device("cpu"), distributed_cases.says, (None,)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_first(tmp_path, number):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(TESTS)]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    parent = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = list(json.loads(parent.stdout.readline()).values())
    assert len(pids) == 2 and all(map(running, pids))
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    _, said = parent.communicate(timeout=20)
    until = time.monotonic() + 10
    while any(map(running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(running, pids))
    assert said.count("Traceback") == (number == signal.SIGINT), said
