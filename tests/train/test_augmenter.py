from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import soundfile

from ds2cli.archive import read_matrix
from ds2cli.audio.pool import open_pool
from ds2cli.audio.recording import Recording, parse_recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.stages import featurize
from ds2cli.train.augmenter import Augmenter, AugmentPlan, count_frames, plan_augmentation
from ds2cli.train.spec_augment import spec_augment

ALL = AugmentConfig(
    noise="n", noise_share=0.5, rir="r", rir_share=0.5, speeds=(0.9, 1.0, 1.1), shift_ms=5, gain_db=3, speed=0.05,
    warp=0.05, freq_masks=2, time_masks=2,
)  # fmt: skip
FILL = np.full(161, -9, np.float32)


@dataclass(frozen=True)
class Utterance:
    id: str
    feats: str | None = None
    num_frames: int = 0
    recording: Recording | None = None
    min_frames: int = 1


def make_utterance(row, **extra):
    recording = parse_recording(row)
    frames = row.get("num_frames") or (count_frames(recording, FeatureConfig()) if recording else 0)
    return Utterance(row["id"], row.get("feats"), frames or 0, recording, **extra)


def make_augmenter(config, folder=None, seed=0):
    pools = {}
    if folder:
        for name, field in (("noise", "noise"), ("rir", "impulse_responses")):
            files = sorted((folder / name).iterdir())
            pools[field] = open_pool([{"id": p.stem, "audio_filepath": str(p)} for p in files], name)
    return Augmenter(config, FeatureConfig(), seed, FILL, read_matrix, **pools)


@pytest.fixture(scope="module")
def rows(shared_data):
    """Rows as prepare writes them: 16 kHz FLAC, 8 kHz WAV, 32 kHz MP3, and a segment of a file."""
    parts = ("LibriSpeech/dev-clean", "fsdd", "commonvoice", "LJSpeech-1.1")
    files = [
        p for part in parts for p in sorted((shared_data / part).rglob("*.*")) if p.suffix in (".flac", ".wav", ".mp3")
    ]
    out = []
    for p in [*files[:7], *files[7:300:30], *files[307:347:8], *files[347:350]]:
        from ds2cli.audio.read import probe

        info = probe(p)
        row = {"id": p.stem, "audio_filepath": str(p), "duration": round(info.duration_s, 6), "text": "x"}
        out.append({**row, "sample_rate": info.sample_rate})
    out.append({**out[0], "id": f"{out[0]['id']}-part", "offset": 1.2345, "duration": 2.5})
    return sorted(out, key=lambda row: row["id"])


def stored_row(tmp_path, row):
    # the archive appears when the iterator is exhausted
    (stored,) = featurize.run(FeaturizeConfig(), [row], Ledger(), str(tmp_path / "x"))
    return stored


def digest(x):
    return hashlib.sha256(x.tobytes() + str(x.shape).encode()).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize("speeds", ["1.0", "0.9 1.0 1.1"])
def test_without_augmentation_features_match_featurize(tmp_path, rows, speeds):
    config = FeaturizeConfig(speeds=speeds, max_bad=0)
    stored = list(featurize.run(config, rows, Ledger(), str(tmp_path / "x")))
    assert len(stored) == len(rows) * len(speeds.split())
    plain = make_augmenter(AugmentConfig())
    for row in stored:
        matrix = read_matrix(row["feats"], row["id"])
        without_feats = make_utterance({k: v for k, v in row.items() if k not in ("feats", "num_frames")})
        assert without_feats.feats is None
        np.testing.assert_array_equal(plain.unaugmented(without_feats), matrix)
        np.testing.assert_array_equal(plain(without_feats, 3), matrix)
        np.testing.assert_array_equal(plain(make_utterance(row), 3), matrix)
        assert without_feats.num_frames == plain.frames(without_feats, 3) == len(matrix) == row["num_frames"]


def test_features_are_a_copy(tmp_path, rows):
    stored = stored_row(tmp_path, rows[0])
    make_augmenter(AugmentConfig())(make_utterance(stored), 0)[:] = 0
    assert read_matrix(stored["feats"]).any()


@pytest.mark.long
@pytest.mark.parametrize("config", [ALL, AugmentConfig(speed=0.1), AugmentConfig(speeds=(0.9, 1.0, 1.1))])
def test_the_number_of_frames_is_predicted_exactly(rows, shared_data, config):
    augment = make_augmenter(config, shared_data)
    for row in rows:
        for epoch in range(4):
            assert augment.frames(make_utterance(row), epoch) == len(augment(make_utterance(row), epoch))


