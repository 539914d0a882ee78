import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.train.losses import LossRecorder, read_losses


@pytest.fixture
def recorder(tmp_path):
    recorder = LossRecorder(str(tmp_path), 4)
    recorder.begin(["a", "b", "ü", "d"], np.array([3, 1, 0, 2]))
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
    np.testing.assert_array_equal(losses.labels, [3, 1, 0, 2])
    np.testing.assert_array_equal(losses.nats, [[1.5, np.nan, 2.5, np.nan], [3, 2, 1, 0]])
    assert sorted(path.name for path in (tmp_path / "losses").iterdir()) == [
        *("epoch-001.npy", "epoch-002.npy", "ids.txt", "labels.npy"),
    ]


def test_a_resumed_run_continues_the_epoch(recorder, tmp_path):
    recorder.add(0, [0, 1], np.array([1.0, 2.0]))
    del recorder
    again = LossRecorder(str(tmp_path), 4)
    # not written again
    again.begin([], np.zeros(0))
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


@pytest.mark.parametrize("name", ["ids.txt", "labels.npy", "epoch-001.npy"])
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
