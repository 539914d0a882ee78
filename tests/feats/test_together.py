"""Features of several streams at once are those of each alone."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats.stream import FeatureStream
from ds2cli.feats.together import advance_together

PAST = {"level_from": "past", "initial_db": -25.0}
KINDS = {
    "past": PAST,
    "utterance": {},
    "fbank": {**PAST, "kind": "fbank"},
    "long-windows": {**PAST, "window_ms": 25.0, "hop_ms": 10.0},
    "gaps-between-windows": {**PAST, "window_ms": 20.0, "hop_ms": 30.0},
    "8-khz": {**PAST, "sample_rate": 8000},
}


def sounds(seed=0, streams=7):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=rng.integers(2000, 40000)) * rng.uniform(0, 0.3)).astype(np.float32) for _ in range(streams)
    ]


def advance_randomly(config, recordings, largest, together):
    """The features of recordings that come in pieces, some streams at a time."""
    rng = np.random.default_rng(1)
    streams, places = [FeatureStream(config) for _ in recordings], [0] * len(recordings)
    parts = [[] for _ in recordings]
    while any(place < len(x) for place, x in zip(places, recordings, strict=True)):
        chosen = [i for i in range(len(recordings)) if rng.random() < 0.6]
        pieces = []
        for i in chosen:
            size = int(rng.integers(0, largest))
            pieces.append(recordings[i][places[i] : places[i] + size])
            places[i] += size
        if together:
            found = advance_together([streams[i] for i in chosen], pieces)
        else:
            found = [streams[i].advance(piece) for i, piece in zip(chosen, pieces, strict=True)]
        for i, x in zip(chosen, found, strict=True):
            parts[i].append(x)
    return [np.concatenate([*found, stream.finish()]) for found, stream in zip(parts, streams, strict=True)]


@pytest.mark.parametrize("name", KINDS)
# a piece of the largest does not fit into what a stream keeps
@pytest.mark.parametrize("largest", [300, 1600, 20000])
def test_streams_together_get_what_each_gets_alone(name, largest):
    config, recordings = FeatureConfig.from_saved(KINDS[name], "test"), sounds()
    expected = advance_randomly(config, recordings, largest, together=False)
    found = advance_randomly(config, recordings, largest, together=True)
    assert sum(map(len, expected)) > 100
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
def test_bad_samples_are_the_error_of_their_stream_alone(bad):
    config, recordings = FeatureConfig.from_saved(PAST, "test"), [x[:1600] for x in sounds(2, 4)]
    expected = [FeatureStream(config).advance(x) for x in recordings]
    recordings[2] = np.full(1600, bad, np.float32)
    found = advance_together([FeatureStream(config) for _ in recordings], recordings)
    assert isinstance(found[2], BadUtterance) and found[2].reason == "not-a-number"
    for i in (0, 1, 3):
        np.testing.assert_array_equal(found[i], expected[i])


def test_a_sample_that_is_kept_for_the_next_hop_is_the_error_of_its_stream_alone():
    config, recordings = FeatureConfig.from_saved(PAST, "test"), [x[:1600] for x in sounds(2, 4)]
    recordings[2][3] = 1e20
    alone, together = [[FeatureStream(config) for _ in recordings] for _ in range(2)]
    # the first pieces are shorter than a hop
    for begin, end in [(0, 80), (80, 1600)]:
        pieces = [x[begin:end] for x in recordings]
        found = advance_together(together, pieces)
        for i in (0, 1, 3):
            np.testing.assert_array_equal(found[i], alone[i].advance(pieces[i]))
    assert isinstance(found[2], BadUtterance) and found[2].reason == "not-a-number"
