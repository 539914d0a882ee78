import re
import struct
import subprocess

import av
import numpy as np
import pytest
import soundfile

from ds2cli.audio.codecs import decode_frame
from ds2cli.audio.read import PREROLL_S, is_audio, parse_channel, probe, read
from ds2cli.errors import BadUtterance, UsageError

RATE = 16000


@pytest.fixture(scope="module")
def flac(shared_data):
    return next((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))


@pytest.fixture(scope="module")
def speech(flac):
    return soundfile.read(flac, dtype="float32")[0]


def reason(source, **options):
    with pytest.raises(BadUtterance) as e:
        read(source, **options)
    assert "\n" not in e.value.detail
    return e.value.reason


def encoded(path, samples, container, codec, rate=RATE):
    """Write a file with one of the encoders of FFmpeg."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def test_real_files_of_every_format(shared_data):
    for pattern, rate in [
        ("LibriSpeech/*/*/*/*.flac", 16000),
        ("fsdd/recordings/*.wav", 8000),
        ("LJSpeech-1.1/wavs/*.wav", 22050),
        ("commonvoice/en/clips/*.mp3", 32000),
        ("an4/wav/*/*/*.sph", 16000),
        ("asterisk/g722-raw/*.g722", 16000),
    ]:
        path = sorted(shared_data.glob(pattern))[0]
        samples, got = read(path)
        assert got == rate, pattern
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert 0.01 < np.abs(samples).max() <= 1.5
        info = probe(path)
        assert info.duration_s == pytest.approx(len(samples) / rate)
        assert probe(path, decode=False) == info


def test_g722_decodes_to_the_samples_of_ffmpeg(shared_data):
    raw = next((shared_data / "asterisk/g722-raw").glob("*.g722"))
    samples, _ = read(raw)
    # 64 kbit/s at 16 kHz: two samples per byte
    assert len(samples) == 2 * raw.stat().st_size
    with av.open(str(raw)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    np.testing.assert_array_equal(samples, np.concatenate(frames).astype(np.float32) / 32768)


def test_lossless_wav_is_read_exactly(tmp_path, speech):
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        soundfile.write(tmp_path / "a.wav", speech, RATE, subtype=subtype)
        np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], speech)


@pytest.mark.parametrize(
    "name, container, codec", [("a.m4a", "mp4", "aac"), ("a.opus", "ogg", "libopus"), ("a.webm", "webm", "libopus")]
)
def test_lossy_formats(tmp_path, speech, name, container, codec):
    rate = 48000 if codec == "libopus" else RATE
    path = encoded(tmp_path / name, np.repeat(speech, rate // RATE), container, codec, rate)
    samples, got = read(path)
    assert len(samples) / got == pytest.approx(len(speech) / RATE, abs=0.1)
    # the same signal at the same time: up to the delay of the encoder
    original, coded = speech[: 2 * RATE], samples[:: got // RATE][: 2 * RATE]
    similarity = np.fft.irfft(np.fft.rfft(coded, 4 * RATE) * np.fft.rfft(original, 4 * RATE).conj())
    lag = int(np.argmax(similarity))
    assert min(lag, 4 * RATE - lag) < 0.1 * RATE
    assert similarity[lag] > 0.8 * np.linalg.norm(original) * np.linalg.norm(coded)
    np.testing.assert_array_equal(read(path.rename(tmp_path / "without-ending"))[0], samples)


def test_a_segment_equals_a_slice_of_the_file(shared_data, tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech, RATE)
    files = [tmp_path / "a.wav"]
    for pattern in ("asterisk/g722-raw/*.g722", "commonvoice/en/clips/*.mp3", "LibriSpeech/dev-clean/*/*/*.flac"):
        files.append(sorted(shared_data.glob(pattern))[0])
    for path in files:
        whole, rate = read(path)
        for offset, length in [(0.0, 0.5), (0.3, 0.4), (PREROLL_S + 0.7, 0.5), (2.0, 1.0)]:
            got, _ = read(path, offset_s=offset, duration_s=length)
            start = round(offset * rate)
            np.testing.assert_allclose(got, whole[start : start + round(length * rate)], atol=1e-3)


def test_segments_outside_the_file(tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", speech[:RATE], RATE)
    assert reason(tmp_path / "a.wav", offset_s=2.0) == "bad-segment"
    assert reason(tmp_path / "a.wav", offset_s=0.5, duration_s=1.0) == "truncated-audio"
    assert len(read(tmp_path / "a.wav", offset_s=0.5)[0]) == RATE // 2


def test_channels(tmp_path, speech):
    soundfile.write(tmp_path / "a.wav", np.stack([speech, np.zeros_like(speech)], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav")[0], speech / 2, atol=1e-7)
    np.testing.assert_array_equal(read(tmp_path / "a.wav", channel=0)[0], speech)
    assert not read(tmp_path / "a.wav", channel=1)[0].any()
    assert reason(tmp_path / "a.wav", channel=2) == "no-such-channel"
    assert probe(tmp_path / "a.wav").channels == 2


def test_parse_channel():
    assert parse_channel("mix") is None
    assert parse_channel("1") == 1
    for wrong in ("", "left", "-1", "1.0", "²"):
        with pytest.raises(UsageError, match="--channel"):
            parse_channel(wrong)


def test_audio_can_be_read_from_bytes(flac, speech):
    np.testing.assert_array_equal(read(flac.read_bytes())[0], speech)
    assert reason(b"") == "empty-file"
    assert reason(b"hello") == "not-audio"


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path, speech, size):
    soundfile.write(tmp_path / "a.wav", speech, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", size)
    np.testing.assert_array_equal(read(bytes(data))[0], speech)
    for decode in (True, False):
        assert probe(bytes(data), decode=decode).duration_s == len(speech) / RATE


def test_each_kind_of_bad_file_has_its_reason(tmp_path, flac, speech, shared_data):
    data = flac.read_bytes()
    soundfile.write(tmp_path / "good.wav", speech, RATE)
    wav = (tmp_path / "good.wav").read_bytes()
    sph = sorted((shared_data / "an4").rglob("*.sph"))[0].read_bytes()
    with_nan = speech.copy()
    with_nan[100] = np.nan
    files = {
        "half.flac": data[: len(data) // 2],
        "almost.flac": data[:-200],
        "half.wav": wav[: len(wav) // 2],
        "half.sph": sph[: len(sph) // 2],
        "zero.wav": b"",
        "text.wav": b"this is a text, not a recording\n" * 20,
        "text.mp3": b"this is a text, not a recording\n" * 20,
        "head.flac": data[:100],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    soundfile.write(tmp_path / "nan.wav", with_nan, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "inf.wav", np.where(np.isnan(with_nan), np.inf, with_nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", speech[:0], RATE)
    expected = {
        "half.flac": "truncated-audio",
        "almost.flac": "truncated-audio",
        "half.wav": "truncated-audio",
        "half.sph": "truncated-audio",
        "zero.wav": "empty-file",
        "text.wav": "not-audio",
        "text.mp3": "unreadable-audio",
        "head.flac": "unreadable-audio",
        "nan.wav": "not-a-number",
        "inf.wav": "not-a-number",
        "none.wav": "no-samples",
        "vanished.wav": "missing-audio",
        "": "unreadable-audio",
    }
    assert {name: reason(tmp_path / name) for name in expected} == expected
    for name, expected_reason in expected.items():
        with pytest.raises(BadUtterance) as e:
            probe(tmp_path / name)
        assert e.value.reason == expected_reason
        if name not in ("half.flac", "almost.flac", "nan.wav", "inf.wav"):  # only decoding finds these
            with pytest.raises(BadUtterance) as e:
                probe(tmp_path / name, decode=False)
            assert e.value.reason == expected_reason


def test_the_content_decides_the_format_not_the_name(tmp_path, shared_data):
    for pattern in ("commonvoice/en/clips/*.mp3", "an4/wav/*/*/*.sph"):
        path = sorted(shared_data.glob(pattern))[0]
        for name in ("a.wav", "a"):
            (tmp_path / name).write_bytes(path.read_bytes())
            np.testing.assert_array_equal(read(tmp_path / name)[0], read(path)[0])


@pytest.mark.parametrize("codec, form", [("ac3", "ac3"), ("mp2", "mpegts"), ("tta", "tta"), ("aac", "latm")])
def test_ffmpeg_is_tried_last_on_what_neither_bytes_nor_name_tell(tmp_path, codec, form):
    path, rate = tmp_path / "recording.2024", 44100
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        size = stream.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.sin(np.arange(rate) / 9)[None].astype(np.float32), "flt", "mono")
        frame.sample_rate = rate
        for piece in [*resampler.resample(frame), None]:
            container.mux(stream.encode(piece))
    assert is_audio(path) and is_audio(path.read_bytes())
    for source in (path, path.read_bytes()):
        samples, found = read(source)
        assert found == rate and len(samples) == pytest.approx(rate, abs=2400) and np.abs(samples).max() > 0.5


@pytest.mark.parametrize("ending", [".raw", ".PCM", ".ul", ".alaw", ".vox"])
def test_samples_without_a_header_are_not_guessed(tmp_path, speech, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes((speech * 3e4).astype("<i2").tobytes())
    with pytest.raises(
        BadUtterance, match=rf"unreadable-audio: .*no header.*ffmpeg -f mulaw -ar 8000 -i {path} a\.wav"
    ):
        read(path)
    # but the content decides: a WAV file of that name has a header
    soundfile.write(tmp_path / "b.wav", speech, RATE)
    path.write_bytes((tmp_path / "b.wav").read_bytes())
    assert read(path)[1] == RATE


def test_a_file_name_that_is_not_utf8_is_an_error():
    with pytest.raises(BadUtterance, match="not-utf8"):
        read("caf\udce9.wav")
    with pytest.raises(BadUtterance, match=r"not-utf8: .*half a surrogate pair"):
        read("caf\ud8e9.wav")


def test_a_file_name_that_is_not_utf8_is_renamed_by_the_command_of_its_error(tmp_path):
    path = tmp_path / "b\udcfcro" / "it's.wav"
    path.parent.mkdir()
    path.write_bytes(b"x")
    with pytest.raises(BadUtterance) as e:
        read(str(path))
    subprocess.run(["bash", "-c", re.search(r"\((mv .*)\)$", e.value.detail)[1]], check=True)
    assert (tmp_path / "büro" / "it's.wav").exists()


@pytest.mark.parametrize("rate", [1, 800_000_000])
def test_an_impossible_sample_rate_is_an_error(tmp_path, rate):
    samples = np.zeros(100, np.int16).tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 236, b"WAVE", b"fmt ", 16, 1, 1, rate, rate, 2, 16, b"data", 200)
    (tmp_path / "a.wav").write_bytes(head + samples)
    with pytest.raises(BadUtterance, match=r"unreadable-audio.*sample rate of"):
        read(tmp_path / "a.wav")


def test_a_header_that_states_too_many_samples_is_an_error(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(16000, np.float32), 16000)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the top of FLAC's 36 bits for the number of samples
    path.write_bytes(data)
    with pytest.raises(BadUtterance, match=r"unreadable-audio|truncated-audio"):
        read(path)


def test_a_playlist_is_not_followed(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    (tmp_path / "list.m4a").write_text("ffconcat version 1.0\nfile a.wav\n")
    with pytest.raises(BadUtterance, match=r"not-audio: .* is a playlist"):
        read(tmp_path / "list.m4a")


@pytest.mark.parametrize("offset", [0.0, 0.5, PREROLL_S, PREROLL_S + 0.25, 3.0])
def test_a_segment_of_a_file_with_encoder_delay_is_at_its_place(tmp_path, speech, offset):
    path = encoded(tmp_path / "a.mp3", speech[: 5 * RATE], "mp3", "libmp3lame")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].start_time, "the encoder's delay: the first frame is not at 0"
    whole, rate = read(path)
    got, _ = read(path, offset_s=offset, duration_s=0.5)
    begin = round(offset * rate)
    np.testing.assert_allclose(got, whole[begin : begin + rate // 2], atol=1e-3)


@pytest.mark.parametrize(
    "kind, values, expected",
    [
        ("u8", np.array([0, 128, 255], np.uint8), [-1, 0, 127 / 128]),
        ("s16", np.array([-32768, 0, 32767], np.int16), [-1, 0, 32767 / 32768]),
        ("s32", np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        ("flt", np.array([-1, 0, 1.5], np.float32), [-1, 0, 1.5]),
    ],
)
def test_samples_of_every_format_are_between_minus_one_and_one(kind, values, expected):
    mono = av.AudioFrame.from_ndarray(values[None], format=kind, layout="mono")
    np.testing.assert_array_equal(decode_frame(mono)[:, 0], np.float32(expected))
    stereo = av.AudioFrame.from_ndarray(
        np.stack([values, values[::-1]], 1).reshape(1, -1), format=kind, layout="stereo"
    )
    np.testing.assert_array_equal(decode_frame(stereo), np.float32([expected, expected[::-1]]).T)


@pytest.mark.parametrize(("missing", "is_read"), [(64, True), (65, False)])
def test_the_size_in_a_wav_header_may_be_wrong_by_64_bytes(tmp_path, speech, missing, is_read):
    soundfile.write(tmp_path / "a.wav", speech, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = struct.pack("<I", len(data) - 8 + missing)
    if is_read:
        np.testing.assert_array_equal(read(bytes(data))[0], speech)
    else:
        assert reason(bytes(data)) == "truncated-audio"


@pytest.mark.parametrize(
    ("container", "endian"), [("AIFF", None), ("AU", None), ("RF64", None), ("WAV", "BIG"), ("OGG", None)]
)
def test_the_other_containers_of_libsndfile(tmp_path, speech, container, endian):
    soundfile.write(tmp_path / "a", speech, RATE, format=container, endian=endian)
    samples, rate = read(tmp_path / "a")
    assert (len(samples), rate) == (len(speech), RATE)
    assert np.corrcoef(samples, speech)[0, 1] > 0.95


def test_the_ending_may_be_in_capitals(tmp_path, shared_data):
    """G.722 has no signature: the ending alone decides."""
    path = sorted((shared_data / "asterisk/g722-raw").glob("*.g722"))[0]
    (tmp_path / "A.G722").write_bytes(path.read_bytes())
    np.testing.assert_array_equal(read(tmp_path / "A.G722")[0], read(path)[0])


@pytest.mark.parametrize(("rate", "is_valid"), [(999, False), (1000, True), (768_000, True), (768_001, False)])
def test_the_limits_of_the_sample_rate(tmp_path, rate, is_valid):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), rate)
    if is_valid:
        assert read(tmp_path / "a.wav")[1] == rate
    else:
        assert reason(tmp_path / "a.wav") == "unreadable-audio"


def test_a_segment_may_be_a_tenth_shorter_than_it_should_be(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert len(read(tmp_path / "a.wav", offset_s=0.1, duration_s=1.0)[0]) == 14400
    with pytest.raises(BadUtterance, match=r"truncated-audio: the segment of .* has 0.75 s, expected 1 s"):
        read(tmp_path / "a.wav", offset_s=0.25, duration_s=1.0)
    assert reason(tmp_path / "a.wav", offset_s=0.1 + 1 / RATE, duration_s=1.0) == "truncated-audio"


def test_samples_that_are_not_numbers_matter_only_in_the_channel_that_is_read(tmp_path, speech):
    broken = speech.copy()
    broken[[3, 50]] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([speech, broken], 1), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(path, channel=0)[0], speech)
    for call in (lambda: read(path), lambda: read(path, channel=1), lambda: probe(path)):
        with pytest.raises(BadUtterance, match=r"not-a-number: .* 2 samples are NaN or infinite"):
            call()


@pytest.mark.parametrize(
    "pattern",
    [
        "an4/wav/*/*/*.sph",
        "asterisk/g722-raw/*.g722",
        "commonvoice/en/clips/*.mp3",
        "LibriSpeech/dev-clean/*/*/*.flac",
    ],
)
def test_a_segment_without_a_duration_lasts_to_the_end(shared_data, pattern):
    path = max(shared_data.glob(pattern), key=lambda p: (p.stat().st_size, p))
    whole, rate = read(path)
    start = round(0.75 * len(whole))
    assert start > (PREROLL_S + 0.1) * rate
    np.testing.assert_allclose(read(path, offset_s=start / rate)[0], whole[start:], atol=1e-3)


def test_titles_that_are_not_utf8_do_not_matter(tmp_path):
    """Windows wrote the titles of songs in its own encoding; a WAV written to a pipe is read with FFmpeg."""
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    data = (tmp_path / "a.wav").read_bytes()
    title = b"LIST\x14\0\0\0INFOINAM\x08\0\0\0M\xfcller\0\0"
    (tmp_path / "a.wav").write_bytes(data[:4] + b"\xff\xff\xff\xff" + data[8:36] + title + data[36:])
    assert is_audio(tmp_path / "a.wav") and len(read(tmp_path / "a.wav")[0]) == RATE


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("container", ["CAF", "W64"])
@pytest.mark.parametrize("value", [0x7F800001, 0x7F800000])
def test_samples_that_are_not_numbers_are_found_without_a_warning(tmp_path, container, value):
    """A signalling NaN and infinity, in both channels."""
    soundfile.write(tmp_path / "a", np.full((800, 2), 0.5), RATE, format=container, subtype="FLOAT")
    data = (tmp_path / "a").read_bytes()
    form = ">" if container == "CAF" else "<"
    samples = struct.pack(form + "4I", value, value | 1 << 31, value, value)
    (tmp_path / "a").write_bytes(data[:-16] + samples)
    assert reason(tmp_path / "a") == "not-a-number"


def test_a_header_that_leads_before_the_first_byte_is_an_error_without_a_traceback(tmp_path, speech):
    """The damaged name of a chunk; pytest makes an exception in the callback of libsndfile a failure."""
    soundfile.write(tmp_path / "a.aiff", speech, RATE, format="AIFF")
    data = (tmp_path / "a.aiff").read_bytes()
    broken = data[:35] + b"\0\0\0\0" + data[39:]
    assert reason(broken) == "unreadable-audio"


@pytest.mark.parametrize("container", ["wav", "mp3"])
def test_a_segment_of_the_length_of_the_universe_is_an_error(tmp_path, speech, container):
    path = tmp_path / f"a.{container}"
    if container == "wav":
        soundfile.write(path, speech, RATE)
    else:
        encoded(path, speech, "mp3", "libmp3lame")
    for seconds in (1e11, 1e308):
        assert reason(path, offset_s=seconds) == "bad-segment"
        assert reason(path, offset_s=seconds, duration_s=seconds) == "bad-segment"
        assert reason(path, duration_s=seconds) == "truncated-audio"


def write_sphere(path, samples, rate, coding="pcm", **options):
    """A SPHERE file of int16 samples (N, C), as TED-LIUM has them."""
    fields = {"channel_count": samples.shape[1], "sample_count": len(samples), "sample_rate": rate}
    fields |= {"sample_n_bytes": 2, "sample_sig_bits": 16, **options}
    header = [f"{name} -i {value}" for name, value in fields.items()]
    head = "\n".join(
        ["NIST_1A", "   1024", *header, "sample_byte_format -s2 01", f"sample_coding -s3 {coding}", "end_head"]
    )
    path.write_bytes(f"{head}\n".encode().ljust(1024) + samples.astype("<i2").tobytes())


@pytest.mark.parametrize("rate, channels", [(8000, 2), (11025, 1), (16000, 1)])
def test_the_header_of_a_sphere_file_states_its_number_of_samples(tmp_path, speech, rate, channels):
    samples = np.tile((speech[:12345] * 32767).astype(np.int16)[:, None], channels)
    write_sphere(tmp_path / "a.sph", samples, rate)
    header = probe(tmp_path / "a.sph", decode=False)
    assert header == probe(tmp_path / "a.sph")
    assert (round(header.duration_s * rate), header.channels) == (12345, channels)


@pytest.mark.parametrize("ending", ["sph", "flac"])
def test_a_segment_of_a_length_has_as_many_samples_at_any_offset(tmp_path, speech, ending):
    samples = (speech[:16000] * 32767).astype(np.int16)
    write_sphere(tmp_path / "a.sph", samples[:, None], RATE)
    soundfile.write(tmp_path / "a.flac", samples, RATE)
    lengths = {
        len(read(tmp_path / f"a.{ending}", offset_s=i / 7 / RATE, duration_s=100.5 / RATE)[0]) for i in range(99)
    }
    assert lengths == {round(100.5)}
