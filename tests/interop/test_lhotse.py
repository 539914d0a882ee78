"""lhotse's manifests: cuts, supervisions and recordings that lhotse writes, and exports that it reads."""

import gzip
import json
import warnings

import numpy as np
import pytest
import soundfile

from ds2cli.errors import DataError, UsageError
from tests.interop.conftest import export_rows, import_rows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lhotse = pytest.importorskip("lhotse")
    qa = pytest.importorskip("lhotse.qa")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.peer]


@pytest.fixture
def sets(recordings, tmp_path):
    """Recordings and supervisions as lhotse makes them, written to the folder m."""
    mono, stereo = (lhotse.Recording.from_file(path) for path in recordings)
    make = lhotse.SupervisionSegment
    supervisions = [
        make("u1", "mono", 0.0, 4.0, text="whole", speaker="s", gender="F", language="English", custom={"snr": 3.5}),
        make("u2", "mono", 0.1, 0.7, text="part", language="en"),
        make("u3", "my stereo", 1.0, 1.5, channel=1, text="second channel"),
        make("u4", "my stereo", 0.0, 3.0, channel=[0, 1], text="both"),
        make("u5", "other", 0.0, 1.0, text="no recording"),
    ]
    sets = lhotse.RecordingSet.from_recordings([mono, stereo]), lhotse.SupervisionSet.from_segments(supervisions)
    (tmp_path / "m").mkdir()
    sets[0].to_file(tmp_path / "m/x_recordings_dev.jsonl.gz")
    sets[1].to_file(tmp_path / "m/x_supervisions_dev.jsonl.gz")
    return sets


EXPECTED = [
    {"id": "u1", "duration": 4.0, "text": "whole", "speaker": "s", "gender": "F", "language": "English", "snr": 3.5},
    {"id": "u2", "offset": 0.1, "duration": 0.7, "text": "part", "lang": "en"},
    {"id": "u3", "channel": 1, "offset": 1.0, "duration": 1.5, "text": "second channel"},
    {"id": "u4", "duration": 3.0, "text": "both"},
]


def without_paths(rows):
    return [{n: v for n, v in row.items() if n not in ("audio_filepath", "sample_rate")} for row in rows]


def test_recordings_and_supervisions(sets, tmp_path, recordings):
    rows, ledger = import_rows("lhotse", tmp_path / "m")
    assert without_paths(rows) == EXPECTED
    assert [row["audio_filepath"] for row in rows] == [recordings[0]] * 2 + [recordings[1]] * 2
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [("u5", "no-recording")]


def test_cuts(sets, tmp_path):
    recordings, supervisions = sets
    cuts = lhotse.CutSet.from_manifests(recordings=recordings, supervisions=supervisions.filter(lambda s: s.id != "u5"))
    cuts = cuts.trim_to_supervisions(keep_overlapping=False)
    mixed = next(iter(cuts)).pad(duration=9.0).with_id("padded")
    cuts = lhotse.CutSet.from_cuts([*cuts, mixed])
    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    rows, ledger = import_rows("lhotse", tmp_path / "cuts.jsonl.gz")
    assert without_paths(rows) == EXPECTED
    assert [row["reason"] for row in ledger.rows] == ["not-one-recording"]


def test_recordings_that_are_no_files_are_dropped(tmp_path, recordings):
    def cut(name, kind, source, **more):
        recording = {"id": name, "sources": [{"type": kind, "channels": [0], "source": source}],
                     "sampling_rate": 16000, "num_samples": 64000, "duration": 4.0, **more}  # fmt: skip
        return {"id": name, "start": 0, "duration": 4.0, "channel": 0, "supervisions": [], "recording": recording,
                "type": "MonoCut"}  # fmt: skip

    speed = {"transforms": [{"name": "Speed", "kwargs": {"factor": 0.9}}]}
    cuts = [
        cut("command", "command", f"touch {tmp_path}/ran; cat {recordings[0]}"),
        cut("file", "file", recordings[0]),
        cut("speed", "file", recordings[0], **speed),
        cut("url", "url", "https://x/y.wav"),
    ]
    path = tmp_path / "cuts.jsonl"
    path.write_text("".join(json.dumps(c) + "\n" for c in cuts))
    rows, ledger = import_rows("lhotse", path)
    assert [row["id"] for row in rows] == ["file"]
    assert {row["id"]: row["reason"] for row in ledger.rows} == {
        "command": "command", "speed": "transformed", "url": "no-file",
    }  # fmt: skip
    assert not (tmp_path / "ran").exists()
    rows, _ = import_rows("lhotse", path, allow_commands=True, audio_dir=str(tmp_path / "audio"))
    assert rows[0]["audio_filepath"] == str(tmp_path / "audio/command.wav")
    assert (tmp_path / "ran").exists()


