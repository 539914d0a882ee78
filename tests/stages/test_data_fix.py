"""Repairs: fields, texts, what rows state of their recordings; the rest is dropped with a reason."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.config.data import FixConfig
from ds2cli.drops import Ledger
from ds2cli.stages import data_fix, data_repair

RATE = 8000


@pytest.fixture
def clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.random.default_rng(0).normal(size=2 * RATE).clip(-1, 1) / 9, RATE)
    return "a.wav"


def fix(rows, **settings):
    """The repaired rows, the reasons of dropped ones by id, and the notes."""
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config, ledger = FixConfig(**settings), Ledger()
    repairs = data_fix.Repairs(measures=config.audio != "exists")
    read = data_repair.sort("in.jsonl", ledger, make_ids=True, repair=repairs.repair_fields)
    fixed = list(data_fix.fix(read, ledger, config, repairs))
    assert len(fixed) + ledger.dropped == len(rows)
    manifest.write("out.jsonl", fixed)
    return fixed, {row["id"]: row["reason"] for row in ledger.rows}, ledger.notes


def test_texts_are_normalized_and_unusable_rows_dropped(clip):
    rows = [
        {"id": "a", "text": "Hello!"},
        {"id": "b", "text": "5"},
        {"id": "c", "audio_filepath": "missing.wav"},
        {"id": "d", "text": "\ufeffthe\x07 cafe\u0301\r"},
        {"id": "e", "text": "?!"},
        {"id": "f", "text": "fine"},
    ]
    fixed, dropped, notes = fix(rows)
    assert {row["id"]: row["text"] for row in fixed} == {"a": "hello", "d": "the café", "f": "fine"}
    assert dropped == {"b": "digits", "c": "missing-audio", "e": "no-text"}
    assert notes == ["1 row: control characters removed from the text", "1 row: text normalized"]


def test_the_language_and_the_options_of_texts_count(clip):
    rows = [{"id": "a", "text": "Iğdır", "lang": "az"}, {"id": "b", "text": "Iğdır"}]
    assert [row["text"] for row in fix(rows)[0]] == ["ığdır", "iğdır"]
    settings = {"lang": "tr", "numbers": "spell", "remove_tags": "x"}
    assert fix([{"id": "b", "text": "5 [X] Iğdır"}], **settings)[0][0]["text"] == "beş ığdır"


@pytest.mark.parametrize(
    "row, expected",
    [
        ({"id": "my file\t1"}, {"id": "my_file_1"}),
        ({"id": 17}, {"id": "17"}),
        ({"id": "a", "offset": -1, "duration": "1.5"}, {"id": "a", "offset": 0.0, "duration": 1.5}),
        ({"id": "a", "channel": "1", "speaker": 7}, {"id": "a", "channel": 1, "speaker": "7"}),
        ({"id": "a", "lang": None}, {"id": "a"}),
        ({"id": "", "audio_filepath": "a.wav"}, {"id": "a", "audio_filepath": "a.wav"}),
    ],
)
def test_malformed_fields_are_repaired(clip, row, expected):
    fixed, dropped, notes = fix([row])
    assert (fixed, dropped) == ([expected], {})
    assert bool(notes) == (None not in row.values())


def test_fields_that_cannot_be_repaired_drop_their_row(clip):
    rows = [
        {"id": "a", "duration": "long"},
        {"id": "b", "duration": -1},
        {"id": "c", "words": "no"},
        {"id": "d", "duration": 0},
    ]
    fixed, dropped, _ = fix(rows)
    assert fixed == []
    assert dropped == {
        "in.jsonl:1": "wrong-type",
        "in.jsonl:2": "wrong-type",
        "in.jsonl:3": "wrong-type",
        "d": "bad-duration",
    }


@pytest.mark.parametrize("audio", ["header", "decode"])
@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"duration": 2.0}, {"duration": 2.0}),
        # as rounded by others
        ({"duration": 1.9995}, {"duration": 1.9995}),
        ({"duration": 99.0, "sample_rate": 16000}, {"duration": 2.0, "sample_rate": RATE}),
        ({"duration": -1}, {"duration": 2.0}),
        ({"duration": 0}, {"duration": 2.0}),
        ({}, {"duration": 2.0}),
        ({"offset": 1.5, "duration": 5.0}, {"offset": 1.5, "duration": 0.5}),
        ({"offset": 1.5, "duration": 0.25}, {"offset": 1.5, "duration": 0.25}),
        ({"offset": 1.5}, {"offset": 1.5, "duration": 0.5}),
        ({"offset": -1, "duration": 0.5}, {"offset": 0.0, "duration": 0.5}),
        ({"speed": 2.0, "duration": 2.0}, {"speed": 2.0, "duration": 1.0}),
    ],
)
def test_what_a_row_states_of_its_recording_is_corrected(clip, fields, expected, audio):
    fixed, dropped, _ = fix([{"id": "a", "audio_filepath": clip, **fields}], audio=audio)
    assert (fixed, dropped) == ([{"id": "a", "audio_filepath": clip, **expected}], {})


def test_rows_that_their_recording_contradicts_are_dropped(clip, tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no recording")
    (tmp_path / "half.wav").write_bytes((tmp_path / clip).read_bytes()[:9000])
    rows = [
        {"id": "a", "audio_filepath": clip, "offset": 500.0, "duration": 1.0},
        {"id": "b", "audio_filepath": clip, "channel": 1},
        {"id": "c", "audio_filepath": "empty.wav"},
        {"id": "d", "audio_filepath": "text.wav"},
        {"id": "e", "audio_filepath": "half.wav"},
    ]
    reasons = ["bad-segment", "no-such-channel", "empty-file", "not-audio", "truncated-audio"]
    assert fix(rows, audio="decode")[:2] == ([], dict(zip("abcde", reasons, strict=True)))
    # without reading them, all files that are there will do
    assert len(fix(rows)[0]) == 5


def test_counts_of_matrices_are_corrected(clip):
    with ArkWriter("a.ark") as ark:
        ref = ark.write("a", np.zeros((5, 3), np.float32))
    rows = [{"id": "a", "feats": ref, "num_frames": 9}, {"id": "b", "feats": ref, "num_frames": 5}]
    fixed, dropped, _ = fix(rows, audio="header")
    assert (fixed, dropped) == ([{"id": "a", "feats": ref, "num_frames": 5}], {"b": "stale-archive"})


def test_healthy_rows_are_not_changed_and_the_result_needs_no_repair(clip):
    rows = [
        {"id": f"u{i}", "audio_filepath": clip, "duration": 2.0, "text": "so it is", "x": {"y": [i]}} for i in range(9)
    ]
    assert fix(rows, audio="decode") == (rows, {}, [])
    broken = [{**row, "duration": 7.0, "text": "So it is!"} for row in reversed(rows)]
    assert fix(broken, audio="decode")[0] == rows
    assert fix(fix(broken, audio="header")[0], audio="header")[0] == rows


@pytest.mark.long
def test_several_processes_repair_the_same_rows(clip):
    rows = [{"id": f"u{i:02}", "audio_filepath": clip if i % 5 else "no.wav", "duration": float(i)} for i in range(40)]
    assert fix(rows, audio="header", nj=2) == fix(rows, audio="header")
