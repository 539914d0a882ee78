import numpy as np
import pytest
import soundfile

from ds2cli.audio.level import gain
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.stages.augment import _describe, open_augmenter, write_augmented
from ds2cli.train.augmenter import AugmentPlan, plan_augmentation
from ds2cli.train.pools import open_pools


@pytest.fixture
def rows(tmp_path):
    out = []
    for name in ("a", "b/c", "é"):
        path = tmp_path / f"{len(out)}.wav"
        soundfile.write(path, 0.3 * np.random.default_rng(len(out)).standard_normal(16000), 16000)
        out.append({"id": name, "audio_filepath": str(path), "duration": 1.0})
    return out


def test_files_are_augmented_as_in_training(tmp_path, rows, jsonl):
    noise = jsonl(tmp_path / "noise.jsonl", [{"id": "n", "audio_filepath": rows[2]["audio_filepath"]}])
    config = AugmentConfig(noise=noise, noise_share=0.5, speeds=(0.9, 1.0, 1.1))
    augmenter, ledger = open_augmenter(config, 3, FeatureConfig()), Ledger()
    missing = {"id": "z", "audio_filepath": str(tmp_path / "none.wav")}
    for epoch in (0, 1, 2):
        effects = dict(write_augmented(augmenter, epoch, rows, str(tmp_path / "augmented"), ledger))
        assert sorted(p.name for p in (tmp_path / "augmented").iterdir()) == ["a.wav", "b_c.wav", "é.wav"]
        for row in rows:
            drawn = plan_augmentation(config, 3, epoch, row["id"])
            augmented, rate = soundfile.read(
                tmp_path / "augmented" / (row["id"].replace("/", "_") + ".wav"), dtype="float32"
            )
            assert rate == 16000
            assert len(augmented) == pytest.approx(16000 / drawn.speed, abs=1)
            assert 20 * np.log10(1 / gain(augmented, 0.0)) == pytest.approx(-20, abs=0.1)
            assert ("noise" in effects[row["id"]]) == (drawn.snr_db is not None)
            assert ("speed" in effects[row["id"]]) == (drawn.speed != 1)
    assert ledger.kept == 9
    assert not list(write_augmented(augmenter, 0, [missing, {"id": "y"}], str(tmp_path / "augmented"), ledger))
    assert ledger.reasons == {"missing-audio": 1, "no-audio-filepath": 1}


def test_an_unreadable_impulse_response_is_not_reported_as_applied(tmp_path, rows, jsonl):
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600), 16000)
    rir = jsonl(tmp_path / "rooms.jsonl", [{"id": "r", "audio_filepath": str(tmp_path / "silent.wav")}])
    augmenter = open_augmenter(AugmentConfig(rir=rir, rir_share=1.0), 3, FeatureConfig())
    effects = dict(write_augmented(augmenter, 0, rows, str(tmp_path / "augmented"), Ledger()))
    assert set(effects.values()) == {"unchanged"} and augmenter.impulse_responses.failures


def test_silent_noise_is_not_reported_as_added(tmp_path, rows, jsonl):
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600), 16000)
    noise = jsonl(tmp_path / "noise.jsonl", [{"id": "n", "audio_filepath": str(tmp_path / "silent.wav")}])
    augmenter = open_augmenter(AugmentConfig(noise=noise, noise_share=1.0), 3, FeatureConfig())
    effects = dict(write_augmented(augmenter, 0, rows, str(tmp_path / "augmented"), Ledger()))
    assert set(effects.values()) == {"unchanged"}


def test_loud_recordings_are_attenuated_not_clipped(tmp_path):
    click = np.zeros(16000)
    click[100] = 0.5
    soundfile.write(tmp_path / "a.wav", click, 16000)
    augmenter = open_augmenter(AugmentConfig(), 0, FeatureConfig())
    list(
        write_augmented(augmenter, 0, [{"id": "a", "audio_filepath": str(tmp_path / "a.wav")}], str(tmp_path), Ledger())
    )
    assert soundfile.read(tmp_path / "a.wav")[0].max() == pytest.approx(0.99, abs=1e-3)


def test_pools_are_opened_as_configured_and_list_their_failures(tmp_path, rows, jsonl):
    assert open_pools(AugmentConfig()) == (None, None)
    path = jsonl(tmp_path / "x.jsonl", [rows[0], {"id": "b"}, {"id": "c", "audio_filepath": "none.wav"}])
    no_noise, impulse_responses = open_pools(AugmentConfig(rir=path))
    assert no_noise is None
    assert len(impulse_responses) == 1
    assert [failure.split(":")[0] for failure in impulse_responses.failures.values()] == [
        "missing-audio",
        "no-audio-filepath",
    ]
    empty = jsonl(tmp_path / "empty.jsonl", [])
    for name in ("noise", "rir"):
        with pytest.raises(DataError, match=rf"augment\.{name} .*empty\.jsonl: the manifest is empty"):
            open_pools(AugmentConfig(**{name: empty}))


def test_each_change_is_described(tmp_path, rows, jsonl):
    pool = jsonl(tmp_path / "pool.jsonl", rows[:1])
    augmenter = open_augmenter(AugmentConfig(noise=pool, rir=pool), 3, FeatureConfig())
    for plan, text in (
        (AugmentPlan(1.0, 0.0, None, None, (1,)), "unchanged"),
        (AugmentPlan(0.9, 0.0, None, None, (1,)), "speed 0.9"),
        (AugmentPlan(1.0, -0.00125, None, None, (1,)), "shift -1.2 ms"),
        (AugmentPlan(1.1, 0.004, 0.0, -2.25, (1,)), "speed 1.1, shift 4.0 ms, reverberation, noise at -2.2 dB"),
    ):
        assert _describe(augmenter, plan, 100) == text


def test_files_have_the_sample_rate_of_the_features(tmp_path, rows):
    augmenter = open_augmenter(AugmentConfig(), 0, FeatureConfig(sample_rate=8000))
    list(write_augmented(augmenter, 0, rows[:1], str(tmp_path / "out"), Ledger()))
    info = soundfile.info(tmp_path / "out" / "a.wav")
    assert (info.samplerate, info.frames, info.subtype) == (8000, 8000, "PCM_16")


def test_the_speed_is_changed_without_a_duration_too(tmp_path, rows):
    augmenter = open_augmenter(AugmentConfig(speeds=(1.25,)), 3, FeatureConfig())
    bare = [{"id": row["id"], "audio_filepath": row["audio_filepath"]} for row in rows]
    effects = dict(write_augmented(augmenter, 0, bare, str(tmp_path / "augmented"), Ledger()))
    assert set(effects.values()) == {"speed 1.25"}
    for file in (tmp_path / "augmented").iterdir():
        assert abs(soundfile.info(file).frames - 12800) <= 1
