import numpy as np
import pytest

from ds2cli.feats.cmvn import STD_FLOOR, accumulate, empty, mean_std


@pytest.mark.parametrize("lengths", [[1], [5, 0, 300], [1000, 257, 256, 255]])
def test_statistics_of_parts_add_up(lengths):
    rng = np.random.default_rng(0)
    parts = [(3 * rng.normal(size=(t, 7)) - 12).astype(np.float32) for t in lengths]
    total = empty(7)
    for part in parts:
        empty_stats = empty(7)
        accumulate(empty_stats, part)
        total += empty_stats
    all_frames = np.concatenate(parts).astype(np.float64)
    mean, std = mean_std(total)
    assert total.shape == (2, 8)
    assert total[0, -1] == len(all_frames)
    assert total[1, -1] == 0
    np.testing.assert_allclose(mean, all_frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, np.maximum(all_frames.std(0), STD_FLOOR), rtol=1e-3, atol=2e-3)


def test_zero_frames_and_a_constant_bin():
    mean, std = mean_std(empty(3))
    assert mean.tolist() == [0, 0, 0]
    assert std.tolist() == [1, 1, 1]
    stats = empty(2)
    accumulate(stats, np.full((500, 2), -32.2, np.float32))
    assert (mean_std(stats)[1] >= STD_FLOOR).all()