@pytest.mark.long
def test_features_are_identical_in_any_thread_process_or_order(rows, shared_data):
    """One thread, four threads, and another process with a different number of BLAS threads."""
    augment = make_augmenter(ALL, shared_data, seed=7)
    cases = [(make_utterance(row), epoch) for row in rows for epoch in (0, 5)]
    expected = {(u.id, epoch): digest(augment(u, epoch)) for u, epoch in cases}
    assert len(set(expected.values())) == len(expected)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda case: digest(make_augmenter(ALL, shared_data, seed=7)(*case)), cases[::-1]))
    assert threaded == [expected[u.id, epoch] for u, epoch in cases[::-1]]
    code = (
        "import pickle, sys, hashlib, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('test_augmenter', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['test_augmenter'] = module\n"
        "spec.loader.exec_module(module)\n"
        "augment, cases = pickle.load(sys.stdin.buffer)\n"
        "for row, epoch in cases[1::3]: print(module.digest(augment(module.make_utterance(row), epoch)))\n"
    )
    payload = pickle.dumps((augment, [(row, epoch) for row in rows for epoch in (0, 5)]))
    env = {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "PYTHONHASHSEED": "11"}
    done = subprocess.run([sys.executable, "-c", code], input=payload, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [expected[u.id, epoch] for u, epoch in cases[1::3]]


def test_seed_epoch_and_id_change_the_features(rows, shared_data):
    utt = make_utterance(rows[0])
    renamed = replace(utt, id=f"{utt.id}\u00e9中")
    features = [make_augmenter(ALL, shared_data, seed)(u, epoch) for seed, epoch, u in
             ((0, 0, utt), (1, 0, utt), (0, 1, utt), (0, 0, renamed))]  # fmt: skip
    assert len({digest(x) for x in features}) == 4


def test_fractions_and_ranges_of_planned_augmentation():
    config = AugmentConfig(noise="n", rir="r", rir_share=0.25, speeds=(0.9, 1.0, 1.1), shift_ms=5)
    drawn = [plan_augmentation(config, 0, epoch, f"utterance-{i}") for epoch in range(4) for i in range(1000)]
    noisy = [d.snr_db for d in drawn if d.snr_db is not None]
    assert len(noisy) / 4000 == pytest.approx(0.4, abs=0.03)
    assert 0 <= min(noisy) < 0.5
    assert 29.5 < max(noisy) <= 30
    assert np.mean(noisy) == pytest.approx(15, abs=1)
    assert np.mean([d.impulse_response is not None for d in drawn]) == pytest.approx(0.25, abs=0.03)
    for speed in config.speeds:
        assert np.mean([d.speed == speed for d in drawn]) == pytest.approx(1 / 3, abs=0.03)
    assert max(abs(d.shift_s) for d in drawn) == pytest.approx(0.005, abs=1e-4)


def test_each_epoch_adds_noise_to_different_utterances():
    config = AugmentConfig(noise="n")
    noisy = [
        {i for i in range(1000) if plan_augmentation(config, 0, epoch, str(i)).snr_db is not None} for epoch in range(2)
    ]
    assert len(noisy[0] & noisy[1]) == pytest.approx(160, abs=40)


def test_one_setting_does_not_affect_the_random_draws_of_the_others():
    full, reduced = plan_augmentation(ALL, 1, 2, "a"), plan_augmentation(replace(ALL, rir=None, shift_ms=0), 1, 2, "a")
    assert full.impulse_response is not None or full.snr_db is not None
    assert (reduced.impulse_response, reduced.shift_s) == (None, 0)
    assert (reduced.speed, reduced.snr_db) == (full.speed, full.snr_db)
    assert reduced.seed == full.seed


def test_noise_has_the_planned_snr(rows, shared_data):
    config = AugmentConfig(noise="n", noise_share=1.0)
    augment, plain = make_augmenter(config, shared_data), make_augmenter(AugmentConfig())
    for row in rows:
        utt = make_utterance(row)
        clean, noisy = plain.waveform(utt, 2).astype(np.float64), augment.waveform(utt, 2).astype(np.float64)
        ratio = 10 * np.log10(np.square(clean).mean() / np.square(noisy - clean).mean())
        assert ratio == pytest.approx(plan_augmentation(config, 0, 2, utt.id).snr_db, abs=0.01)


def test_a_speed_that_leaves_too_few_frames_is_not_applied(rows):
    utt = make_utterance(rows[0])
    augment = make_augmenter(AugmentConfig(speeds=(1.5,)))
    assert len(augment(utt, 0)) == pytest.approx(utt.num_frames / 1.5, abs=2)
    tight = replace(utt, min_frames=utt.num_frames)
    assert len(augment(tight, 0)) == augment.frames(tight, 0) == utt.num_frames
    fast = len(augment(utt, 0))
    for needed, frames in ((fast, fast), (fast + 1, utt.num_frames)):
        case = replace(utt, min_frames=needed)
        assert len(augment(case, 0)) == augment.frames(case, 0) == frames


def test_stored_spectrograms_are_augmented_with_spec_augment(tmp_path, rows):
    stored = stored_row(tmp_path, rows[0])
    config = AugmentConfig(speed=0.1, warp=0.1, freq_masks=2, time_masks=2, gain_db=2)
    rng = plan_augmentation(config, 3, 4, stored["id"]).features_rng()
    expected = spec_augment(read_matrix(stored["feats"]), FILL, config, rng, 1)
    np.testing.assert_array_equal(make_augmenter(config, seed=3)(make_utterance(stored), 4), expected)


def test_stored_features_are_used_for_utterances_without_noise(tmp_path, rows, shared_data):
    row = {**rows[0], "feats": "stored"}
    augment = replace(
        make_augmenter(AugmentConfig(noise="n"), shared_data), read=lambda ref: np.zeros((5, 161), np.float32)
    )
    for epoch in range(12):
        noisy = plan_augmentation(augment.config, 0, epoch, row["id"]).snr_db is not None
        assert augment(make_utterance(row), epoch).any() == noisy


def test_a_missing_recording_is_reported(tmp_path):
    augment = make_augmenter(AugmentConfig(shift_ms=5))
    with pytest.raises(BadUtterance, match="no-audio: the row has no audio_filepath"):
        augment(Utterance("a", "stored", 10), 0)
    with pytest.raises(BadUtterance, match="no-audio"):
        augment.unaugmented(Utterance("a"))


def test_frames_without_a_duration_are_off_by_at_most_one(rows):
    augment = make_augmenter(AugmentConfig(speeds=(0.5, 0.9, 1.1, 2.0)))
    for row in rows:
        if "offset" in row:
            continue
        without_feats = replace(make_utterance(row), recording=Recording(row["audio_filepath"]))
        assert abs(augment.frames(without_feats, 0) - len(augment(without_feats, 0))) <= 1


@pytest.mark.parametrize("size", [320, 321, 480])
def test_the_shortest_recordings_that_have_a_frame(tmp_path, size, shared_data):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(size), 16000)
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "duration": size / 16000}
    augment = make_augmenter(replace(ALL, noise_share=1, rir_share=1, speeds=(1.0,)), shared_data)
    for epoch in range(10):
        x = augment(make_utterance(row), epoch)
        assert x.shape == (augment.frames(make_utterance(row), epoch), 161)
        assert np.isfinite(x).all()


