"""Miniatures of GigaSpeech and WenetSpeech: long Opus files made of utterances of ../shared/data/LibriSpeech."""

import gzip
import json

import numpy as np
import pytest
import soundfile

from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.corpora import load_corpus
from ds2cli.corpora.gigaspeech import write_punctuation
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare

AUDIO = "audio/podcast/P0001/POD0000000001.opus"
AID = "POD0000000001"


def write_opus(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", 16000, 1, format="OGG", subtype="OPUS") as f:
        # libsndfile's stack overflows on all samples at once
        for begin in range(0, len(samples), 16000):
            f.write(samples[begin : begin + 16000])


@pytest.fixture(scope="session")
def recording(long_recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("opus") / "a.opus"
    write_opus(path, long_recording[0])
    return path


@pytest.fixture
def giga(long_recording, recording, tmp_path):
    """A function that writes GigaSpeech.json with one recording, changed by `change`; the folder is returned."""

    def write(change=lambda audio: None, indent=None):
        folder = tmp_path / "GigaSpeech"
        (folder / AUDIO).parent.mkdir(parents=True, exist_ok=True)
        (folder / AUDIO).write_bytes(recording.read_bytes())
        texts = [p.text.replace(" AND ", " <COMMA> AND ") + " <PERIOD>" for p in long_recording[1]]
        segments = [
            {
                "sid": f"{AID}_S{i:07d}",
                "speaker": "N/A",
                "begin_time": round(p.begin, 2),
                "end_time": round(p.end, 2),
                "text_tn": text,
                "subsets": ["{XL}", "{L}"] if i else ["{XL}", "{L}", "{M}", "{S}", "{XS}"],
            }
            for i, (p, text) in enumerate(zip(long_recording[1], texts, strict=True))
        ]
        audio = {"title": "N/A", "url": "N/A", "path": AUDIO, "aid": AID, "source": "podcast", "format": "opus"}
        audio |= {
            "duration": len(long_recording[0]) / 16000,
            "speaker": "N/A",
            "subsets": ["{XL}"],
            "segments": segments,
        }
        change(audio)
        document = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0", "audios": [audio]}
        (folder / "GigaSpeech.json").write_text(json.dumps(document, indent=indent), "utf-8")
        return folder

    return write


def prepared(source, name="gigaspeech", **settings):
    ledger = Ledger()
    rows = list(prepare.run(name, str(source), load_corpus(name).Options(**settings), ledger))
    return rows, {row["id"]: row["reason"] for row in ledger.rows}, ledger


@pytest.mark.parametrize("check", ["decode", "header"])
@pytest.mark.parametrize("indent", [None, 4])
def test_the_published_layout(giga, long_recording, check, indent):
    folder = giga(indent=indent)
    rows, drops, _ = prepared(folder, check=check)
    samples, parts = long_recording
    assert not drops
    assert [row["id"] for row in rows] == [f"{AID}_S{i:07d}" for i in range(len(parts))]
    assert [row["text"] for row in rows] == [p.text.lower() for p in parts]
    assert {row["audio_filepath"] for row in rows} == {str(folder / AUDIO)}
    assert {(row["recording"], row["split"], row["lang"]) for row in rows} == {(AID, "train", "en")}
    assert not any("speaker" in row for row in rows)
    for row, p in zip(rows, parts, strict=True):
        heard = read_samples(parse_recording(row), 16000)
        assert len(heard) == round(row["duration"] * 16000)
        begin = round(row["offset"] * 16000)
        assert np.corrcoef(heard, samples[begin : begin + len(heard)])[0, 1] > 0.9, p.text


def test_parts_are_the_subsets_of_the_segments(giga):
    folder = giga()
    rows, drops, ledger = prepared(folder, part="XS")
    assert len(rows) == 1 and not drops and ledger.unselected == {"part": 5}
    assert len(prepared(folder, part="{XS},{L}")[0]) == 6
    with pytest.raises(UsageError, match="--part XXL: expected all, or some of XS, S, M, L, XL, DEV, TEST"):
        prepared(folder, part="XXL")


def test_segments_without_speech_are_left_out_by_rule(giga):
    def change(audio):
        for segment, text in zip(audio["segments"], ("<SIL>", "<MUSIC>", " <NOISE> ", "<OTHER>"), strict=False):
            segment |= {"text_tn": text, "subsets": ["{DEV}"]}

    rows, drops, ledger = prepared(giga(change))
    assert len(rows) == 2 and set(drops.values()) == {"not-speech"} and not ledger.bad
    assert ledger.dropped == 4


def test_punctuation_is_written_as_such():
    assert write_punctuation("WELL <COMMA> WHO <EXCLAMATIONPOINT> KNOWS <QUESTIONMARK>") == "WELL, WHO! KNOWS?"
    assert write_punctuation("SO <PERIOD> <HESITATION>") == "SO. <HESITATION>"


def test_speakers_are_kept_where_they_are_known(giga):
    rows, _, _ = prepared(giga(lambda audio: audio["segments"][0].update(speaker="NUANCE")))
    assert [row.get("speaker") for row in rows] == ["NUANCE"] + [None] * 5


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("sid", None, "no-id"),
        ("sid", "with space", "no-id"),
        ("begin_time", "0.5", "wrong-type"),
        ("end_time", float("nan"), "wrong-type"),
        ("end_time", 0.1, "bad-segment"),
        ("begin_time", -1, "bad-segment"),
        ("begin_time", True, "wrong-type"),
        ("end_time", 1e12, "bad-segment"),
        ("text_tn", None, "no-text"),
        ("text_tn", "", "no-text"),
        ("text_tn", "\ud800", "not-utf8"),
        ("sid", f"{AID}_S0000001", "duplicate-id"),
    ],
)
def test_a_bad_segment_is_dropped_by_reason(giga, field, value, reason):
    rows, drops, ledger = prepared(giga(lambda audio: audio["segments"][0].update({field: value})))
    assert len(rows) == 5 and list(drops.values()) == [reason] and ledger.bad == 1


