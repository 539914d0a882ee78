"""Recordings joined from clips, and the errors of their word times."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ds2cli.config.features import FeatureConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.feats import kinds
from ds2cli.metrics.junctions import measure
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import junctions
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
RATE = 16000
FEATURES = FeatureConfig()


class LateExperiment(Experiment):
    """A network of steps of 10 ms that hears `ab` in each sound: its symbols are late by `delay` steps."""

    def __init__(self, delay, end_delay=None, bins=None):
        super().__init__("exp")
        self.delay, self.end_delay = delay, delay if end_delay is None else end_delay
        self.vocab = VOCAB
        about = {"features": FEATURES.features(), "step_s": 0.01, "bins": bins or kinds.num_bins(FEATURES)}
        self.network = SimpleNamespace(**about, config=SimpleNamespace(stride=1))

    def compute_emissions(self, feats, check):
        return [self._hear(x) for x in feats]

    def _hear(self, feats):
        level = feats.mean(axis=1)
        loud = np.concatenate([[False], level > (level.max() + np.percentile(level, 5)) / 2, [False]])
        edges = np.flatnonzero(loud[1:] != loud[:-1]).reshape(-1, 2)
        path = np.zeros(len(feats), int)
        for begin, end in edges:
            path[begin + self.delay], path[end - 1 + self.end_delay] = 2, 3
        for end in edges[:-1, 1]:
            path[end + 15] = 1
        probs = np.full((len(feats), 4), 0.001)
        probs[np.arange(len(feats)), path] = 0.997
        return np.log(probs).astype(np.float32)


@pytest.fixture
def rows(tmp_path):
    """Clips of noise of 0.3 to 0.9 s between quiet parts."""

    def make(count, text="ab", quiet=1e-4):
        rng = np.random.default_rng(0)
        made = []
        for i in range(count):
            lengths = rng.integers(800, 4800), rng.integers(4800, 14400), rng.integers(800, 4800)
            samples = np.repeat([quiet, 0.1, quiet], lengths) * rng.normal(size=sum(lengths))
            path = str(tmp_path / f"{i:03d}.wav")
            soundfile.write(path, samples, RATE, subtype="FLOAT")
            made.append({"id": f"u{i:03d}", "audio_filepath": path, "duration": len(samples) / RATE, "text": text})
        return made

    return make


def joined(rows):
    clips = junctions.read_clips(rows, Ledger(), LateExperiment(0), FEATURES)
    (recording,) = junctions.join_clips(clips, RATE)
    return recording


def test_the_delay_of_a_network_is_found(rows):
    raw = {}
    for delay in (0, 4, 8):
        ledger = Ledger()
        raw[delay] = measure([*junctions.run(rows(12), ledger, LateExperiment(delay))])
        assert (ledger.kept, ledger.dropped) == (12, 0)
        assert raw[delay].share_found(0.1) == 1.0
        assert np.abs(raw[delay].starts - 0.01 * delay).max() <= 0.021
    shifts = {delay: errors.estimate().shift_s for delay, errors in raw.items()}
    assert shifts[4] - shifts[0] == pytest.approx(0.04, abs=1e-6)
    assert shifts[8] - shifts[0] == pytest.approx(0.08, abs=1e-6)


def test_ends_that_are_early_are_extended(rows):
    recordings = [*junctions.run(rows(12), Ledger(), LateExperiment(4, -6))]
    exact = measure([*junctions.run(rows(12), Ledger(), LateExperiment(0))])
    timing = measure(recordings).estimate()
    corrected = measure(recordings, timing)
    assert abs(np.median(corrected.starts)) <= 0.001
    assert timing.extend_s == pytest.approx(0.1, abs=0.03)
    assert np.abs(corrected.ends - exact.ends).max() <= 0.03


def test_the_edges_of_clips_are_where_their_sound_is(rows):
    recording = joined(rows(5))
    assert [edges.words for edges in recording.edges] == [1] * 5 and recording.text == "ab ab ab ab ab"
    starts = [edges.start for edges in recording.edges]
    ends = [0.0, *(edges.end for edges in recording.edges)]
    assert [start - end for start, end in zip(starts, ends, strict=False)] == pytest.approx([0.3] * 5, abs=1e-4)
    assert len(recording.samples) / RATE == pytest.approx(ends[-1] + 0.3, abs=1e-4)
    for edges in recording.edges:
        inside = recording.samples[round(edges.start * RATE) : round(edges.end * RATE)]
        assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.13, rel=0.25)
    # no digital silence, but noise of the level of the quiet parts
    quiet = recording.samples[: round(0.25 * RATE)]
    assert 3e-5 < np.sqrt(np.mean(quiet**2)) < 4e-4


def test_clips_whose_edges_or_words_are_unsure_are_left_out_and_counted(rows):
    made = rows(6)
    for row, text in zip(made, ("ab", "", "axb", "ab 1", "ab", "ab"), strict=True):
        row["text"] = text
    soundfile.write(made[4]["audio_filepath"], 0.1 * np.random.default_rng(0).normal(size=9000), RATE)
    del made[4]["duration"]
    made[5]["audio_filepath"] += ".missing"
    ledger = Ledger()
    recordings = [*junctions.run(made, ledger, LateExperiment(0))]
    assert [recording.ids for recording in recordings] == [["u000"]]
    reasons = {row["id"]: (row["reason"], row["bad"]) for row in ledger.rows}
    assert reasons == {
        "u001": ("no-words", False),
        "u002": ("unspellable", False),
        "u003": ("unspellable", False),
        "u004": ("unsure-edges", False),
        "u005": ("missing-audio", True),
    }
    assert ledger.kept == 1


def test_a_row_without_audio_is_dropped():
    ledger = Ledger()
    assert not [*junctions.run([{"id": "u", "text": "ab"}], ledger, LateExperiment(0))]
    assert [row["reason"] for row in ledger.rows] == ["missing-audio"]


def test_the_segment_of_a_longer_file_is_read(rows, tmp_path):
    (row,) = rows(1)
    samples, _ = soundfile.read(row["audio_filepath"])
    path = str(tmp_path / "long.wav")
    soundfile.write(path, np.concatenate([np.full(8000, 0.5), samples, np.full(8000, 0.5)]), RATE, subtype="FLOAT")
    segment = {**row, "audio_filepath": path, "offset": 0.5}
    found = [joined([r]) for r in (row, segment)]
    assert found[0].edges == found[1].edges
    assert found[0].samples == pytest.approx(found[1].samples, abs=1e-6)


def test_long_sets_become_several_recordings_whose_clips_fail_together(rows, monkeypatch):
    monkeypatch.setattr(junctions, "RECORDING_S", 3.0)
    made = rows(9)
    assert len([*junctions.run(made, Ledger(), LateExperiment(0))]) >= 3
    # more symbols than steps
    made[3]["text"] = "ab" * 2000
    ledger = Ledger()
    recordings = [*junctions.run(made, ledger, LateExperiment(0))]
    kept = [name for recording in recordings for name in recording.ids]
    assert {row["reason"] for row in ledger.rows} == {"label-too-long"} and "u003" in {row["id"] for row in ledger.rows}
    assert sorted([*kept, *(row["id"] for row in ledger.rows)]) == [row["id"] for row in made]
    assert ledger.kept == len(kept)


def test_the_order_follows_from_the_seed(rows):
    orders = [next(junctions.run(rows(8), Ledger(), LateExperiment(0), seed=seed)).ids for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_network_that_states_other_features_is_one_error(rows):
    with pytest.raises(DataError, match="trained on features of 80 bins, but with settings that give 161"):
        [*junctions.run(rows(1), Ledger(), LateExperiment(0, bins=80))]
