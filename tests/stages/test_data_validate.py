"""The checks of whole manifests: order, repeats, several manifests, files, networks, pipes; all rows, all faults."""

import json

import numpy as np
import pytest
import soundfile

from ds2cli.checks.faults import Tally
from ds2cli.config.data import ValidateConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.stages.data_validate import Validation, open_source, parse_kinds

RATE = 8000


def noise(seed, seconds=1.0):
    return (0.1 * np.random.default_rng(seed).normal(size=int(RATE * seconds))).clip(-0.9, 0.9).astype(np.float32)


def validate(tmp_path, *paths, features=None, **settings):
    """The faults as (kind, path, line), and the notes."""
    lines = []
    tally = Tally(write=lambda line: lines.append(json.loads(line)))
    config = ValidateConfig(**{"needs": "id", "files": False, **settings})
    run = Validation(config, tally, lambda _: features or {})
    rows = sum(1 for _ in run.check([open_source(str(path), tmp_path, i) for i, path in enumerate(paths)]))
    assert rows == tally.rows
    return [(fault["kind"], fault["path"].rpartition("/")[2], fault["line"]) for fault in lines], run.notes


def kinds(tmp_path, rows, **settings):
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return [(kind, line) for kind, _, line in validate(tmp_path, path, **settings)[0]]


def test_every_fault_of_every_row_is_found(tmp_path):
    rows = [
        {"id": "b", "text": "Hello", "duration": -1},
        {"id": "a", "text": "x", "speaker": 3, "channel": "left"},
        {"id": "b", "text": "y"},
    ]
    assert kinds(tmp_path, rows, needs="id,audio_filepath") == [
        ("bad-duration", 1),
        ("missing-field", 1),
        ("text-form", 1),
        ("wrong-type", 2),
        ("wrong-type", 2),
        ("missing-field", 2),
        ("not-sorted", 2),
        ("missing-field", 3),
        ("duplicate-id", 3),
    ]


def test_each_row_out_of_order_is_compared_with_the_greatest_id(tmp_path):
    assert kinds(tmp_path, [{"id": name} for name in "bdacde"]) == [
        ("not-sorted", 3),
        ("not-sorted", 4),
        ("duplicate-id", 5),
    ]


def test_empty_lines_byte_order_marks_and_line_ends_are_no_faults(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id":"a"}\r\n\r\n{"id":"b","text":"\xc3\xa9t\xc3\xa9"}\r\n5\r\n')
    assert validate(tmp_path, path)[0] == [("not-json", "m.jsonl", 4)]


def test_a_manifest_is_checked_from_a_pipe_and_compressed(tmp_path, piped):
    import gzip

    lines = b'{"id":"b","text":"x"}\n{"id":"a","text":"x"}\n'
    expected = [("not-sorted", 2), ("duplicate-text", 2)]
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(lines))
    for path in (piped(lines), tmp_path / "m.jsonl.gz"):
        assert [(kind, line) for kind, _, line in validate(tmp_path, path)[0]] == expected


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, ["text-form"]),
        ({"normalized": False}, []),
        ({"files": True, "normalized": False}, ["missing-audio"]),
        ({"files": True, "normalized": False, "audio": "header"}, ["missing-audio"]),
        ({"files": True, "normalized": False, "audio": "exists"}, ["missing-audio"]),
        ({"needs": "id, duration", "normalized": False}, ["missing-field"]),
        ({"needs": "", "normalized": False}, []),
    ],
)
def test_the_settings_select_the_checks(tmp_path, settings, expected):
    row = {"id": "a", "text": "X!", "audio_filepath": "no.wav"}
    assert [kind for kind, _ in kinds(tmp_path, [row], **settings)] == expected


def test_the_language_of_texts_is_that_of_the_row_or_the_setting(tmp_path):
    rows = [{"id": "a", "text": "ığdır"}, {"id": "b", "text": "Iğdır", "lang": "tr"}]
    assert kinds(tmp_path, rows, lang="tr") == [("text-form", 2)]
    with pytest.raises(UsageError, match="--lang türkçe"):
        kinds(tmp_path, rows, lang="türkçe")


def test_relative_paths_start_at_the_manifest(tmp_path):
    (tmp_path / "wav").mkdir()
    soundfile.write(tmp_path / "wav/a.wav", noise(0), RATE)
    assert kinds(tmp_path, [{"id": "a", "audio_filepath": "wav/a.wav", "duration": 1.0}], files=True) == []


@pytest.mark.parametrize("nj", [1, pytest.param(2, marks=pytest.mark.long)])
def test_files_are_checked_in_order_by_any_number_of_processes(tmp_path, nj):
    rows = []
    for i in range(20):
        soundfile.write(tmp_path / f"{i}.wav", noise(i % 19), RATE)
        rows.append({"id": f"u{i:02}", "audio_filepath": f"{i}.wav", "duration": 99.0 if i % 7 == 3 else 1.0})
    rows[5] = {"id": "u05"}
    found = kinds(tmp_path, rows, files=True, nj=nj)
    assert found == [*(("wrong-duration", line) for line in (4, 11, 18)), ("duplicate-audio", 20)]


