from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from ds2cli import manifest
from ds2cli.archive import read_matrix
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.errors import Ds2Error
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.examples import Utterance
from ds2cli.train.loader import BatchLoader
from ds2cli.train.reader import READER_DIED

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def fake_features(monkeypatch):
    """The module of the features, which the processes that read find by its name, too."""
    monkeypatch.syspath_prepend(HERE)
    import fake_features

    return fake_features


def shares(fake_features, *names):
    """A share for each string of names; later names are of longer utterances."""
    return [[fake_features.utterance(n, 5 + 3 * i) for i, n in enumerate(row.split())] for row in names]


def read(see, readers, asked, epoch=0):
    loader = BatchLoader(see, readers)
    with closing(loader):
        return list(loader(asked, epoch))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.ids, a.unusable) == (b.ids, b.unusable)
        for name in ("feats", "lengths", "targets", "target_lengths"):
            assert torch.equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype


def running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, within_s=10):
    until = time.monotonic() + within_s
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return not left


def test_the_number_of_readers_changes_nothing(toy, fake_features):
    import numpy as np

    rows = list(manifest.read(str(toy / "train.jsonl")))
    labels = np.array([1, 2], np.int32)
    known = [Utterance(r["id"], r["feats"], r["num_frames"], labels, r["text"]) for r in rows]
    settings = AugmentConfig(speed=0.1, warp=0.05, gain_db=6, time_masks=2, time_width=5, freq_masks=1, freq_width=4)
    see = Augmenter(settings, SpectrogramConfig(), 3, np.zeros(20, np.float32), read_matrix)
    asked = [known[i : i + 7] for i in range(0, len(known), 7)] + [[]]
    by_thread = read(see, 0, asked, epoch=2)
    assert [len(b.ids) for b in by_thread] == [*[7] * 6, 6, 0]
    for readers in (1, 2, 3):
        assert_same(read(see, readers, asked, epoch=2), by_thread)
    assert not torch.equal(read(see, 0, asked[:1], epoch=3)[0].feats, by_thread[0].feats), "another epoch is another"


def test_what_cannot_be_read_costs_itself_with_its_reason(fake_features):
    asked = shares(fake_features, "a unreadable-1 b", "nan-1 c", "unreadable-2")
    for readers in (0, 1):
        found = read(fake_features.FakeFeatures(), readers, asked)
        assert [b.ids for b in found] == [["b", "a"], ["c"], []]
        assert [b.unusable for b in found] == [
            {"unreadable-1": "truncated-audio"}, {"nan-1": "features-not-finite"}, {"unreadable-2": "truncated-audio"},
        ]  # fmt: skip


def test_an_utterance_that_kills_its_reader_costs_itself_alone(fake_features):
    asked = shares(fake_features, "a b", "c kill-1 d kill-2 e", "f", "kill-3", "g h")
    survivors = [[u for u in share if not u.id.startswith("kill")] for share in asked]
    expected = read(fake_features.FakeFeatures(), 0, survivors)
    for batch, lost in zip(expected, ([], ["kill-1", "kill-2"], [], ["kill-3"], []), strict=True):
        batch.unusable |= dict.fromkeys(lost, READER_DIED)
    for readers in (1, 2):
        assert_same(read(fake_features.FakeFeatures(), readers, asked), expected)


def test_a_reader_killed_from_outside_costs_nothing(fake_features):
    asked = shares(fake_features, *(f"a{i} b{i} c{i}" for i in range(12)))
    expected = read(fake_features.FakeFeatures(), 0, asked)
    loader, found = BatchLoader(fake_features.FakeFeatures(), 2), []
    with closing(loader):
        for i, batch in enumerate(loader(asked, 0)):
            found.append(batch)
            if i % 3 == 1:
                os.kill(loader._readers[i % 2].process.pid, signal.SIGKILL)
    assert_same(found, expected)


def test_a_reader_killed_in_the_middle_of_its_answer_costs_nothing(fake_features):
    # an answer far beyond what a pipe holds: the process hangs in it until somebody reads
    asked = [[fake_features.utterance("long", 1_000_000)], [fake_features.utterance("short", 9)]]
    expected = read(fake_features.FakeFeatures(), 0, asked)
    loader = BatchLoader(fake_features.FakeFeatures(), 1)
    with closing(loader):
        found = loader(asked, 0)
        reader = loader._readers[0]
        for share in asked:
            reader.ask(share, 0)
        assert reader.pipe.poll(30)
        os.kill(reader.process.pid, signal.SIGKILL)
        answers = [reader.answer(), reader.answer()]
        found.close()
    assert [a.ids for a in answers] == [["long"], ["short"]]
    assert torch.equal(torch.from_numpy(answers[0].feats), expected[0].feats)


def test_huge_questions_and_huge_answers_do_not_wait_for_each_other(fake_features):
    # a share of some megabytes asks for a batch of some megabytes, several of them at once
    row = [fake_features.utterance(f"u{i:05d}", 30 + i % 3) for i in range(8_000)]
    assert [len(b.ids) for b in read(fake_features.FakeFeatures(), 1, [row] * 4)] == [8_000] * 4


def test_a_bug_is_one_error_and_the_next_epoch_is_read_all_the_same(fake_features):
    loader = BatchLoader(fake_features.FakeFeatures(), 2)
    with closing(loader):
        with pytest.raises(
            Ds2Error, match=r"^train: reading failed: bug-1: KeyError: .*bug.* \(fake_features.py:\d+\)$"
        ) as e:
            list(loader(shares(fake_features, "a", "b bug-1", "c", "d"), 0))
        assert "\n" not in str(e.value)
        assert [b.ids for b in loader(shares(fake_features, "e", "f", "g"), 0)] == [["e"], ["f"], ["g"]]
    with pytest.raises(KeyError), closing(loader := BatchLoader(fake_features.FakeFeatures(), 0)):
        list(loader(shares(fake_features, "a", "bug-1"), 0))


def test_readers_that_never_get_to_read_are_an_error_and_not_a_loss_of_utterances(fake_features):
    with pytest.raises(Ds2Error, match=r"die whatever they read.*--readers"):
        read(fake_features.BornDead(), 1, shares(fake_features, "a b c"))


@pytest.mark.parametrize("readers", [0, 2])
def test_an_epoch_left_early_leaves_nothing_behind(fake_features, readers):
    loader = BatchLoader(fake_features.FakeFeatures(), readers)
    with closing(loader):
        left = loader(shares(fake_features, "a", "b", "c", "d", "e"), 0)
        assert next(left).ids == ["a"]
        left.close()
        start = time.monotonic()
        slow = loader(shares(fake_features, "f", *["slow-1"] * (4 if readers else 0)), 0)
        assert next(slow).ids == ["f"]
        slow.close()
        assert time.monotonic() - start < 20, "nobody waits for what nobody wants"
        assert [b.ids for b in loader(shares(fake_features, "g", "h"), 0)] == [["g"], ["h"]]
        pids = [reader.process.pid for reader in loader._readers]
    assert gone(pids)
    loader.close()


def test_the_wait_for_readers_is_counted(fake_features):
    with closing(loader := BatchLoader(fake_features.FakeFeatures(), 1)):
        list(loader(shares(fake_features, "a"), 0))
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
    loader._readers[0].ask([utterance("slow-1")], 0)
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
    # Ctrl-C and a scheduler send it to every process of the job
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    _, said = parent.communicate(timeout=20)
    assert gone(pids) and said.count("Traceback") == (number == signal.SIGINT)
