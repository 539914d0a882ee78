"""Kaldi's data folder: its rules, and lhotse's import."""

import itertools
import re

import numpy as np
import pytest
import soundfile

from ds2cli.captions.kaldi import MARGIN, format_folder, make_utterances, read_command
from ds2cli.captions.phrases import MAX_PHRASE


def words_of(*times, text="w"):
    return [{"word": f"{text}{i}", "start": start, "end": end} for i, (start, end) in enumerate(times)]


def steady(seconds):
    return words_of(*((i / 2, i / 2 + 0.4) for i in range(2 * seconds)))


def test_a_short_row_is_one_utterance():
    row = {"id": "u1", "duration": 3.0, "speaker": "u"}
    (utterance,) = make_utterances(row, words_of((0.5, 1), (1, 2)), "u1", 0.0)
    assert (utterance.id, utterance.speaker, utterance.start, utterance.end) == ("u1", "u", 0.0, 3.0)
    assert utterance.text == "w0 w1"
    # without its duration, the last word ends it
    assert make_utterances({"id": "u1"}, words_of((0.5, 1)), "u1", 0.0)[0].end == 1
    assert make_utterances({"id": "u1"}, [], "u1", 0.0) == []
    (point,) = make_utterances({"id": "u1"}, words_of((0, 0)), "u1", 0.0)
    assert point.start < point.end


def test_a_row_with_an_offset_is_a_part_of_its_recording():
    row = {"id": "u1", "duration": 20.0, "offset": 60.0}
    (utterance,) = make_utterances(row, words_of((0.5, 1)), "talk", 60.0)
    assert (utterance.recording, utterance.start, utterance.end, utterance.speaker) == ("talk", 60.0, 80.0, "u1")


def test_a_long_row_is_divided_with_silence_around_the_parts():
    words = words_of((1.0, 2.0), (4.0, 5.0), (5.1, 6.0), (40.0, 41.0))
    parts = make_utterances({"id": "talk", "duration": 50.0}, words, "talk", 0.0)
    assert [(round(u.start, 3), round(u.end, 3), u.text) for u in parts] == [
        (1.0 - MARGIN, 2.0 + MARGIN, "w0"),
        (4.0 - MARGIN, 6.0 + MARGIN, "w1 w2"),
        (40.0 - MARGIN, 41.0 + MARGIN, "w3"),
    ]
    assert parts[0].id == "talk-00000500-00002500" and {u.speaker for u in parts} == {"talk"}
    # without a pause they meet between the words
    parts = make_utterances({"id": "talk"}, steady(60), "talk", 0.0)
    assert all(round(b.start - a.end, 6) >= 0 for a, b in itertools.pairwise(parts)) and len(parts) > 3
    assert all(u.start < u.end <= u.start + MAX_PHRASE + 2 * MARGIN for u in parts)
    times = words_of(*[(5.0, 5.0)] * 3000, (40.0, 40.1))
    parts = make_utterances({"id": "talk"}, times, "talk", 0.0)
    assert all(a.start < a.end <= b.start + 1e-9 for a, b in itertools.pairwise(parts))


def test_speakers_begin_the_ids():
    rows = [
        {"id": "b", "speaker": "ann lee"},
        {"id": "ann_lee-c", "speaker": "ann lee"},
        {"id": "a"},
    ]
    utterances = [u for row in rows for u in make_utterances(row, words_of((0, 1)), row["id"], 0.0)]
    files = format_folder(utterances, {"a": "x/a.wav", "b": "/y/b c.flac"})
    assert files["utt2spk"] == "a a\nann_lee-b ann_lee\nann_lee-c ann_lee\n"
    assert files["spk2utt"] == "a a\nann_lee ann_lee-b ann_lee-c\n"
    assert files["text"].splitlines()[0] == "a w0"
    first, second = files["wav.scp"].splitlines()
    assert re.fullmatch(r"a /.*/x/a\.wav", first)
    assert second == "b ffmpeg -nostdin -v error -i '/y/b c.flac' -ac 1 -f wav - |"


def test_ids_that_a_speaker_makes_equal():
    rows = [{"id": "a-b"}, {"id": "b", "speaker": "a"}]
    utterances = [u for row in rows for u in make_utterances(row, words_of((0, 1)), row["id"], 0.0)]
    assert format_folder(utterances, {})["utt2spk"] == "a-b a-b\na-b-2 a\n"


def test_a_file_that_is_read_through_a_shell_is_quoted():
    assert read_command("/a/it's;.mp3").startswith("ffmpeg -nostdin -v error -i '/a/it'\"'\"'s;.mp3' ")
    assert read_command("/a/x.WAV") == "/a/x.WAV"
    assert read_command("/a/x.wav", 1) == "ffmpeg -nostdin -v error -i /a/x.wav -af 'pan=mono|c0=c1' -f wav - |"


@pytest.mark.peer
def test_lhotse_imports_the_folder(tmp_path):
    kaldi = pytest.importorskip("lhotse.kaldi", reason="needs lhotse (pip install lhotse)")
    soundfile.write(tmp_path / "talk.wav", np.zeros(16000 * 40, np.float32), 16000, subtype="PCM_16")
    row = {"id": "talk", "duration": 40.0, "audio_filepath": str(tmp_path / "talk.wav")}
    utterances = make_utterances(row, steady(39), "talk", 0.0)
    for name, text in format_folder(utterances, {"talk": row["audio_filepath"]}).items():
        (tmp_path / name).write_text(text, "utf-8")
    recordings, supervisions, _ = kaldi.load_kaldi_data_dir(tmp_path, sampling_rate=16000)
    assert [(r.id, r.duration) for r in recordings] == [("talk", 40.0)]
    found = sorted(supervisions, key=lambda s: s.start)
    assert [(s.id, s.text, s.speaker) for s in found] == [(u.id, u.text, "talk") for u in utterances]
    for supervision, utterance in zip(found, utterances, strict=True):
        assert supervision.start == pytest.approx(utterance.start, abs=1e-3)
        assert supervision.end == pytest.approx(utterance.end, abs=2e-3)
        assert supervision.recording_id == "talk"
