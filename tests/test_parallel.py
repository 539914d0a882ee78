import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from ds2cli.errors import Ds2Error
from ds2cli.parallel import map_blocks, map_ordered

ROOT = Path(__file__).parents[1]


class Doubler:
    """A worker that doubles items, and writes the items it got to NUMBER.ok, or NUMBER.failed after an error."""

    def __init__(self, folder, number):
        self.folder, self.number, self.items = folder, number, []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        (self.folder / f"{self.number}.{'ok' if kind is None else 'failed'}").write_text(repr(self.items))

    def __call__(self, item):
        if item == "die":
            os._exit(9)
        if item == "raise":
            raise Ds2Error("no such thing")
        if item == "large":
            raise MemoryError
        if item == "slow":
            time.sleep(0.05)
            return item
        self.items.append(item)
        return 2 * item

    def result(self):
        return len(self.items)


@pytest.mark.parametrize("nj", [1, 2])
@pytest.mark.parametrize("count", [0, 100])
def test_results_come_in_order(tmp_path, nj, count):
    results = []
    assert list(map_ordered(partial(Doubler, tmp_path), range(count), nj, results.append)) == [
        2 * i for i in range(count)
    ]
    processes = nj if count else 1
    assert len(results) == processes
    assert sum(results) == count
    assert len(list(tmp_path.glob("*.ok"))) == processes


@pytest.mark.long
@pytest.mark.parametrize(("count", "processes"), [(0, 1), (8, 1), (12, 2)])
def test_there_are_no_more_processes_than_batches(tmp_path, count, processes):
    results = []
    assert len(list(map_ordered(partial(Doubler, tmp_path), range(count), 1000, results.append))) == count
    assert len(results) == processes


def test_a_process_that_cannot_be_started_is_one_line(tmp_path, monkeypatch):
    def start(_):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", start)
    with pytest.raises(Ds2Error, match=r"cannot be started: resource temporarily unavailable \(use fewer: --nj 1"):
        list(map_ordered(partial(Doubler, tmp_path), range(40), 3, lambda _: None))


@pytest.mark.long
def test_a_process_without_enough_memory_is_one_line(tmp_path):
    with pytest.raises(Ds2Error, match=r"a worker process does not fit in memory: .* \(try a smaller --nj\)"):
        list(map_ordered(partial(Doubler, tmp_path), ["large"], 2, lambda _: None))
    assert not list(tmp_path.glob("*.ok"))


@pytest.mark.parametrize("nj", [1, 2])
def test_workers_are_left_with_an_error_where_the_results_are_refused(tmp_path, nj):
    """The order that keeps the archives of an earlier run: refuse first, then leave the workers."""

    def refuse():
        assert not list(tmp_path.glob("*.ok"))
        raise Ds2Error("too many bad utterances")

    with pytest.raises(Ds2Error, match="too many"):
        list(map_ordered(partial(Doubler, tmp_path), range(9), nj, lambda _: None, before_commit=refuse))
    assert not list(tmp_path.glob("*.ok"))


def test_long_messages_do_not_deadlock(tmp_path):
    items = ["x" * 300_000 for _ in range(50)]
    assert [len(r) for r in map_ordered(partial(Doubler, tmp_path), items, 2, lambda _: None)] == [600_000] * 50


