import itertools

import numpy as np
import pytest
import soundfile

from ds2cli import archive
from ds2cli.archive import read_matrix
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, Ds2Error, UsageError
from ds2cli.feats import cmvn
from ds2cli.feats.spectrogram import compute as log_power
from ds2cli.journal import open_journal
from ds2cli.stages.featurize import parse_speeds, run
from ds2cli.stages.featurize_blocks import BLOCKS_PER_SIZE, FIRST_BLOCK, LARGEST_BLOCK, Tally, block_sizes


@pytest.fixture
def rows(shared_data):
    files = sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    return [
        {"id": p.stem, "audio_filepath": str(p), "duration": soundfile.info(p).duration, "text": "x", "mine": [1]}
        for p in files
    ]


def features(tmp_path, rows, name="train", **settings):
    ledger, tally = Ledger(), Tally()
    settings = {"max_bad": 100.0, **settings}
    done = list(run(FeaturizeConfig(**settings), rows, ledger, str(tmp_path / name), tally))
    return done, {r["id"]: r["reason"] for r in ledger.rows}, tally


@pytest.mark.long
@pytest.mark.parametrize("nj", [1, 2])
def test_rows_refer_to_the_features_of_their_recording(tmp_path, rows, nj):
    done, drops, tally = features(tmp_path, rows, nj=nj)
    assert not drops
    assert [r["id"] for r in done] == [r["id"] for r in rows]
    expected_frames = []
    for before, after in zip(rows, done, strict=True):
        matrix = read_matrix(after["feats"], after["id"])
        np.testing.assert_array_equal(matrix, log_power(read(before["audio_filepath"])[0]))
        assert after["num_frames"] == len(matrix)
        assert after == {**before, "feats": after["feats"], "num_frames": len(matrix)}
        expected_frames.append(matrix)
    archives = [f"train.{n + 1}.ark" for n in range(-(-len(rows) // FIRST_BLOCK))]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*archives, "train.cmvn.ark"]
    mean, std = cmvn.mean_std(tally.stats)
    np.testing.assert_allclose(mean, np.concatenate(expected_frames).mean(0), rtol=1e-4)
    np.testing.assert_allclose(std, np.concatenate(expected_frames).std(0), rtol=1e-3)
    stored = read_matrix(f"{tmp_path / 'train.cmvn.ark'}:7", "global")
    np.testing.assert_allclose(stored, tally.stats, rtol=1e-6)
    assert tally.seconds == pytest.approx(sum(r["duration"] for r in rows))


@pytest.mark.parametrize("nj", [1, 2])
def test_a_recording_is_no_pipe_which_could_be_read_only_once(tmp_path, rows, nj, piped):
    """Copies at other speeds read it again, in any of the processes."""
    path = piped(b"", "a.wav")
    given = [rows[0], {**rows[1], "audio_filepath": path}, {**rows[2], "audio_filepath": "/dev/zero"}]
    done, drops, _ = features(tmp_path, given, nj=nj, speeds="0.9 1.0")
    assert [row["audio_filepath"] for row in done] == 2 * [rows[0]["audio_filepath"]]
    assert set(drops.values()) == {"unreadable-audio"} and len(drops) == 4


def test_compressed_is_close(tmp_path, rows):
    plain, _, _ = features(tmp_path, rows, "a")
    small, _, _ = features(tmp_path, rows, "b", compress=True)
    for a, b in zip(plain, small, strict=True):
        # 192 steps between a bin's extremes
        assert np.abs(read_matrix(a["feats"]) - read_matrix(b["feats"])).max() < 0.25
    assert (tmp_path / "b.1.ark").stat().st_size < 0.26 * (tmp_path / "a.1.ark").stat().st_size


@pytest.mark.long
@pytest.mark.parametrize("nj", [1, 2])
def test_copies_at_other_speeds_are_sorted_and_shorter(tmp_path, rows, nj):
    mixed = [{**rows[0], "id": "a"}, {**rows[1], "id": "sp0.95"}, {**rows[2], "id": "z"}]
    done, drops, tally = features(tmp_path, mixed, nj=nj, speeds="1.1 0.9, 1.0")
    ids = [r["id"] for r in done]
    assert not drops
    assert ids == sorted(ids)
    assert len(ids) == 9
    assert set(ids) == {f"{p}{i}" for p in ("", "sp0.9-", "sp1.1-") for i in ("a", "sp0.95", "z")}
    by = {r["id"]: r for r in done}
    for factor in (0.9, 1.1):
        copy = by[f"sp{factor}-a"]
        assert copy["speed"] == factor
        assert copy["duration"] == pytest.approx(rows[0]["duration"] / factor, abs=1e-5)
        assert copy["num_frames"] == pytest.approx(by["a"]["num_frames"] / factor, abs=2)
        assert len(read_matrix(copy["feats"], copy["id"])) == copy["num_frames"]
    assert "speed" not in by["a"]
    assert tally.utterances == 9


def test_a_speed_copy_of_a_speed_copy_has_the_original_duration(tmp_path, rows):
    first, _, _ = features(tmp_path, [{**rows[0], "offset": 1.0, "duration": 2.0}], "a", speeds="0.8")
    second, drops, _ = features(tmp_path, first, "b", speeds="1.25")
    assert not drops
    assert second[0]["duration"] == pytest.approx(2.0)
    assert second[0]["num_frames"] == 199
    assert "speed" not in second[0]


def test_a_copy_with_the_id_of_another_row_is_dropped(tmp_path, rows):
    clash = [{**rows[0], "id": "a"}, {**rows[1], "id": "sp0.9-a"}]
    done, drops, _ = features(tmp_path, clash, speeds="0.9 1.0")
    assert [r["id"] for r in done] == ["a", "sp0.9-a", "sp0.9-sp0.9-a"]
    assert drops == {"sp0.9-a": "duplicate-id"}


def test_other_sample_rates_are_resampled_or_dropped(tmp_path, rows, shared_data):
    path = sorted((shared_data / "fsdd/recordings").glob("*.wav"))[0]
    low = {"id": "a", "audio_filepath": str(path)}
    done, _, tally = features(tmp_path, [low, *rows[:1]])
    assert tally.resampled == 1
    samples, rate = read(path)
    np.testing.assert_array_equal(read_matrix(done[0]["feats"]), log_power(resample(samples, rate, 16000)))
    assert done[0]["duration"] == pytest.approx(len(samples) / rate, abs=1e-6)
    done, drops, _ = features(tmp_path, [low, *rows[:1]], resample="no")
    assert drops == {"a": "wrong-sample-rate"}
    assert len(done) == 1
    done, drops, tally = features(tmp_path, [low], sample_rate=8000)
    assert read_matrix(done[0]["feats"]).shape[1] == 81
    assert tally.resampled == 0


def test_segments_and_channels(tmp_path, rows):
    samples, rate = read(rows[0]["audio_filepath"])
    soundfile.write(tmp_path / "two.wav", np.stack([samples, 0 * samples], 1), rate, subtype="FLOAT")
    row = {"id": "a", "audio_filepath": str(tmp_path / "two.wav"), "offset": 1.0, "duration": 2.0}
    done, _, _ = features(tmp_path, [row], channel="0")
    np.testing.assert_allclose(read_matrix(done[0]["feats"]), log_power(samples[16000:48000]), atol=1e-4)
    assert features(tmp_path, [row], channel="2")[1] == {"a": "no-such-channel"}
    assert features(tmp_path, [{**row, "offset": 100.0}])[1] == {"a": "bad-segment"}


def test_filtered_durations_are_not_bad(tmp_path, rows):
    ledger = Ledger()
    config = FeaturizeConfig(min_duration=8, max_duration=11, speeds="0.9 1.0")
    done = list(run(config, rows, ledger, str(tmp_path / "x")))
    assert len(done) + ledger.dropped == 2 * len(rows)
    assert all(8 <= r["duration"] <= 11 for r in done)
    assert set(ledger.reasons) == {"shorter-than-min-duration", "longer-than-max-duration"}
    assert ledger.bad == 0


def test_a_file_shorter_than_its_row_states_is_dropped(tmp_path, rows):
    done, drops, _ = features(tmp_path, [{**rows[0], "duration": 2 * rows[0]["duration"]}, rows[1]])
    assert drops == {rows[0]["id"]: "truncated-audio"}
    assert len(done) == 1


@pytest.mark.long
def test_a_stopped_run_leaves_no_files_and_a_second_run_replaces_the_first(tmp_path, rows):
    for nj in (1, 2):
        running = run(FeaturizeConfig(nj=nj), rows, Ledger(), str(tmp_path / "x"))
        next(running)
        running.close()
        assert list(tmp_path.iterdir()) == []
    first, _, _ = features(tmp_path, rows[:2])
    features(tmp_path, rows[2:])
    with pytest.raises(BadUtterance, match="stale-archive"):
        read_matrix(first[0]["feats"], first[0]["id"])


def test_an_empty_manifest(tmp_path):
    done, drops, _ = features(tmp_path, [])
    assert not done
    assert not drops


@pytest.mark.parametrize("wrong", ["", "fast", "0.1", "0.49", "1.0 nan", "2.01", "3"])
def test_wrong_speeds(wrong):
    with pytest.raises(UsageError, match="--speeds"):
        parse_speeds(FeaturizeConfig(speeds=wrong))


def test_wrong_channel(tmp_path):
    with pytest.raises(UsageError, match="--channel 'left': expected mix or a channel number"):
        features(tmp_path, [], channel="left")


@pytest.mark.long
@pytest.mark.parametrize("nj", [1, 2])
def test_a_refused_run_keeps_the_archives_of_the_previous_run(tmp_path, nj):
    speech = np.random.default_rng(0).normal(scale=0.1, size=16000)
    rows = []
    for name in "abcdefghij":
        soundfile.write(tmp_path / f"{name}.wav", speech, 16000)
        rows.append({"id": name, "audio_filepath": str(tmp_path / f"{name}.wav"), "text": "x"})
    done, _, _ = features(tmp_path, rows, nj=nj)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.ark")}
    assert [path.name for path in sorted(before)] == ["train.1.ark", "train.cmvn.ark"]
    (tmp_path / "a.wav").unlink()
    with pytest.raises(Ds2Error, match=r"refused: 1 of 10 utterances are bad \(10.0 %"):
        features(tmp_path, rows, nj=nj, max_bad=1.0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.ark")} == before
    for row in done:
        assert len(read_matrix(row["feats"], row["id"])) == row["num_frames"]
    assert len(features(tmp_path, rows, nj=nj, max_bad=34.0)[0]) == 9


def test_the_seconds_of_copies_are_those_at_their_speed(tmp_path, rows):
    *_, tally = features(tmp_path, rows[:1], speeds="0.8 1.0 1.25")
    assert tally.utterances == 3
    assert tally.seconds == pytest.approx(rows[0]["duration"] * (1 / 0.8 + 1 + 1 / 1.25))


def test_durations_exactly_at_the_limits_are_kept(tmp_path, rows):
    seconds = rows[0]["duration"]
    for limits, kept in (
        ({"min_duration": seconds, "max_duration": seconds}, True),
        ({"min_duration": seconds + 1e-6}, False),
        ({"max_duration": seconds - 1e-6}, False),
    ):
        done, drops, _ = features(tmp_path, rows[:1], **limits)
        assert (len(done), len(drops)) == ((1, 0) if kept else (0, 1)), limits


def test_speeds_are_sorted_and_used_once():
    assert parse_speeds(FeaturizeConfig(speeds="2, 0.5 1.0,1")) == [0.5, 1.0, 2.0]


def test_a_segment_without_a_duration_lasts_to_the_end(tmp_path, rows):
    samples, _ = read(rows[0]["audio_filepath"])
    row = {"id": "a", "audio_filepath": rows[0]["audio_filepath"], "offset": 1.0}
    done, _, _ = features(tmp_path, [row])
    np.testing.assert_array_equal(read_matrix(done[0]["feats"]), log_power(samples[16000:]))
    assert done[0]["duration"] == pytest.approx(len(samples) / 16000 - 1, abs=1e-6)


@pytest.mark.parametrize("size", [14400, 14399])
def test_a_file_may_be_a_tenth_shorter_than_its_row_states(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", np.ones(size), 16000)
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "duration": 0.5, "speed": 2.0}
    ledger = Ledger()
    done = list(run(FeaturizeConfig(max_bad=100.0), [row], ledger, str(tmp_path / "x")))
    if size == 14400:
        assert (len(done), ledger.rows) == (1, [])
    else:
        assert (len(done), ledger.reasons["truncated-audio"]) == (0, 1)
        assert ledger.rows[0]["detail"] == f"{tmp_path / 'a.wav'} has 0.90 s, the row states 1.00 s"


def test_dropped_rows_name_the_limit_that_they_exceed(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(8000), 8000)
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "duration": 1.0}
    settings = {"speeds": "0.5 1.0 2.0", "min_duration": 0.75, "max_duration": 1.5, "resample": "no"}
    ledger = Ledger()
    assert not list(run(FeaturizeConfig(max_bad=100.0, **settings), [row], ledger, str(tmp_path / "x")))
    assert {r["id"]: r["detail"] for r in ledger.rows} == {
        "a": "8000 Hz, expected 16000 (--resample yes)",
        "sp0.5-a": "2.00 s, longer than --max-duration 1.5",
        "sp2-a": "0.50 s, shorter than --min-duration 0.75",
    }


@pytest.mark.long
def test_recordings_without_the_upper_part_of_their_band_are_counted(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    for name, samples, rate in (("a", noise, 16000), ("b", noise[:8000], 8000), ("c", noise[8000:], 8000)):
        soundfile.write(tmp_path / f"{name}.wav", samples, rate)
    rows = [{"id": name, "audio_filepath": str(tmp_path / f"{name}.wav")} for name in "abc"]
    _, _, tally = features(tmp_path, rows, nj=2)
    assert tally.narrow == {4: 2} and tally.narrow_example in ("b", "c") and tally.utterances == 3
    _, _, tally = features(tmp_path, rows, sample_rate=8000)
    assert not tally.narrow, "features of 8 kHz have no upper band"


@pytest.mark.long
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("where", ["read", "compute", "write"])
def test_a_recording_that_memory_does_not_hold_is_dropped(tmp_path, rows, monkeypatch, where, compress):
    """Archives and statistics are those of a run without it."""
    others = [rows[0], *rows[2:]]
    expected, _, expected_tally = features(tmp_path, others, "without", compress=compress)
    length = soundfile.info(rows[1]["audio_filepath"]).frames
    encode = archive._encode

    def read_or_fail(path, **segment):
        if where == "read" and path == rows[1]["audio_filepath"]:
            raise BadUtterance("unreadable-audio", "more than fit in memory") from MemoryError()
        return read(path, **segment)

    def compute(samples, config):
        if where == "compute" and len(samples) == length:
            np.empty(1 << 56)
        return log_power(samples)

    def encode_or_fail(matrix, compress):
        if where == "write" and len(matrix) == len(log_power(np.zeros(length, np.float32))):
            raise MemoryError
        return encode(matrix, compress)

    monkeypatch.setattr("ds2cli.stages.featurize.read", read_or_fail)
    monkeypatch.setattr("ds2cli.feats.kinds.compute", compute)
    monkeypatch.setattr(archive, "_encode", encode_or_fail)
    done, drops, tally = features(tmp_path, rows, "with", compress=compress)
    assert drops == {rows[1]["id"]: "out-of-memory"}
    assert [row["id"] for row in done] == [row["id"] for row in expected]
    for name in ("1.ark", "cmvn.ark"):
        assert (tmp_path / f"with.{name}").read_bytes() == (tmp_path / f"without.{name}").read_bytes()
    assert (tally.utterances, tally.seconds) == (expected_tally.utterances, expected_tally.seconds)


def short_recordings(tmp_path, count):
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(scale=0.1, size=1600 + 160 * (i % 7)), 16000)
        rows.append({"id": f"u{i:03}", "audio_filepath": str(tmp_path / f"{i}.wav")})
    return rows


def written(tmp_path, name):
    return {path.name.removeprefix(name): path.read_bytes() for path in tmp_path.glob(f"{name}.*")}


@pytest.mark.long
def test_nothing_depends_on_the_number_of_processes(tmp_path):
    rows = short_recordings(tmp_path, 100)
    (tmp_path / "40.wav").write_bytes(b"RIFF")
    found = {}
    for nj in (1, 2, 3):
        done, drops, tally = features(tmp_path, rows, f"n{nj}", nj=nj)
        places = [row["feats"].replace(f"n{nj}.", "") for row in done]
        stats = tally.stats.tobytes()
        found[nj] = places, drops, stats, vars(tally) | {"stats": None}, written(tmp_path, f"n{nj}")
    assert found[1] == found[2] == found[3]
    assert list(found[1][1]) == ["u040"] and sorted(found[1][4]) == [*(f".{n}.ark" for n in range(1, 8)), ".cmvn.ark"]


def test_blocks_grow_with_their_position():
    sizes = list(itertools.islice(block_sizes(), 60))
    assert sizes[0] == FIRST_BLOCK and sizes[-1] == LARGEST_BLOCK
    assert [sizes.count(size) for size in (16, 32, 64, 128, 256, 512)] == [BLOCKS_PER_SIZE] * 6
    assert sizes == sorted(sizes)


def test_a_shorter_run_removes_the_further_archives_of_an_earlier_one(tmp_path):
    rows = short_recordings(tmp_path, 40)
    others = [tmp_path / name for name in ("train.1.4.ark", "train.x.ark", "train.2.arks", "more.9.ark")]
    for path in others:
        path.touch()
    features(tmp_path, rows)
    assert sorted(p.name for p in tmp_path.glob("train.?.ark") if p.stat().st_size) == [
        f"train.{n}.ark" for n in (1, 2, 3)
    ]
    features(tmp_path, rows[:20])
    assert sorted(p.name for p in tmp_path.glob("train.?.ark") if p.stat().st_size) == ["train.1.ark", "train.2.ark"]
    assert all(path.exists() for path in others)


class KillError(BaseException):
    """Ends a run in the middle."""


def interrupted_run(tmp_path, rows, after, name="train", **settings):
    """Run with a journal until `after` rows have come; None for a run to the end."""
    ledger, resumed = Ledger(), []
    stem = str(tmp_path / name)
    try:
        with open_journal(stem, "featurize", settings, resumed.append) as journal:
            config = FeaturizeConfig(max_bad=100.0, **settings)
            done = []
            for row in run(config, iter(rows), ledger, stem, Tally(), journal):
                done.append(row)
                if len(done) == after:
                    raise KillError
    except KillError:
        return None
    return done, ledger.rows, resumed


def test_a_run_continues_after_the_blocks_that_an_interrupted_one_has_finished(tmp_path):
    rows = short_recordings(tmp_path, 100)
    (tmp_path / "3.wav").write_bytes(b"RIFF")
    done, drops, _ = features(tmp_path, rows)
    expected = written(tmp_path, "train")
    assert interrupted_run(tmp_path, rows, 40, "again") is None
    assert not written(tmp_path, "again")
    assert interrupted_run(tmp_path, rows, 70, "again") is None
    again, dropped, resumed = interrupted_run(tmp_path, rows, None, "again")
    assert resumed == [64]
    assert [row["feats"].replace("again.", "train.") for row in again] == [row["feats"] for row in done]
    assert {drop["id"]: drop["reason"] for drop in dropped} == drops == {"u003": "unreadable-audio"}
    assert written(tmp_path, "again") == expected
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("nothing", 64),
        ("row", 16),
        ("recording", 32),
        ("setting", 0),
        ("archive", 48),
        ("journal", 32),
        ("shorter", 20),
    ],
)
def test_what_has_changed_since_is_computed_again(tmp_path, change, kept):
    rows, settings = short_recordings(tmp_path, 100), {}
    assert interrupted_run(tmp_path, rows, 70) is None
    folder = tmp_path / ".train.featurize.unfinished"
    match change:
        case "row":
            rows[20] = {**rows[20], "text": "changed"}
        case "recording":
            soundfile.write(rows[40]["audio_filepath"], np.ones(3200), 16000)
        case "setting":
            settings = {"level_db": -30.0}
        case "archive":
            (folder / "4.part").write_bytes((folder / "4.part").read_bytes()[:-1])
        case "journal":
            lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
            (folder / "journal.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:-9])
        case "shorter":
            rows = rows[:20]
    done, _, resumed = interrupted_run(tmp_path, rows, None, **settings)
    # the last block of a shorter input has other rows
    assert resumed == ([kept // 16 * 16] if kept else [])
    features(tmp_path, rows, "fresh", **settings)
    assert written(tmp_path, "train") == written(tmp_path, "fresh") and len(done) == len(rows)


def test_a_run_beside_another_one_keeps_nothing_and_ends_well(tmp_path):
    rows = short_recordings(tmp_path, 20)
    with open_journal(str(tmp_path / "train"), "featurize", {}):
        done, _, resumed = interrupted_run(tmp_path, rows, None)
        assert len(done) == 20 and resumed == []
    assert sorted(p.name for p in tmp_path.glob("*.ark")) == ["train.1.ark", "train.2.ark", "train.cmvn.ark"]