def test_one_sample_is_too_short_and_silence_gives_finite_features(tmp_path, shared_data):
    soundfile.write(tmp_path / "a.wav", np.zeros(1), 16000)
    soundfile.write(tmp_path / "b.wav", np.zeros(9000), 16000)
    augment = make_augmenter(replace(ALL, noise_share=1, rir_share=1), shared_data)
    with pytest.raises(BadUtterance, match="too-short"):
        augment(make_utterance({"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "duration": 1 / 16000}), 0)
    silent = augment(
        make_utterance({"id": "b", "audio_filepath": str(tmp_path / "b.wav"), "duration": 9000 / 16000}), 0
    )
    assert np.isfinite(silent).all()


def test_an_unreadable_noise_recording_does_not_lose_the_utterance(tmp_path, rows, shared_data):
    path = tmp_path / "n.wav"
    soundfile.write(path, np.ones(16000), 16000)
    pool = open_pool([{"id": "n", "audio_filepath": str(path)}], "noise")
    path.unlink()
    augment = replace(make_augmenter(AugmentConfig()), config=AugmentConfig(noise="n", noise_share=1), noise=pool)
    utt = make_utterance(rows[0])
    np.testing.assert_array_equal(augment(utt, 0), augment.unaugmented(utt))
    augment(utt, 1)
    assert pool.failures == {str(path): f"missing-audio: no file {path}"}


def test_shifts_go_both_ways_up_to_the_limit():
    config = AugmentConfig(shift_ms=100)
    shifts = np.array([plan_augmentation(config, 0, 0, f"u{i}").shift_s for i in range(500)])
    assert -0.1 <= shifts.min() < -0.095 and 0.095 < shifts.max() <= 0.1 and abs(shifts.mean()) < 0.01


def test_the_noise_is_between_the_lowest_and_the_highest_ratio():
    config = AugmentConfig(noise="n", noise_share=1, snr_low=-5, snr_high=10)
    drawn = [plan_augmentation(config, 0, 0, f"u{i}").snr_db for i in range(500)]
    assert -5 <= min(drawn) < -4.5 and 9.5 < max(drawn) <= 10


@pytest.mark.parametrize(
    "planned", [{"speed": 0.9}, {"shift_s": -0.001}, {"impulse_response": 0.0}, {"snr_db": 0.0}], ids=str
)
def test_any_change_of_the_samples_needs_the_recording(planned):
    unchanged = AugmentPlan(speed=1.0, shift_s=0.0, impulse_response=None, snr_db=None, seed=(1, 2))
    assert not unchanged.needs_audio and replace(unchanged, **planned).needs_audio


def test_seed_epoch_and_id_are_not_run_together():
    plans = [plan_augmentation(ALL, *case) for case in ((1, 11, "a"), (11, 1, "a"), (1, 1, "1a"))]
    assert len({plan.seed for plan in plans}) == 3
    assert plans[0].noise_rng().random() != plans[0].features_rng().random()


def test_each_impulse_response_of_the_pool_is_used(tmp_path):
    rows = []
    for i, value in enumerate((0.1, 0.2, 0.3)):
        soundfile.write(tmp_path / f"{i}.wav", [value, *[0.0] * 15], 16000, "FLOAT")
        rows.append({"id": str(i), "audio_filepath": str(tmp_path / f"{i}.wav")})
    augment = replace(make_augmenter(AugmentConfig()), impulse_responses=open_pool(rows, "rir"))
    for position, value in ((0.0, 0.1), (0.33, 0.1), (0.34, 0.2), (0.66, 0.2), (0.67, 0.3), (0.999, 0.3)):
        response = augment.impulse_response(AugmentPlan(1.0, 0.0, position, None, ()))
        assert response[0] == pytest.approx(value), position


def test_noise_is_added_after_reverberation(tmp_path):
    """The room takes the difference of neighboring samples, which would remove a constant noise."""
    pools, path = {}, tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * np.sin(0.3 * np.arange(16000)), 16000, "FLOAT")
    for name, samples in (("noise", np.full(16000, 0.1)), ("room", [1.0, -1.0])):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, "FLOAT")
        pools[name] = open_pool([{"id": name, "audio_filepath": str(tmp_path / f"{name}.wav")}], name)
    config = AugmentConfig(noise="n", noise_share=1, rir="r", rir_share=1, snr_low=0, snr_high=0)
    augment = Augmenter(config, FeatureConfig(), 0, FILL, read_matrix, pools["noise"], pools["room"])
    x = augment.waveform(make_utterance({"id": "u", "audio_filepath": str(path), "duration": 1.0}), 0)
    assert float(x.mean()) == pytest.approx(0.1 / 2**0.5, rel=0.01)


def test_one_channel_of_a_recording_is_used_if_it_is_chosen(tmp_path):
    left, right = 0.1 * np.random.default_rng(0).standard_normal((2, 1600))
    utterances = []
    for name, samples in (("both", np.stack([left, right], 1)), ("left", left), ("right", right)):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, "FLOAT")
        row = {"id": name, "audio_filepath": str(tmp_path / f"{name}.wav"), "duration": 0.1}
        utterances.append(make_utterance(row))
    plain = make_augmenter(AugmentConfig())
    for channel in (0, 1):
        chosen, alone = replace(plain, channel=channel), utterances[1 + channel]
        np.testing.assert_array_equal(chosen.waveform(utterances[0], 0), plain.waveform(alone, 0))
        np.testing.assert_array_equal(chosen.unaugmented(utterances[0]), plain.unaugmented(alone))
