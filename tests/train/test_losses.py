import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.train.events import Epoch, NotRecorded, Resumed, TrainStep
from ds2cli.train.examples import Utterance
from ds2cli.train.losses import LossRecorder, read_losses, recorded, spread_costs


@pytest.fixture
def recorder(tmp_path):
    recorder = LossRecorder(str(tmp_path), 4)
    recorder.begin(["a", "b", "ü", "d"])
    return recorder


def test_no_epoch_is_complete(recorder, tmp_path):
    assert read_losses(str(tmp_path)) is None
    recorder.add(0, [0, 2], np.array([1.5, 2.5]))
    assert read_losses(str(tmp_path)) is None
    assert read_losses(str(tmp_path / "nowhere")) is None


def test_losses_of_two_epochs(recorder, tmp_path):
    recorder.add(0, [0, 2], np.array([1.5, 2.5]))
    recorder.add(0, [3], np.array([np.nan]))
    recorder.finish(0)
    recorder.add(1, [3, 2, 1, 0], np.arange(4.0))
    recorder.finish(1)
    losses = read_losses(str(tmp_path))
    assert losses.ids == ["a", "b", "ü", "d"]
    np.testing.assert_array_equal(losses.nats, [[1.5, np.nan, 2.5, np.nan], [3, 2, 1, 0]])
    assert sorted(path.name for path in (tmp_path / "losses").iterdir()) == [
        *("epoch-001.npy", "epoch-002.npy", "ids.txt"),
    ]


def test_a_resumed_run_continues_the_epoch(recorder, tmp_path):
    recorder.add(0, [0, 1], np.array([1.0, 2.0]))
    del recorder
    again = LossRecorder(str(tmp_path), 4)
    # not written again
    again.begin([])
    again.add(0, [2, 3], np.array([3.0, 4.0]))
    again.finish(0)
    np.testing.assert_array_equal(read_losses(str(tmp_path)).nats, [[1, 2, 3, 4]])


def test_an_epoch_without_a_step_has_no_file(recorder, tmp_path):
    recorder.finish(0)
    assert read_losses(str(tmp_path)) is None


def test_losses_of_an_earlier_training_are_removed(recorder, tmp_path):
    recorder.add(0, [0], np.ones(1))
    recorder.finish(0)
    recorder.remove()
    assert not (tmp_path / "losses").exists()


@pytest.mark.parametrize("name", ["ids.txt", "epoch-001.npy"])
@pytest.mark.parametrize("content", [b"", b"no numbers\n", None])
def test_damaged_files(recorder, tmp_path, name, content):
    recorder.add(0, [0], np.ones(1))
    recorder.finish(0)
    file = tmp_path / "losses" / name
    if content is None:
        file.write_bytes(file.read_bytes()[:-4])
    else:
        file.write_bytes(content)
    if name == "epoch-001.npy" and content is None:
        file.unlink()
        assert read_losses(str(tmp_path)) is None
    else:
        with pytest.raises(DataError):
            read_losses(str(tmp_path))


def step(epoch, positions, costs):
    return TrainStep(epoch, 1, 1, 1, 1.0, 0.5, 1.0, {}, positions, costs)


def epoch_end(epoch):
    return Epoch(
        epoch=epoch, step=1, loss=1.0, lr=0.1, seconds=1.0, hours_per_hour=1.0, padding=0.0, waiting=0.0, memory_mb=1
    )


def test_the_losses_of_a_training_are_written_as_it_runs(tmp_path):
    events = [step(0, [1, 0], [2.0, 1.0]), epoch_end(1), step(1, [0], [0.5]), step(1, [1], [float("nan")])]
    assert list(recorded(events, str(tmp_path), 2, lambda: ["a", "b"])) == events
    np.testing.assert_array_equal(read_losses(str(tmp_path)).nats, [[1, 2]])
    # a run that continues in the third epoch: the second one was complete
    assert list(recorded([step(2, [0], [0.1])], str(tmp_path), 2, lambda: ["a", "b"]))
    np.testing.assert_array_equal(read_losses(str(tmp_path)).nats, [[1, 2], [0.5, np.nan]])


def test_a_new_training_removes_the_losses_of_the_earlier_one(tmp_path):
    for epochs, ids in ((2, ["a", "b", "c"]), (1, ["d", "e"])):
        events = [event for e in range(epochs) for event in (step(e, [0, 1], [1.0, 2.0]), epoch_end(e + 1))]
        list(recorded(events, str(tmp_path), len(ids), lambda ids=ids: ids))
    losses = read_losses(str(tmp_path))
    assert losses.nats.shape == (1, 2) and losses.ids == ["d", "e"]


def test_a_training_that_starts_over_in_the_same_process_keeps_nothing(tmp_path):
    events = [step(0, [0], [1.0]), step(0, [1], [2.0]), epoch_end(1)]
    list(recorded(events, str(tmp_path), 2, lambda: ["a", "b"]))
    np.testing.assert_array_equal(read_losses(str(tmp_path)).nats, [[np.nan, 2.0]])


def test_losses_that_cannot_be_written_do_not_end_the_training(tmp_path):
    (tmp_path / "losses").write_text("a file where the folder should be")
    events = [step(0, [0], [1.0]), step(0, [1], [1.0]), epoch_end(1)]
    passed = list(recorded(events, str(tmp_path), 2, lambda: ["a", "b"]))
    assert [type(event) for event in passed] == [TrainStep, NotRecorded, TrainStep, Epoch]
    assert "cannot be written" in passed[1].reason


def test_costs_in_the_order_of_a_step():
    train = [Utterance(name, "", 1, np.zeros(0, np.int32), "") for name in "xyzbabacdcc"]
    spread = spread_costs([[7, 3], [9]], lambda places: [i for i in places if i != 0], train, {"c": 1.5})
    np.testing.assert_array_equal(spread, [0, np.nan, 1.5])
    assert spread_costs([], list, train, {}) == []


def test_an_utterance_that_is_twice_in_a_step_has_its_own_loss():
    train = [Utterance(name, "", 1, np.zeros(0, np.int32), "") for name in "abc"]
    batches, costs = [[2, 1, 1], [1, 0]], {"a": 1.0, "b": 2.0, "c": 3.0}
    parts = [spread_costs(batches, lambda places, rank=rank: places[rank::2], train, costs) for rank in (0, 1)]
    assert np.sum(parts, axis=0).tolist() == [3.0, 2.0, 2.0, 2.0, 1.0]


def test_epochs_are_in_the_order_of_their_numbers(tmp_path):
    recorder = LossRecorder(str(tmp_path), 1)
    for epoch in (999, 1000, 99):
        recorder.add(epoch, [0], [float(epoch)])
        recorder.finish(epoch)
    recorder.begin(["a"])
    assert read_losses(str(tmp_path)).nats.ravel().tolist() == [99.0, 999.0, 1000.0]


def test_a_run_without_a_step_completes_what_the_one_before_has_left(tmp_path):
    list(recorded([step(0, [0, 1], [1.0, 2.0])], str(tmp_path), 2, lambda: ["a", "b"]))
    resumed = Resumed("last.pt", 1, 0, 1, 1.0, complete=True)
    assert list(recorded([resumed], str(tmp_path), 2, lambda: ["a", "b"])) == [resumed]
    np.testing.assert_array_equal(read_losses(str(tmp_path)).nats, [[1, 2]])