def test_times_behind_the_end_of_the_recording(giga):
    def change(audio):
        audio["segments"][0] |= {"begin_time": 9000, "end_time": 9001}
        audio["segments"][1]["end_time"] = 9000

    for check in ("decode", "header"):
        rows, drops, _ = prepared(giga(change), check=check)
        assert len(rows) == 4 and list(drops.values()) == ["bad-segment", "truncated-audio"]


def test_recordings_that_are_none(giga):
    folder = giga(lambda audio: audio.update(path="audio/missing.opus"))
    assert set(prepared(folder)[1].values()) == {"missing-audio"}
    assert len(prepared(giga(lambda audio: audio.update(path=7)))[1]) == 6
    rows, drops, _ = prepared(giga(lambda audio: audio.update(segments="x")))
    assert not rows and drops == {f"{folder}/GigaSpeech.json:1": "wrong-type"}
    assert list(prepared(giga(lambda audio: audio["segments"].append(3)))[1].values()) == ["wrong-type"]
    assert prepared(giga(lambda audio: audio.update(segments=[]))) == ([], {}, Ledger())


def test_the_list_may_lie_elsewhere_and_be_compressed(giga, tmp_path):
    folder = giga()
    text = (folder / "GigaSpeech.json").read_bytes()
    (folder / "GigaSpeech.json").unlink()
    with pytest.raises(DataError, match=r"expected the folder GigaSpeech with GigaSpeech.json$"):
        prepared(folder)
    (tmp_path / "own.json").write_bytes(text)
    assert len(prepared(tmp_path / "own.json", audio_dir=str(folder))[0]) == 6
    with pytest.raises(DataError, match=r"GigaSpeech.json \(SRC may be the file itself, such as .*own.json\)"):
        prepared(tmp_path)
    (folder / "GigaSpeech.json").write_bytes(text)
    with pytest.raises(DataError, match=rf"expected the folder GigaSpeech with GigaSpeech.json \(pass {folder}\)"):
        prepared(folder / "audio")
    (folder / "GigaSpeech.json").unlink()
    (folder / "GigaSpeech.json.gz").write_bytes(gzip.compress(text))
    assert len(prepared(folder)[0]) == 6
    with pytest.raises(DataError, match="none"):
        prepared(tmp_path / "none")


@pytest.fixture
def wenet(recording, tmp_path):
    folder, path = tmp_path / "WenetSpeech", "audio/train/youtube/B00000/Y0000000000_--5llN02F84.opus"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(recording.read_bytes())
    sid = "Y0000000000_--5llN02F84_S0000"
    segments = [
        {
            "begin_time": 0.5,
            "end_time": 3.38,
            "text": "怎么样这些日子住得还习惯吧",
            "confidence": 1.0,
            "subsets": ["L", "S"],
        },
        {"begin_time": 4.0, "end_time": 5.2, "text": "挺好的", "confidence": 0.97, "subsets": ["L"]},
        {"begin_time": 6.0, "end_time": 7.0, "text": " 用 app 的人", "confidence": 0.7, "subsets": ["W"]},
        {"begin_time": 7.0, "end_time": 8.0, "text": "会议", "confidence": 1.0, "subsets": ["TEST_MEETING"]},
    ]
    segments = [{"sid": f"{sid}{i}", **segment} for i, segment in enumerate(segments)]
    audio = {"aid": "Y0000000000_--5llN02F84", "duration": 24.9, "path": path, "source": "youtube", "tags": ["drama"]}
    document = {"audios": [{**audio, "segments": segments}]}
    (folder / "WenetSpeech.json").write_text(json.dumps(document, ensure_ascii=False, indent=4), "utf-8")
    return folder


def test_wenetspeech(wenet):
    rows, drops, _ = prepared(wenet, "wenetspeech")
    assert not drops
    texts = [row["text"].replace(" ", "") for row in rows]
    assert texts == ["怎么样这些日子住得还习惯吧", "挺好的", "用app的人", "会议"]
    assert [row["split"] for row in rows] == ["train"] * 3 + ["test_meeting"]
    assert {row["lang"] for row in rows} == {"zh"}
    rows, _, ledger = prepared(wenet, "wenetspeech", part="L,W", min_confidence=0.95)
    assert len(rows) == 2 and ledger.unselected == {"part": 1, "confidence": 1}
    assert len(prepared(wenet, "wenetspeech", part="test_meeting")[0]) == 1
