from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from ds2cli import manifest
from ds2cli.archive import read_matrix
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import Ds2Error
from ds2cli.train import batching, reader
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.examples import Utterance
from ds2cli.train.loader import BatchLoader
from ds2cli.train.reader import READER_DIED, _read_or_describe_error

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def fake_features(monkeypatch):
    """The module with the features, importable by name in data-loader processes, too."""
    monkeypatch.syspath_prepend(HERE)
    import fake_features

    return fake_features


def shards(fake_features, *names):
    """One shard per string of ids; utterances get longer within a shard."""
    return [[fake_features.utterance(n, 5 + 3 * i) for i, n in enumerate(row.split())] for row in names]


def read(train_features, readers, requested, epoch=0):
    loader = BatchLoader(train_features, readers)
    with closing(loader):
        return list(loader(requested, epoch))


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for a, b in zip(batches, expected, strict=True):
        assert (a.ids, a.unusable) == (b.ids, b.unusable)
        for name in ("feats", "lengths", "targets", "target_lengths"):
            assert torch.equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype


def running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def have_ended(pids, within_s=10):
    until = time.monotonic() + within_s
    while (remaining := [pid for pid in pids if running(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return not remaining


def test_the_number_of_readers_changes_nothing(toy, fake_features):
    import numpy as np

    rows = list(manifest.read(str(toy / "train.jsonl")))
    labels = np.array([1, 2], np.int32)
    utterances = [Utterance(r["id"], r["feats"], r["num_frames"], labels, r["text"]) for r in rows]
    settings = AugmentConfig(speed=0.1, warp=0.05, gain_db=6, time_masks=2, time_width=5, freq_masks=1, freq_width=4)
    augmenter = Augmenter(settings, FeatureConfig(), 3, np.zeros(20, np.float32), read_matrix)
    requested = [utterances[i : i + 7] for i in range(0, len(utterances), 7)] + [[]]
    by_thread = read(augmenter, 0, requested, epoch=2)
    assert [len(b.ids) for b in by_thread] == [*[7] * 6, 6, 0]
    for readers in (1, 2, 3):
        assert_same(read(augmenter, readers, requested, epoch=2), by_thread)
    assert not torch.equal(read(augmenter, 0, requested[:1], epoch=3)[0].feats, by_thread[0].feats), (
        "other epochs are augmented differently"
    )


def test_unreadable_utterances_are_left_out_with_a_reason(fake_features):
    requested = shards(fake_features, "a unreadable-1 b", "nan-1 c", "unreadable-2")
    for readers in (0, 1):
        batches = read(fake_features.FakeFeatures(), readers, requested)
        assert [b.ids for b in batches] == [["b", "a"], ["c"], []]
        assert [b.unusable for b in batches] == [
            {"unreadable-1": "truncated-audio"}, {"nan-1": "features-not-finite"}, {"unreadable-2": "truncated-audio"},
        ]  # fmt: skip


def test_only_an_utterance_that_kills_its_reader_is_lost(fake_features):
    requested = shards(fake_features, "a b", "c kill-1 d kill-2 e", "f", "kill-3", "g h")
    survivors = [[u for u in shard if not u.id.startswith("kill")] for shard in requested]
    expected = read(fake_features.FakeFeatures(), 0, survivors)
    for batch, fatal in zip(expected, ([], ["kill-1", "kill-2"], [], ["kill-3"], []), strict=True):
        batch.unusable |= dict.fromkeys(fatal, READER_DIED)
    for readers in (1, 2):
        assert_same(read(fake_features.FakeFeatures(), readers, requested), expected)


def test_nothing_is_lost_when_a_reader_is_killed(fake_features):
    requested = shards(fake_features, *(f"a{i} b{i} c{i}" for i in range(12)))
    expected = read(fake_features.FakeFeatures(), 0, requested)
    loader, batches = BatchLoader(fake_features.FakeFeatures(), 2), []
    with closing(loader):
        for i, batch in enumerate(loader(requested, 0)):
            batches.append(batch)
            if i % 3 == 1:
                os.kill(loader._readers[i % 2].process.pid, signal.SIGKILL)
    assert_same(batches, expected)


def test_nothing_is_lost_when_a_reader_is_killed_while_it_sends(fake_features):
    # a batch far larger than a pipe's buffer: the process blocks in sending it
    requested = [[fake_features.utterance("long", 1_000_000)], [fake_features.utterance("short", 9)]]
    expected = read(fake_features.FakeFeatures(), 0, requested)
    loader = BatchLoader(fake_features.FakeFeatures(), 1)
    with closing(loader):
        batches = loader(requested, 0)
        reader = loader._readers[0]
        for shard in requested:
            reader.submit(shard, 0)
        assert reader.pipe.poll(30)
        os.kill(reader.process.pid, signal.SIGKILL)
        results = [reader.result(), reader.result()]
        batches.close()
    assert [result.ids for result in results] == [["long"], ["short"]]
    assert torch.equal(torch.from_numpy(results[0].feats), expected[0].feats)


def test_large_shards_and_large_batches_do_not_deadlock(fake_features):
    # shards and batches of some megabytes, several of them in flight at once
    shard = [fake_features.utterance(f"u{i:05d}", 30 + i % 3) for i in range(8_000)]
    assert [len(b.ids) for b in read(fake_features.FakeFeatures(), 1, [shard] * 4)] == [8_000] * 4


def test_a_bug_is_one_error_and_the_next_epoch_can_be_read(fake_features):
    loader = BatchLoader(fake_features.FakeFeatures(), 2)
    with closing(loader):
        with pytest.raises(
            Ds2Error, match=r"^train: reading failed: bug-1: KeyError: .*bug.* \(fake_features.py:\d+\)$"
        ) as e:
            list(loader(shards(fake_features, "a", "b bug-1", "c", "d"), 0))
        assert "\n" not in str(e.value)
        assert [b.ids for b in loader(shards(fake_features, "e", "f", "g"), 0)] == [["e"], ["f"], ["g"]]
    with pytest.raises(KeyError), closing(loader := BatchLoader(fake_features.FakeFeatures(), 0)):
        list(loader(shards(fake_features, "a", "bug-1"), 0))


def test_readers_that_always_exit_are_an_error_and_lose_no_utterance(fake_features):
    with pytest.raises(Ds2Error, match=r"every data-loader process exits, whatever it reads.*--readers"):
        read(fake_features.ExitsWhenUnpickled(), 1, shards(fake_features, "a b c"))


@pytest.mark.parametrize("readers", [0, 2])
def test_an_epoch_that_ends_early_leaves_nothing_pending(fake_features, readers):
    loader = BatchLoader(fake_features.FakeFeatures(), readers)
    with closing(loader):
        abandoned = loader(shards(fake_features, "a", "b", "c", "d", "e"), 0)
        assert next(abandoned).ids == ["a"]
        abandoned.close()
        start = time.monotonic()
        slow = loader(shards(fake_features, "f", *["slow-1"] * (4 if readers else 0)), 0)
        assert next(slow).ids == ["f"]
        slow.close()
        assert time.monotonic() - start < 20, "cancelled utterances are not waited for"
        assert [b.ids for b in loader(shards(fake_features, "g", "h"), 0)] == [["g"], ["h"]]
        pids = [reader.process.pid for reader in loader._readers]
    assert have_ended(pids)
    loader.close()


def test_the_time_spent_waiting_is_counted(fake_features):
    with closing(loader := BatchLoader(fake_features.FakeFeatures(), 1)):
        list(loader(shards(fake_features, "a"), 0))
        assert 0 < loader.waited < 30


def test_a_reader_starts_without_torch():
    code = (
        "import sys, ds2cli.train.reader, ds2cli.train.augmenter, ds2cli.stages.augment; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
if __name__ == "__main__":
    from fake_features import FakeFeatures, utterance
    from ds2cli.train.loader import BatchLoader
    loader = BatchLoader(FakeFeatures(), 2)
    list(loader([[utterance("a")], [utterance("b")]], 0))
    loader._readers[0].submit([utterance("slow-1")], 0)
    print(*(r.process.pid for r in loader._readers), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_reader_outlives_its_parent(tmp_path, number):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(HERE)]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    parent = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(map(running, pids))
    # Ctrl-C and schedulers signal every process of a job
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    _, errors = parent.communicate(timeout=20)
    assert have_ended(pids) and errors.count("Traceback") == (number == signal.SIGINT)


def test_a_lack_of_memory_costs_one_utterance(fake_features, monkeypatch):
    def features(utterance, epoch):
        if utterance.id == "large":
            raise MemoryError
        return fake_features.FakeFeatures()(utterance, epoch)

    names = ["a", "large", "b"]
    batch = _read_or_describe_error(features, [fake_features.utterance(name) for name in names], 0)
    assert sorted(batch.ids) == ["a", "b"] and batch.unusable == {"large": "out-of-memory"}


def test_a_lack_of_memory_elsewhere_ends_the_reader_which_is_replaced(fake_features, monkeypatch):
    def read_batch(*_):
        raise MemoryError

    def end(status):
        raise SystemExit(status)

    monkeypatch.setattr(reader, "read_batch", read_batch)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit, match="1"):
        _read_or_describe_error(fake_features.FakeFeatures(), [fake_features.utterance("a")], 0)


def test_a_batch_that_is_too_large_as_a_whole_is_one_line(fake_features, monkeypatch):
    def pad(arrays):
        if len(arrays) != 0:
            raise MemoryError
        return np.zeros((0, 0, 0), np.float32)

    monkeypatch.setattr(batching, "pad", pad)
    shard = [fake_features.utterance(name) for name in ("a", "b")]
    message = _read_or_describe_error(fake_features.FakeFeatures(), shard, 0)
    assert re.fullmatch(
        r"a batch of 2 utterances, the longest of \d+ frames, does not fit in memory: .* \(use a smaller --batch-s\)",
        message,
    )
    alone = _read_or_describe_error(fake_features.FakeFeatures(), shard[:1], 0)
    assert alone.ids == [] and alone.unusable == {"a": "out-of-memory"}


def test_there_are_no_more_readers_than_batches(fake_features):
    with closing(BatchLoader(fake_features.FakeFeatures(), 500)) as loader:
        assert [batch.ids for batch in loader(shards(fake_features, "a", "b"), 0)] == [["a"], ["b"]]
        assert [reader.process is not None for reader in loader._readers] == [True, True] + [False] * 498
