"""Every stage that reads recordings reads the channel of the row: a call of two speakers, one on each channel."""

from __future__ import annotations

import types

import numpy as np
import pytest
import soundfile

from ds2cli.archive import read_matrix
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.export import ExportConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.config.train import TrainConfig
from ds2cli.corpora import csv
from ds2cli.drops import Ledger
from ds2cli.feats import kinds
from ds2cli.stages import export, featurize, level, prepare
from ds2cli.stages.augment import open_augmenter, write_augmented
from ds2cli.stages.bench_serve import read_clips
from ds2cli.stages.emit_foreign import read_standardized
from ds2cli.stages.junctions import read_clips as read_junction_clips
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.data import prepare_job

RATE = 16000


@pytest.fixture
def call(utterances, tmp_path, jsonl):
    """Rows of both sides of a stereo call, the manifest that has them, and the same sides as files of their own."""
    (left, first), (right, second) = utterances[2], utterances[3]
    size = max(len(left), len(right))
    sides = [np.pad(samples, (0, size - len(samples))) for samples in (left, right // 3)]
    soundfile.write(tmp_path / "call.wav", np.stack(sides, 1), RATE)
    table = f"path,text,channel\ncall.wav,{first},A\ncall.wav,{second},B\n"
    (tmp_path / "calls.csv").write_text(table)
    rows = list(prepare.run("csv", str(tmp_path / "calls.csv"), csv.Options(), Ledger()))
    alone = []
    for row, side in zip(rows, sides, strict=True):
        soundfile.write(tmp_path / f"{row['id']}.wav", side, RATE)
        mono = {name: value for name, value in row.items() if name != "channel"}
        alone.append({**mono, "audio_filepath": str(tmp_path / f"{row['id']}.wav")})
    paths = types.SimpleNamespace(
        call=jsonl(tmp_path / "call.jsonl", rows), alone=jsonl(tmp_path / "alone.jsonl", alone)
    )
    return rows, alone, paths


def test_a_table_of_calls_has_a_row_per_side(call):
    rows, _, _ = call
    assert [(row["id"], row["channel"]) for row in rows] == [("call-ch0", 0), ("call-ch1", 1)]


def test_levels(call):
    rows, alone, _ = call
    levels, expected = (list(level.measure_levels(some, Ledger())) for some in (rows, alone))
    assert levels == expected and abs(levels[0] - levels[1]) > 3


def test_stored_features(call, tmp_path):
    rows, alone, _ = call
    done, expected = (
        list(featurize.run(FeaturizeConfig(), some, Ledger(), str(tmp_path / name)))
        for some, name in ((rows, "call"), (alone, "alone"))
    )
    for row, mono in zip(done, expected, strict=True):
        np.testing.assert_array_equal(read_matrix(row["feats"]), read_matrix(mono["feats"]))


@pytest.mark.parametrize("read", ["rows", "manifest"])
def test_features_computed_while_training(call, read):
    scan = pytest.importorskip("ds2cli.train.scan") if read == "manifest" else None
    rows, alone, paths = call
    jobs = []
    for some, path in ((rows, paths.call), (alone, paths.alone)):
        source = some if read == "rows" else scan.ManifestRows(path, ("id", "text"))
        jobs.append(prepare_job(TrainConfig(), source, some, "", FeatureConfig().features(), Ledger()))
    found, expected = jobs
    assert len(found.train) == len(found.dev) == 2
    for job_set in ("train", "dev"):
        for utterance, mono in zip(getattr(found, job_set), getattr(expected, job_set), strict=True):
            side = int(utterance.id[-1])
            assert utterance.recording.channel == side
            computed = found.dev_features(utterance)
            np.testing.assert_array_equal(computed, expected.dev_features(mono))
            samples = soundfile.read(alone[side]["audio_filepath"], dtype="float32")[0]
            np.testing.assert_allclose(computed, kinds.compute(samples, FeatureConfig()), atol=1e-5)
            np.testing.assert_array_equal(found.train_features(utterance, 0), expected.train_features(mono, 0))
    np.testing.assert_array_equal(found.mean, expected.mean)


def test_augmented_recordings(call, tmp_path):
    rows, alone, _ = call
    for some, name in ((rows, "call"), (alone, "alone")):
        augmenter = open_augmenter(AugmentConfig(speeds=(0.9, 1.1)), 3, FeatureConfig())
        assert len(list(write_augmented(augmenter, 1, some, str(tmp_path / name), Ledger()))) == 2
    for row in rows:
        heard, expected = (soundfile.read(tmp_path / f"{name}/{row['id']}.wav")[0] for name in ("call", "alone"))
        np.testing.assert_array_equal(heard, expected)


def test_what_other_toolkits_networks_get(call):
    for row, mono in zip(*call[:2], strict=True):
        for rate in (8000, RATE):
            heard, expected = (read_standardized(some, rate, standardize=True) for some in (row, mono))
            np.testing.assert_array_equal(heard, expected)


def test_clips_of_a_bench_of_a_server(call):
    _, _, paths = call
    heard, expected = (read_clips([path], RATE, 1.0, Ledger()) for path in (paths.call, paths.alone))
    assert len(heard) == 2 and heard == expected and heard[0] != heard[1]


def test_clips_whose_word_times_are_measured(call):
    experiment = types.SimpleNamespace(vocab=Vocab((BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz")))
    heard, expected = (list(read_junction_clips(some, Ledger(), experiment, FeatureConfig())) for some in call[:2])
    assert len(heard) == len(expected)
    for clip, mono in zip(heard, expected, strict=True):
        np.testing.assert_array_equal(clip.samples, mono.samples)


def test_the_clip_that_is_shipped_with_a_network(call, monkeypatch):
    rows, alone, _ = call
    monkeypatch.setattr(export, "_feature_settings", lambda _: FeatureConfig())
    files, clips = types.SimpleNamespace(is_bundle=False, path="exp"), []
    for row in (rows[1], alone[1]):
        monkeypatch.setattr(export, "_list_candidates", lambda _, row=row: [row])
        clips.append(export._find_clip(ExportConfig(), files, None)[0])
    assert clips[0] == clips[1]
