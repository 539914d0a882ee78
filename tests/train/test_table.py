"""The training set as a table: the same utterances, fingerprints and drops as rows that are checked one by one."""

from __future__ import annotations

import json
import pickle
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ds2cli import archive, manifest
from ds2cli.archive import ArkWriter
from ds2cli.audio.recording import parse_recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.row_check import read_shape
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train import table, table_builder
from ds2cli.train.data import _feature_shape, _train_utterance, prepare_job
from ds2cli.train.examples import fingerprint, num_frames, read_recordings
from ds2cli.train.scan import Candidate, ManifestRows, collect
from ds2cli.train.table import Space, Store
from ds2cli.train.table_builder import TableBuilder

FEATURES = FeatureConfig().features()
VOCAB = Vocab((BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz", "é"))
TEXTS = ["a bee", "it's", "see aa", "", "café", "ñ", "a" * 30, "x y z", "the end"]


@pytest.fixture
def rows(tmp_path):
    """Rows with features in several archives, some of which are unusable in every way."""
    rows, rng = [], np.random.default_rng(0)
    for a in range(3):
        with ArkWriter(str(tmp_path / f"{a}.ark"), compress=a > 0) as ark:
            for n in range(40):
                name, kind = f"{a}-{n:02d}", np.float64 if n % 5 == 4 else np.float32
                x = rng.normal(size=(int(rng.integers(1, 60)), 9 if n == 7 else 8)).astype(kind)
                feats = ark.write(name, x)
                row = {"id": name, "text": TEXTS[n % len(TEXTS)], "feats": feats, "audio_filepath": f"{n}.wav"}
                rows.append(row | {"duration": n / 8, "offset": 1, "channel": n % 3, "speed": 1.1, "sample_rate": 8000})
    damage = {
        3: {"feats": "none.ark:3"}, 10: {"feats": f"{tmp_path}/0.ark:3"}, 13: {"feats": rows[14]["feats"]},
        16: {"feats": f"{tmp_path}/0.ark"}, 19: {"feats": f"{tmp_path}/0.ark:x"}, 20: {"feats": f"{tmp_path}/0.ark:"},
        22: {"feats": f"{tmp_path}/0.ark:99999999"}, 23: {"feats": f"{tmp_path}:3"},
        25: {"feats": ""}, 28: {"audio_filepath": ""}, 30: {"feats": f"{tmp_path}/0.ark:{'0' * 30}"},
    }  # fmt: skip
    return [{**row, **damage.get(n, {})} for n, row in enumerate(rows)]


def check(config, vocab):
    settings = FeatureConfig.from_saved(FEATURES, "features")

    def use(candidate, bins):
        row = candidate.as_row()
        frames, found = _feature_shape(row, settings)
        if bins not in (None, found):
            raise BadUtterance("wrong-features", f"expected {bins} bins as in earlier rows, found {found}")
        return _train_utterance(row, frames, vocab, config), found

    return use


def one_by_one(rows, config, vocab, ledger):
    """What the table must hold, without kernels."""
    use, bins, utterances = check(config, vocab), None, []
    for row in rows:
        try:
            candidate = Candidate(row["id"], row.get("feats") or "", parse_recording(row), row["text"])
            utterance, bins = use(candidate, bins)
            utterances.append(utterance)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
    return utterances


def build(rows, config, vocab):
    ledger = Ledger()
    found = collect(rows, ledger, lambda _: None)
    needs_audio = config.augment.needs_audio
    builder = TableBuilder(vocab, config.model.stride, needs_audio, check(config, vocab), ledger)
    return builder.build(found), ledger


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert replace(a, labels=b.labels) == b and a.labels.tolist() == b.labels.tolist()
        assert a.labels.dtype == np.int32 and type(a.num_frames) is type(a.min_frames) is int


@pytest.mark.parametrize("symbols", ["characters", "bigrams", "none of them"])
@pytest.mark.parametrize("augment", [{}, {"shift_ms": 5.0}])
def test_the_table_holds_what_checks_one_by_one_keep(rows, symbols, augment):
    vocab = {"characters": VOCAB, "bigrams": Vocab((*VOCAB.symbols, "th", "ee"))}.get(symbols, Vocab((BLANK,)))
    config, ledger = TrainConfig(augment=AugmentConfig(**augment)), Ledger()
    expected = one_by_one(rows, config, vocab, ledger)
    found, dropped = build(rows, config, vocab)
    assert_same(found, expected)
    assert dropped.rows == ledger.rows and len({row["reason"] for row in ledger.rows}) > 1
    assert found.fingerprint == fingerprint(expected) == fingerprint(found)
    assert num_frames(found).tolist() == [u.num_frames for u in expected] == num_frames(expected).tolist()
    for places in ([0], [1, 4, 5], range(len(expected))):
        chosen = np.array([n for n in places if n < len(expected)])
        assert read_recordings(found, chosen) == [expected[n].recording for n in chosen] if len(chosen) else True
    assert [name for names in found.read_ids() for name in names] == [u.id for u in expected]
    assert symbols == "none of them" or len(expected) > 30


@pytest.mark.parametrize("limits", [{"ARCHIVES": 1}, {"DIGEST": 100}, {"LARGE": 0}])
def test_small_limits_change_nothing(rows, monkeypatch, limits):
    whole, _ = build(rows, TrainConfig(), VOCAB)
    for name, value in limits.items():
        monkeypatch.setattr(table_builder, name, value)
    # of which the archives change with every row
    mixed = sorted(rows, key=lambda row: row["id"][::-1])
    for order in (rows, mixed):
        ledger = Ledger()
        expected = one_by_one(order, TrainConfig(), VOCAB, ledger)
        found, other = build(order, TrainConfig(), VOCAB)
        assert_same(found, expected)
        assert other.rows == ledger.rows and found.fingerprint == fingerprint(expected)
    assert build(rows, TrainConfig(), VOCAB)[0].fingerprint == whole.fingerprint


def test_what_is_large_is_in_files_that_other_processes_read_and_that_are_removed(rows, monkeypatch, tmp_path):
    small, _ = build(rows, TrainConfig(), VOCAB)
    monkeypatch.setattr(table, "IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large, _ = build(rows, TrainConfig(), VOCAB)
    (folder,) = tmp_path.glob("ds2-rows-*")
    assert {"pool", "index"} <= {file.name for file in folder.iterdir()}
    assert_same(large, list(small))
    data = pickle.dumps(large)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert_same(copy, list(small))
    assert num_frames(copy).tolist() == num_frames(small).tolist() and copy.fingerprint == small.fingerprint
    del copy
    assert folder.exists() and large[-1].id == small[-1].id
    del large
    assert not folder.exists()
    assert_same(pickle.loads(pickle.dumps(small)), list(small))


def test_a_table_is_a_sequence(rows):
    found, _ = build(rows, TrainConfig(), VOCAB)
    ids = [u.id for u in found]
    assert [u.id for u in found[1:9:3]] == ids[1:9:3] and found[-1].id == ids[-1]
    assert found[np.int32(3)].id == ids[3]
    with pytest.raises(IndexError):
        found[len(found)]


def test_the_recording_is_carried_with_all_that_its_row_says(tmp_path, rows):
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ledger = Ledger()
    job = prepare_job(TrainConfig(), ManifestRows(str(path), ("id", "text"), ledger), None, "", FEATURES, ledger)
    by_id = {row["id"]: row for row in manifest.read(str(path), ("id", "text"))}
    assert len(job.train) > 30
    for utterance in job.train:
        assert utterance.recording == parse_recording(by_id[utterance.id])
        assert utterance.feats == by_id[utterance.id]["feats"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (9, 4), (3, 5), (0, 0), (2000, 7)])
def test_shapes_are_those_of_the_archive_and_truncated_matrices_have_none(tmp_path, shape, compress):
    path = str(tmp_path / "a.ark")
    with ArkWriter(path, compress=compress) as ark:
        at = int(ark.write("u", np.zeros(shape, np.float32)).rpartition(":")[2])
    data = np.frombuffer((tmp_path / "a.ark").read_bytes(), np.uint8)
    # an empty matrix is left to Python
    assert read_shape(data, at) == (shape if shape[0] else (-1, -1))
    for end in (at, at + 2, at + 10, len(data) - 1):
        assert read_shape(data[:end], at) == (-1, -1)


def test_a_store_reads_what_was_appended(monkeypatch):
    monkeypatch.setattr(table, "IN_MEMORY", 10)
    store, whole = Store(Space(), "x"), b""
    for data in (b"abc", b"", np.arange(3, dtype=np.int32), b"z" * 1000, b"end"):
        store.append(data)
        whole += bytes(data)
        assert store.size == len(whole) and store.read(0, store.size) == whole and store.read(2, 4) == whole[2:6]
    assert store.read(len(whole) - 1, 10) == b"d"


def test_pages_of_archives_are_given_back(tmp_path, monkeypatch):
    with ArkWriter(str(tmp_path / "a.ark")) as ark:
        refs = [ark.write(str(n), np.full((500, 500), n, np.float32)) for n in range(50)]

    def resident():
        """Resident bytes of files (kB)."""
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile")]
        return int(line.split()[1])

    monkeypatch.setattr(archive, "MOST_TOUCHED", 4 << 20)
    archive.forget_pages()
    before, most = resident(), 0
    for n, ref in enumerate(refs):
        assert archive.read_matrix(ref, str(n)).sum() == n * 250_000
        most = max(most, resident() - before)
    assert most < 10_000


def test_a_full_disk_is_one_line_that_says_what_helps(monkeypatch):
    monkeypatch.setattr(table, "IN_MEMORY", 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(DataError, match=r"ds2-rows-.*/x: cannot be written: .*\(set TMPDIR"):
            Store(Space(), "x").append(bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
