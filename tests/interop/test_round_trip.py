"""A row comes back from each format as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.interop._extra import difference, restore
from tests.interop.conftest import FORMATS, real_paths


@pytest.mark.parametrize("name", FORMATS)
def test_all_of_librispeech_comes_back(name, round_trip, librispeech):
    trip = round_trip(name, librispeech)
    assert real_paths(trip.rows) == real_paths(librispeech)
    # as they are written, with the order of the fields
    assert [json.dumps(row) for row in trip.rows] == [json.dumps(row) for row in librispeech]
    assert trip.exported.kept == trip.imported.kept == len(librispeech)
    assert trip.exported.dropped == trip.imported.dropped == 0


@pytest.mark.parametrize("name", FORMATS)
def test_hard_rows_come_back(name, round_trip, hard_rows):
    trip = round_trip(name, hard_rows)
    assert (trip.exported.rows, trip.imported.rows) == ([], [])
    assert real_paths(trip.rows) == real_paths(hard_rows)
    for row, before in zip(trip.rows, hard_rows, strict=True):
        assert {name: type(value) for name, value in row.items()} == {n: type(v) for n, v in before.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_of_an_import_is_the_same_export(name, round_trip, hard_rows):
    first = round_trip(name, hard_rows)
    files = {p.name: p.read_bytes() for p in first.folder.iterdir() if p.is_file()}
    second = round_trip(name, first.rows)
    assert {p.name: p.read_bytes() for p in second.folder.iterdir() if p.is_file()} == files


def test_kaldi_with_ids_that_begin_with_the_speaker(round_trip, hard_rows):
    trip = round_trip("kaldi", hard_rows, prefix_speaker=True)
    assert (trip.folder / "utt2spk").read_text("utf-8").splitlines()[0] == "B-b-2 B"
    assert real_paths(trip.rows) == real_paths(hard_rows)


@pytest.mark.parametrize("prefix_speaker", [False, True])
def test_kaldi_with_commands_of_ffmpeg(round_trip, hard_rows, prefix_speaker):
    trip = round_trip("kaldi", hard_rows, ffmpeg=True, prefix_speaker=prefix_speaker)
    entries = (trip.folder / "wav.scp").read_text().splitlines()
    assert sum("-af 'pan=mono|c0=c1'" in entry and "'/" in entry for entry in entries) == 1
    assert (trip.imported.rows, real_paths(trip.rows)) == ([], real_paths(hard_rows))


def test_audiofolder_with_copies(round_trip, hard_rows):
    trip = round_trip("hf-audiofolder", hard_rows, copy=True, format="wav")
    assert not any(p.is_symlink() for p in trip.folder.rglob("*"))
    assert real_paths(trip.rows) == real_paths(hard_rows)


@pytest.mark.parametrize("name", ("kaldi", "lhotse", "nemo"))
def test_relative_paths_come_back(name, round_trip, librispeech, tmp_path, monkeypatch):
    (tmp_path / "LibriSpeech").symlink_to(
        librispeech[0]["audio_filepath"].partition("/LibriSpeech/")[0] + "/LibriSpeech"
    )
    monkeypatch.chdir(tmp_path)
    rows = [
        {**r, "audio_filepath": "LibriSpeech/" + r["audio_filepath"].partition("/LibriSpeech/")[2]} for r in librispeech
    ]
    assert round_trip(name, rows, paths="relative").rows == rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
fields = st.dictionaries(st.sampled_from("abcdef"), json_values, max_size=6)


@given(fields, fields)
def test_the_difference_of_any_rows_restores_them(row, derived):
    restored = restore(derived, json.loads(json.dumps(difference(row, derived))))
    assert json.dumps(restored, sort_keys=True) == json.dumps(row, sort_keys=True)


def test_a_change_by_another_program_is_not_undone():
    extra = difference({"text": "a  b", "split": "dev"}, {"text": "a b", "channel": 0})
    assert restore({"text": "a b", "channel": 0}, extra) == {"text": "a  b", "split": "dev"}
    assert restore({"text": "a c", "channel": 1}, extra) == {"text": "a c", "channel": 1, "split": "dev"}


@pytest.mark.parametrize("extra", [{"add": 3}, {"instead": []}, {"instead": {"text": 5}}, {"instead": {"text": []}}])
def test_what_ds2_has_not_written_is_ignored(extra):
    assert restore({"text": "a"}, extra) == {"text": "a"}
