import numpy as np
import pytest

from ds2cli.audio.join import join


def test_clips_have_the_times_that_are_returned():
    clips = [np.full(n, n, np.float32) for n in (3, 1, 2)]
    samples, spans = join(clips, [1, 0, 2, 3])
    assert samples.dtype == np.float32
    assert samples.tolist() == [0, 3, 3, 3, 1, 0, 0, 2, 2, 0, 0, 0]
    assert spans == [(1, 4), (4, 5), (7, 9)]


def test_no_clips_are_silence():
    samples, spans = join([], [5])
    assert samples.tolist() == [0] * 5
    assert spans == []


def test_an_empty_clip_takes_no_time():
    samples, spans = join([np.ones(0, np.float32), np.ones(1, np.float32)], [2, 0, 0])
    assert samples.tolist() == [0, 0, 1]
    assert spans == [(2, 2), (2, 3)]


def test_a_pause_too_few():
    with pytest.raises(ValueError, match="1 clips have 2 pauses, not 1"):
        join([np.ones(1, np.float32)], [0])