def test_a_stated_99_s_and_an_offset_of_500_s_are_found_by_the_header_alone(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0, 10.0), RATE)
    soundfile.write(tmp_path / "b.wav", noise(1, 10.0), RATE)
    rows = [
        {"id": "a", "audio_filepath": "a.wav", "duration": 99.0},
        {"id": "b", "audio_filepath": "b.wav", "duration": 5.0, "offset": 500.0},
    ]
    expected = [("wrong-duration", 1), ("bad-segment", 2)]
    assert kinds(tmp_path, rows, files=True, audio="header") == kinds(tmp_path, rows, files=True) == expected


def test_a_segment_that_is_not_in_its_recording_overlaps_no_other(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0), RATE)
    rows = [
        {"id": "a", "audio_filepath": "a.wav", "duration": 1.0},
        {"id": "b", "audio_filepath": "a.wav", "duration": 1.0, "offset": 500.0},
        {"id": "c", "audio_filepath": "a.wav", "duration": 0.5, "offset": 0.5},
    ]
    assert kinds(tmp_path, rows, files=True) == [("bad-segment", 2), ("overlapping-segments", 3)]


def test_manifests_that_share_something_are_compared_row_by_row(tmp_path):
    soundfile.write(tmp_path / "1.wav", noise(0), RATE)
    soundfile.write(tmp_path / "2.flac", noise(0), RATE)
    soundfile.write(tmp_path / "1.flac", noise(0), RATE)
    rows = {
        "train": [{"id": "a", "speaker": "s", "text": "x", "audio_filepath": "1.flac"}, {"id": "b", "text": "y"}],
        "dev": [{"id": "b", "text": "z"}, {"id": "c", "speaker": "s"}],
        "test": [{"id": "d", "text": "y"}, {"id": "e", "audio_filepath": "2.flac"}],
    }
    for name, of_manifest in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_manifest))
    paths = [tmp_path / f"{name}.jsonl" for name in rows]
    assert validate(tmp_path, *paths, files=True)[0] == [
        ("shared-id", "dev.jsonl", 1),
        ("shared-speaker", "dev.jsonl", 2),
        ("shared-text", "test.jsonl", 1),
        # the same samples under another name
        ("shared-audio", "test.jsonl", 2),
    ]
    assert validate(tmp_path, paths[0], paths[0])[0] == [
        *(("shared-id", "train.jsonl", 1), ("shared-text", "train.jsonl", 1), ("shared-speaker", "train.jsonl", 1)),
        *(("shared-audio", "train.jsonl", 1), ("shared-id", "train.jsonl", 2), ("shared-text", "train.jsonl", 2)),
    ]


def test_labels_are_compared_with_the_steps_of_a_training(tmp_path):
    (tmp_path / "t.toml").write_text("[model]\nstrides = [3, 1]\n[augment]\nspeeds = [1.0, 1.5]\n")
    row = {"id": "a", "text": "abcdefghij", "audio_filepath": "a.wav", "duration": 0.4}
    settings = {"train_config": str(tmp_path / "t.toml")}
    assert kinds(tmp_path, [row], **settings) == [("label-too-long-at-speed", 1)]
    assert kinds(tmp_path, [{**row, "duration": 0.25}], **settings, max_rate=99.0) == [("label-too-long", 1)]
    assert kinds(tmp_path, [{**row, "duration": 1.0}], **settings) == []
    assert kinds(tmp_path, [{**row, "duration": 0.5}], **settings, speeds="1.9") == [("label-too-long-at-speed", 1)]
    # with features of 20 ms frames there are half as many
    path, hops = tmp_path / "m.jsonl", {"hop_ms": 20.0}
    path.write_text(json.dumps({**row, "duration": 0.5}) + "\n")
    assert [kind for kind, *_ in validate(tmp_path, path, **settings, features=hops)[0]] == ["label-too-long"]
    path.write_text(json.dumps({**row, "duration": 1.0}) + "\n")
    _, notes = validate(tmp_path, path, **settings)
    assert notes == [f"{path}: the tightest row that fits is a: 10 of 33 steps needed, 23 to spare"]


def test_texts_are_spelled_with_the_symbols_of_a_network(tmp_path, shipped):
    rows = [{"id": "a", "text": "ab é"}, {"id": "b", "text": "abc"}]
    assert kinds(tmp_path, rows, exp=str(shipped / "exp")) == [("unspellable", 2)]
    assert kinds(tmp_path, rows, vocab=str(shipped / "exp" / "tokens.txt")) == [("unspellable", 2)]
    with pytest.raises(UsageError, match="--speeds only applies with"):
        kinds(tmp_path, rows, speeds="1.1")


def test_what_is_no_manifest_is_an_error(tmp_path):
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(DataError, match=r"none\.jsonl: no utterances"):
        validate(tmp_path, tmp_path / "none.jsonl")
    (tmp_path / "list.json").write_text('[{"id":"a"},\n{"id":"b"}]')
    with pytest.raises(DataError, match=r"list\.json:1: a list, .*ds2 data fix"):
        validate(tmp_path, tmp_path / "list.json")
    with pytest.raises(DataError, match=r"missing\.jsonl: no such file"):
        validate(tmp_path, tmp_path / "missing.jsonl")


def test_ignored_kinds_exist():
    assert parse_kinds(" clipping,silence ") == {"clipping", "silence"} and parse_kinds("") == frozenset()
    with pytest.raises(UsageError, match="--ignore cliping: no such kind of fault, did you mean 'clipping'"):
        parse_kinds("cliping")
