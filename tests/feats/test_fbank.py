import warnings

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile

from ds2cli.audio.level import gain
from ds2cli.audio.resample import resample
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats.fbank import BLOCK, Config, compute, mel_filters, num_bins, num_frames, povey

SCALE = 2.0**15
"""Kaldi's floor of 1.2e-7 is made for samples on this scale."""


def kaldi(samples, config, **frame_options):
    """The features of kaldi-native-fbank for samples at the level of `config`."""
    options = kaldi_native_fbank.FbankOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither, frame.preemph_coeff = config.sample_rate, 0, config.preemphasis
    frame.frame_length_ms, frame.frame_shift_ms = config.window_ms, config.hop_ms
    frame.window_type, frame.remove_dc_offset, frame.snip_edges = "povey", True, True
    mel.num_bins, mel.low_freq, mel.high_freq = config.num_mels, config.low_hz, config.high_hz or 0
    options.use_energy, options.use_log_fbank, options.use_power = False, True, True
    for name, value in frame_options.items():
        setattr(frame, name, value)
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(config.sample_rate, (samples * SCALE).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)]) - 2 * np.log(SCALE)


def assert_equal_within_rounding(got, expected, floor):
    """Energies are equal within float32 rounding of the loudest of their frame, its logarithms within 60 dB of it.

    Kaldi rounds the edges of its filters to float32, which alone is 3e-5 of a neighbor's energy; the errors here are
    about an eighth of that (see the next test).
    """
    assert got.shape == expected.shape and got.dtype == np.float32
    energy, reference = np.exp(got.astype(np.float64)), np.exp(expected.astype(np.float64))
    # Kaldi's own floor, in digital silence
    reference = np.where(reference < 1.2e-7 / SCALE**2, 0, reference) + floor
    loudest = reference.max(axis=1, keepdims=True)
    assert (np.abs(energy - reference) <= 4e-5 * loudest + 0.1 * floor).all()
    difference = np.abs(got - np.log(reference))
    audible = reference > 1e4 * floor
    assert difference[audible & (reference > 1e-4 * loudest)].max() < 2e-3
    assert difference[audible & (reference > 1e-6 * loudest)].mean() < 2e-5


def compute_ref(samples, config):
    """The definition in float64, frame by frame and filter by filter."""
    x = samples.astype(np.float64)
    rms = np.sqrt(np.mean(x**2))
    x *= 10 ** (config.level_db / 20) / rms if rms else 1
    width, hop = config.window_samples, config.hop_samples
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / (width - 1))) ** 0.85
    filters = mel_filters(config).toarray().astype(np.float64)
    rows = []
    for start in range(0, len(x) - width + 1, hop):
        frame = x[start : start + width]
        frame = frame - frame.mean()
        frame = np.append(frame[0] * (1 - config.preemphasis), frame[1:] - config.preemphasis * frame[:-1])
        power = np.abs(np.fft.rfft(frame * window, 2 * (filters.shape[1] - 1))) ** 2
        rows.append(np.log(filters @ power + config.floor))
    return np.array(rows)