def test_items_are_assigned_in_turn(tmp_path):
    for _ in range(2):
        list(map_ordered(partial(Doubler, tmp_path), range(40), 2, lambda _: None))
        assert (tmp_path / "1.ok").read_text() == repr([i for i in range(40) if i // 8 % 2 == 0])


def test_items_are_read_lazily(tmp_path):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = map_ordered(partial(Doubler, tmp_path), items(), 2, lambda _: None)
    assert next(results) == 0
    assert len(taken) < 100
    results.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.failed", "2.failed"]


@pytest.mark.parametrize("nj", [1, 2])
def test_an_error_in_a_worker_is_raised_in_the_parent(tmp_path, nj):
    with pytest.raises(Ds2Error, match="no such thing") as e:
        list(map_ordered(partial(Doubler, tmp_path), [1, "raise", 2], nj, lambda _: None))
    # where it was raised, in the other process
    assert nj == 1 or "test_parallel.py" in e.value.__notes__[0]
    assert not list(tmp_path.glob("*.ok"))


def test_a_dead_process_is_an_error(tmp_path):
    with pytest.raises(Ds2Error, match="a worker process died"):
        list(map_ordered(partial(Doubler, tmp_path), [1, "die", 2], 2, lambda _: None))


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(tmp_path, signal_number):
    code = (
        "from functools import partial; from pathlib import Path; from tests.test_parallel import Doubler\n"
        "from ds2cli.parallel import map_ordered\n"
        "if __name__ == '__main__':\n"
        f"    make = partial(Doubler, Path({str(tmp_path)!r}))\n"
        "    for r in map_ordered(make, ['slow'] * 10000, 2, print): print(r, flush=True)\n"
    )
    (tmp_path / "run.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    parent.stdout.readline()
    # Ctrl-C reaches the whole group, SIGKILL only the parent
    os.killpg(parent.pid, signal_number) if signal_number == signal.SIGINT else parent.kill()
    parent.wait(20)
    parent.stdout.close()
    until = time.monotonic() + 10
    while len(list(tmp_path.glob("*.failed"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert sorted(p.name for p in tmp_path.glob("*.*") if p.suffix != ".py") == ["1.failed", "2.failed"]


@pytest.mark.parametrize("nj, expected", [(1, [20]), (2, [12, 8]), (3, [8, 8, 4])])
def test_the_results_of_the_processes_are_in_their_order(tmp_path, nj, expected):
    results = []
    list(map_ordered(partial(Doubler, tmp_path), range(20), nj, results.append))
    assert results == expected


def double_each(folder, block):
    """Yield twice each item of a block; FIRST.ok appears at its end, FIRST.failed if it is left early."""
    name = folder / str(block[0]).replace("/", "")
    try:
        for item in block:
            if item == "die":
                os._exit(9)
            if item == "raise":
                raise Ds2Error("no such thing")
            if item == "slow":
                time.sleep(0.05)
            yield 2 * item
    except BaseException:
        name.with_suffix(".failed").touch()
        raise
    name.with_suffix(".ok").touch()


@pytest.mark.parametrize("nj", [1, 2, 3])
def test_blocks_of_any_size_come_in_order(tmp_path, nj):
    blocks = [list(range(start, start + size)) for start, size in ((0, 1), (10, 200), (500, 3), (600, 50), (700, 1))]
    found = list(map_blocks(partial(double_each, tmp_path), iter(blocks), nj))
    assert found == [2 * i for block in blocks for i in block]
    assert len(list(tmp_path.glob("*.ok"))) == 5
    assert list(map_blocks(partial(double_each, tmp_path), [], nj)) == []


def test_results_of_a_block_come_before_it_ends(tmp_path):
    """Those of a slow first block; the process of the second one does not wait for it, either."""
    blocks = [["slow"] * 20, [1] * 40_000, [2]]
    began = time.monotonic()
    results = map_blocks(partial(double_each, tmp_path), blocks, 2)
    assert next(results) == "slowslow"
    first = time.monotonic() - began
    assert len(list(results)) == 20 + 40_000
    assert first < time.monotonic() - began - 0.5


def test_blocks_are_read_lazily_and_left_when_no_more_results_are_wanted(tmp_path):
    taken = []

    def blocks():
        for i in range(1000):
            taken.append(i)
            yield [i] * 1000

    results = map_blocks(partial(double_each, tmp_path), blocks(), 2)
    assert next(results) == 0
    results.close()
    assert len(taken) < 10


@pytest.mark.parametrize("nj", [1, 2])
def test_an_error_in_a_block_is_raised_in_the_parent(tmp_path, nj):
    with pytest.raises(Ds2Error, match="no such thing"):
        list(map_blocks(partial(double_each, tmp_path), [[1], [2, "raise"], [3]], nj))
    assert (tmp_path / "2.failed").exists()


def test_a_process_that_dies_within_a_block_is_an_error(tmp_path):
    with pytest.raises(Ds2Error, match="a worker process died"):
        list(map_blocks(partial(double_each, tmp_path), [[1], [2, "die"], [3]], 2))


def test_no_more_processes_start_than_there_are_blocks(tmp_path, monkeypatch):
    started, start = [], multiprocessing.context.SpawnProcess.start
    monkeypatch.setattr(
        multiprocessing.context.SpawnProcess, "start", lambda process: started.append(process) or start(process)
    )
    assert len(list(map_blocks(partial(double_each, tmp_path), [[1], [2]], 1000))) == 2
    assert len(started) <= 2