def test_features_in_kaldi_archives(tmp_path, sets):
    cut = next(iter(lhotse.CutSet.from_manifests(recordings=sets[0])))
    with lhotse.features.io.KaldiWriter(tmp_path / "feats") as writer:
        features = cut.compute_features(extractor := lhotse.Fbank())
        key = writer.write(cut.id, features)
    ark = (tmp_path / "feats/feats.scp").read_text().split()[1]
    stored = lhotse.Features(
        type="fbank", num_frames=len(features), num_features=80, frame_shift=extractor.frame_shift,
        sampling_rate=16000, start=0, duration=4.0, storage_type="kaldiio", storage_path=ark, storage_key=key,
        channels=0,
    )  # fmt: skip
    lhotse.CutSet.from_cuts([lhotse.utils.fastcopy(cut, features=stored)]).to_file(tmp_path / "cuts.jsonl.gz")
    rows, _ = import_rows("lhotse", tmp_path / "cuts.jsonl.gz")
    assert (rows[0]["feats"], rows[0]["num_frames"]) == (ark, len(features))


def test_several_sets_in_a_folder_need_a_part(sets, tmp_path):
    for kind in ("recordings", "supervisions"):
        (tmp_path / f"m/x_{kind}_test.jsonl.gz").write_bytes((tmp_path / f"m/x_{kind}_dev.jsonl.gz").read_bytes())
    with pytest.raises(UsageError, match="--part"):
        import_rows("lhotse", tmp_path / "m")
    assert len(import_rows("lhotse", tmp_path / "m", part="dev")[0]) == 4
    with pytest.raises(DataError, match=r"no file \*recordings\*"):
        import_rows("lhotse", tmp_path / "m", part="train")


def test_bad_lines_cost_one_each(tmp_path, sets):
    path = tmp_path / "m/x_supervisions_dev.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = json.loads(lines[0])
    changes = ({"id": "late", "start": 9}, {"id": "minus", "duration": -1}, {"id": "ch", "channel": 7})
    lines += ["{oops", lines[1], *(json.dumps({**first, **change}) for change in changes)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    rows, ledger = import_rows("lhotse", tmp_path / "m")
    assert len(rows) == 4
    assert sorted(row["reason"] for row in ledger.rows) == [
        "bad-segment", "bad-segment", "duplicate-id", "no-recording", "no-such-channel", "not-json",
    ]  # fmt: skip


def test_lhotse_reads_validates_and_loads_an_export(tmp_path, hard_rows):
    export_rows("lhotse", hard_rows, tmp_path / "out")
    recordings, supervisions, cuts = (
        lhotse.load_manifest(tmp_path / f"out/{name}.jsonl.gz") for name in ("recordings", "supervisions", "cuts")
    )
    qa.validate(recordings, read_data=True)
    qa.validate_recordings_and_supervisions(recordings, supervisions)
    found = {cut.id: cut for cut in cuts}
    for row in hard_rows:
        cut = found[row["id"]]
        qa.validate(cut, read_data=True)
        samples, rate = soundfile.read(row["audio_filepath"], dtype="float32", always_2d=True)
        start = round(row.get("offset", 0) * rate)
        expected = samples[start : start + round(row["duration"] * rate)].T
        if "channel" in row:
            expected = expected[row["channel"] :][:1]
        loaded = cut.load_audio()
        assert abs(loaded.shape[1] - expected.shape[1]) <= 1
        length = min(loaded.shape[1], expected.shape[1])
        assert np.array_equal(loaded[:, :length], expected[:, :length])
        assert cut.supervisions[0].text == row.get("text")
    assert supervisions["c"].custom["score"] == -1e-7


def test_segments_beyond_their_recording_are_dropped(tmp_path, recordings):
    row = {"audio_filepath": recordings[0], "duration": 1.0}
    rows = [{"id": "a", **row}, {"id": "b", **row, "offset": 3.5}, {"id": "c", **row, "channel": 1},
            {"id": "d", **row, "audio_filepath": "gone.wav"}, {"id": "e"}]  # fmt: skip
    ledger = export_rows("lhotse", rows, tmp_path / "out")
    assert ledger.kept == 1
    assert [r["reason"] for r in ledger.rows] == [
        "bad-segment",
        "no-such-channel",
        "missing-audio",
        "no-audio-filepath",
    ]