@pytest.fixture(scope="module", params=["LibriSpeech/dev-clean", "fsdd/recordings", "asterisk"])
def recordings(request, shared_data):
    """Three recordings of a corpus: (samples, rate) each."""
    files = [p for p in sorted((shared_data / request.param).rglob("*.*")) if p.suffix in (".wav", ".flac", ".gsm")]
    if not files:
        pytest.skip(f"no recordings in {request.param}")
    return [soundfile.read(p, dtype="float32") for p in files[:: max(1, len(files) // 3)][:3]]


@pytest.mark.peer
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize(
    "settings",
    [
        {"num_mels": 40},
        {"num_mels": 80, "window_ms": 25.0},
        {"num_mels": 161, "window_ms": 128.0},
        {"num_mels": 23, "low_hz": 0.0, "high_hz": 3700.0, "preemphasis": 0.0, "hop_ms": 12.5, "level_db": -35.0},
    ],
    ids=lambda s: str(s["num_mels"]),
)
def test_equals_kaldi_native_fbank(recordings, rate, settings):
    config = Config(sample_rate=rate, **settings)
    for samples, own_rate in recordings:
        x = resample(samples, own_rate, rate)
        got = compute(x, config)
        assert len(got) == num_frames(len(x), config)
        expected = kaldi(x * gain(x, config.level_db), config)
        assert_equal_within_rounding(got, expected, config.floor)


@pytest.mark.peer
def test_is_closer_to_float64_than_kaldi(recordings):
    config = Config(num_mels=40)
    x = resample(*recordings[0], 16000)[:32000]
    reference = compute_ref(x, config)
    audible = reference > reference.max(axis=1, keepdims=True) - np.log(1e6)
    own, peer = (
        np.abs(features - reference)[audible].mean()
        for features in (compute(x, config), kaldi(x * gain(x, config.level_db), config))
    )
    assert own < peer < 2e-5


@pytest.mark.peer
@pytest.mark.parametrize("rate", [8000, 16000])
def test_161_filters_equal_those_of_kaldi_on_padded_windows(recordings, rate):
    """Kaldi refuses windows of 20 ms for 161 filters; padded to the FFT, they are one frame each without a window."""
    config = Config(sample_rate=rate, num_mels=161)
    size = 2 * (mel_filters(config).shape[1] - 1)
    x = resample(*recordings[0], rate)
    x = x[: config.window_samples + 99 * config.hop_samples]
    with pytest.raises(ValueError, match="num_mel_bins too large"):
        kaldi(x, config)
    padded = np.zeros((num_frames(len(x), config), size), np.float32)
    for row, start in zip(padded, range(0, len(x), config.hop_samples), strict=False):
        frame = x[start : start + config.window_samples].astype(np.float64) * gain(x, config.level_db)
        frame -= frame.mean()
        row[: len(frame)] = (frame - 0.97 * np.append(frame[0], frame[:-1])) * povey(len(frame))
    options = {"window_type": "rectangular", "remove_dc_offset": False, "preemph_coeff": 0.0}
    sizes = {"frame_length_ms": 1000 * size / rate, "frame_shift_ms": 1000 * size / rate}
    expected = kaldi(padded.ravel(), config, **options, **sizes)
    assert_equal_within_rounding(compute(x, config), expected, config.floor)


@pytest.mark.parametrize("frames", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
@pytest.mark.parametrize("extra", [0, 159])
def test_equals_the_definition(frames, extra):
    # an offset far above the signal, as of a cheap sound card
    x = (3 + np.random.default_rng(frames).normal(size=320 + 160 * (frames - 1) + extra)).astype(np.float32)
    config = Config(num_mels=30)
    got = compute(x, config)
    assert got.shape == (frames, 30) == (num_frames(len(x), config), num_bins(config))
    np.testing.assert_allclose(got, compute_ref(x, config), atol=1e-3)


def test_filters_are_triangles_that_add_to_one():
    filters = mel_filters(Config(num_mels=40, low_hz=0, high_hz=8000)).toarray()
    assert filters.shape == (40, 257) and filters.min() == 0 and filters.max() <= 1
    # between the centers of the first filter and the last, each frequency belongs to two
    first, last = filters.argmax(axis=1)[[0, -1]]
    np.testing.assert_allclose(filters[:, first + 1 : last].sum(axis=0), 1, atol=1e-6)
    assert (np.diff(filters.argmax(axis=1)) > 0).all()


def test_default_settings():
    config = Config()
    assert (config.num_mels, config.low_hz, config.upper_hz, config.preemphasis) == (80, 20, 8000, 0.97)
    assert Config(sample_rate=8000).upper_hz == 4000


@pytest.mark.parametrize("mel", [0, 7, 39])
def test_the_peak_of_a_tone_is_in_its_filter(mel):
    config = Config(num_mels=40)
    low, high = (1127 * np.log1p(f / 700) for f in (20, 8000))
    hertz = 700 * np.expm1((low + (high - low) * (mel + 1) / 41) / 1127)
    x = np.sin(2 * np.pi * hertz * np.arange(16000) / 16000).astype(np.float32)
    assert (np.abs(compute(x, config).argmax(axis=1) - mel) <= (1 if mel == 0 else 0)).all()


@pytest.mark.parametrize("rate, num_mels", [(8000, 161), (16000, 161), (16000, 80), (44100, 128)])
def test_every_filter_has_a_frequency(rate, num_mels):
    config = Config(sample_rate=rate, num_mels=num_mels)
    assert (mel_filters(config).sum(axis=1) > 0).all()
    x = np.random.default_rng(0).normal(size=rate).astype(np.float32)
    assert compute(x, config).std(axis=0).min() > 0.1


def test_features_do_not_depend_on_the_level():
    x = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    np.testing.assert_allclose(compute(x * 1e-3, Config()), compute(x, Config()), atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_silence_and_a_constant_give_the_floor(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = compute(np.full(16000, value, np.float32), Config(floor=1e-8))
    np.testing.assert_allclose(got, np.log(1e-8), rtol=1e-3)


def test_too_short_and_not_a_number():
    for length in (0, 1, 319):
        assert num_frames(length, Config()) == 0
        with pytest.raises(BadUtterance, match="too-short"):
            compute(np.ones(length, np.float32), Config())
    for bad in (np.nan, np.inf, -np.inf):
        x = np.ones(16000, np.float32)
        x[77] = bad
        with pytest.raises(BadUtterance, match="not-a-number: 1 samples"):
            compute(x, Config())


def test_the_input_is_left_unchanged():
    x = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    before = x.copy()
    x.flags.writeable = False
    compute(x, Config())
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"low_hz": 9000.0}, "low_hz 9000 and high_hz 8000: expected low_hz < high_hz <= 8000"),
        ({"high_hz": 8001.0}, "expected low_hz < high_hz <= 8000"),
        ({"sample_rate": 8000, "high_hz": 8000.0}, "<= 4000, half of sample_rate"),
        ({"num_mels": 1000, "high_hz": 21.0}, "num_mels 1000 is too many between 20 and 21 Hz"),
        ({"num_mels": 0}, "expected 1 to 1024, got 0"),
        ({"sample_rate": 1000, "window_ms": 1.0}, "window_ms 1: expected at least 2 samples, got 1"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(UsageError, match=message):
        build(FeatureConfig, ("x", {"kind": "fbank", **settings}))
