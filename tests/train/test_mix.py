"""Several corpora in one training set: stated shares, each utterance once before any comes again."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.features import FeatureConfig
from ds2cli.config.mix import MixConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.train.data import prepare_job
from ds2cli.train.epoch_plan import plan_epoch
from ds2cli.train.examples import fingerprint, min_frames, num_frames, read_id, read_ids, read_recordings
from ds2cli.train.mix import draw_utterances
from ds2cli.train.scan import ManifestRows

FEATURES = FeatureConfig().features()


def share_of(drawn, sizes, number):
    begin = sum(sizes[:number])
    return np.count_nonzero((drawn >= begin) & (drawn < begin + sizes[number])) / len(drawn)


@pytest.mark.parametrize("weights", [(0.3,), (0.2, 0.5), (0.9,), (0.0,)])
def test_an_epoch_has_the_first_corpus_and_the_stated_share_of_the_others(weights):
    sizes = [1000, 5000, 40_000][: len(weights) + 1]
    for epoch in range(5):
        drawn = draw_utterances(sizes, weights, 3, epoch)
        assert np.count_nonzero(drawn < 1000) == 1000 and len(set(drawn[:1000].tolist())) == 1000
        for number, weight in enumerate(weights, 1):
            assert share_of(drawn, sizes, number) == pytest.approx(weight, abs=1e-3)


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5])
def test_no_utterance_is_drawn_again_before_all_were_seen(weight):
    sizes, share = [70, 200], round(weight * 70 / (1 - weight))
    drawn = np.concatenate([draw_utterances(sizes, (weight,), 0, epoch)[70:] for epoch in range(60)])
    assert len(drawn) == 60 * share
    for begin in range(0, len(drawn), 200):
        part = drawn[begin : begin + 200]
        assert len(set(part.tolist())) == len(part) and part.min() >= 70 and part.max() < 270
    assert set(drawn.tolist()) == set(range(70, 270))
    assert (drawn[:200] != drawn[200:400]).any(), "another order when all were seen"


def test_a_share_that_is_larger_than_its_corpus_has_utterances_evenly_more_than_once():
    drawn = draw_utterances([90, 4], (0.1,), 0, 0)[90:]
    assert len(drawn) == 10 and {np.count_nonzero(drawn == n) for n in range(90, 94)} == {2, 3}


def test_what_is_drawn_follows_from_seed_and_epoch():
    def draw(seed, epoch):
        return draw_utterances([50, 500], (0.5,), seed, epoch).tolist()

    assert draw(1, 2) == draw(1, 2) and draw(1, 2) != draw(1, 3) and draw(1, 2) != draw(2, 2)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"manifests": ("a",)}, "1 manifests and 0 weights"),
        ({"weights": (0.1,)}, "0 manifests and 1 weights"),
        ({"manifests": ("a", "b"), "weights": (0.6, 0.5)}, "sum below 1, got 1.1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(settings, named):
    with pytest.raises(UsageError, match=named):
        MixConfig(**settings)


@pytest.fixture
def corpora(tmp_path):
    """Manifests of two corpora, 30 rows with the letters ab and 100 with c, one of which is unusable."""
    paths = []
    for name, count, text in (("new", 30, "a b"), ("base", 100, "c")):
        with ArkWriter(str(tmp_path / f"{name}.ark")) as ark, (tmp_path / f"{name}.jsonl").open("w") as f:
            for n in range(count):
                feats = ark.write(f"{name}-{n:03d}", np.full((20 + n, 161), n, np.float32))
                feats = "none.ark:1" if (name, n) == ("base", 7) else f"{name}.ark:{feats.rpartition(':')[2]}"
                f.write(json.dumps({"id": f"{name}-{n:03d}", "text": text, "feats": feats, "channel": 1}) + "\n")
        paths.append(str(tmp_path / f"{name}.jsonl"))
    return paths


def prepare(paths, ledger=None, **settings):
    mix = MixConfig(manifests=tuple(paths[1:]), weights=(0.4,) * len(paths[1:]))
    config, ledger = TrainConfig(mix=mix, **settings), ledger or Ledger()
    rows = [ManifestRows(path, ("id", "text"), ledger) for path in paths]
    return prepare_job(config, rows[0], None, "", FEATURES, ledger, mix=rows[1:])


def test_all_corpora_pass_the_same_checks_and_share_symbols_and_the_ledger(corpora):
    ledger = Ledger()
    job = prepare(corpora, ledger)
    assert job.train.sizes == [30, 99] and job.vocab.symbols[1:] == (" ", "a", "b", "c")
    assert ledger.kept == 129 and [row["id"] for row in ledger.rows] == ["base-007"]
    assert [u.id for u in job.train] == list(read_ids(job.train)) == [read_id(job.train, n) for n in range(129)]
    places = np.array([3, 29, 30, 128])
    assert read_recordings(job.train, places) == [job.train[n].recording for n in places]
    assert [u.min_frames for u in job.train] == min_frames(job.train).tolist()
    assert job.train[30].id == "base-000" and job.train[-1].id == "base-099" and job.train[29].id == "new-029"
    assert [u.id for u in job.train[28:32]] == ["new-028", "new-029", "base-000", "base-001"]
    np.testing.assert_array_equal(job.mean, prepare(corpora[:1]).mean)
    before = len(pickle.dumps(job.train))
    assert len(num_frames(job.train)) == 129
    assert len(pickle.dumps(job.train)) == before, "another process counts the frames itself"
    copy = pickle.loads(pickle.dumps(job))
    assert copy.train[40].id == job.train[40].id and copy.train.fingerprint == job.train.fingerprint


def test_the_batches_of_an_epoch_have_what_was_drawn(corpora):
    job = prepare(corpora, batch_s=1.0)
    seen = []
    for epoch in range(4):
        steps, frames = plan_epoch(job, epoch)
        places = [place for step in steps for batch in step for place in batch]
        drawn = draw_utterances([30, 99], (0.4,), 0, epoch)
        assert sorted(places) == sorted(drawn.tolist()) and len(places) == 50
        assert frames.tolist() == [u.num_frames for u in job.train]
        for step in steps:
            for batch in step:
                lengths = [frames[place] for place in batch]
                assert lengths == sorted(lengths, reverse=True) and (len(batch) * lengths[0] <= 100 or len(batch) == 1)
        seen += [place for place in places if place >= 30]
    assert len(set(seen)) == 80, "other utterances in each epoch"


def test_the_fingerprint_covers_all_corpora(corpora):
    alone, mixed = prepare(corpora[:1]), prepare(corpora)
    assert fingerprint(mixed.train) != fingerprint(alone.train) != fingerprint(prepare(corpora[::-1]).train)
    assert fingerprint(mixed.train) == fingerprint(prepare(corpora).train) != fingerprint(prepare(corpora[::-1]).train)


def test_a_corpus_without_a_usable_utterance_is_named(corpora, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"id": "a", "text": ""}\n')
    with pytest.raises(DataError, match=r"no utterance of .*empty\.jsonl can be used"):
        prepare([corpora[0], str(empty)])


def test_an_id_of_two_corpora_is_refused(corpora):
    lines = Path(corpora[1]).read_text().replace('"id": "base-005"', '"id": "new-005"').splitlines()
    rows = sorted(map(json.loads, lines), key=lambda row: row["id"])
    # features of the row in the other corpus, whose key is its id
    rows[-1]["feats"] = (
        "new.ark:" + json.loads(Path(corpora[0]).read_text().splitlines()[5])["feats"].rpartition(":")[2]
    )
    Path(corpora[1]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"base.jsonl and TRAIN have ids in common, 1 in all, such as new-005 \("):
        prepare(corpora)


def test_a_share_is_one_utterance_or_more():
    assert len(draw_utterances([10, 50], (0.001,), 0, 0)) == 11
    assert len(draw_utterances([10, 50], (0.0,), 0, 0)) == 10
