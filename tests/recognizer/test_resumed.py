"""Emissions that an interrupted run has archived: continued, and checked before they are used."""

import random

import numpy as np
import pytest
import torch

from ds2cli import manifest
from ds2cli.config.decode import SearchConfig
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, Ds2Error
from ds2cli.journal import open_journal
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.emissions import read_features
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.search.greedy import GreedySearch
from ds2cli.stages import decode, emit
from ds2cli.text.vocab import BLANK, Vocab

MODEL = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8)
# the 48 rows of the toy training set are in chunks of 8, 16 and 24


class StopError(BaseException):
    """Ends a run in the middle."""


@pytest.fixture
def experiment(tmp_path):
    torch.manual_seed(0)
    vocab = Vocab((BLANK, " ", "a", "b", "c"))
    (tmp_path / "exp").mkdir()
    state = DeepSpeech2(MODEL, 5, 20).state_dict()
    (tmp_path / "exp" / BEST).write_bytes(dump_model(state, MODEL, vocab, {"hop_ms": 10.0}, {}))
    return Experiment(str(tmp_path / "exp"))


@pytest.fixture
def rows(toy):
    found = list(manifest.read(str(toy / "train.jsonl")))
    # two without usable features
    found[3] = {**found[3], "feats": f"{toy}/none.ark:3"}
    found[30] = {**found[30], "feats": found[31]["feats"]}
    return found


def run(make, folder, rows, stop_after=None, **options):
    """Rows and drops of a stage with a journal, and how many utterances it continued after; None if it was stopped."""
    ledger, resumed = Ledger(), []
    try:
        with open_journal(str(folder / "e"), "test", {}, resumed.append) as journal:
            done = []
            for row in make(rows, ledger, journal, **options):
                done.append(row)
                if len(done) == stop_after:
                    raise StopError
    except StopError:
        return None
    return done, ledger.rows, resumed


@pytest.fixture
def emitting(tmp_path, experiment):
    def make(rows, ledger, journal, max_bad=100.0):
        return emit.run(rows, ledger, experiment, str(tmp_path / "e.ark"), max_bad, journal)

    return make


@pytest.mark.parametrize(("stop_after", "finished"), [(3, 0), (7, 0), (8, 8), (23, 8), (24, 24), (40, 24)])
def test_an_emit_continues_after_the_last_finished_chunk(tmp_path, rows, emitting, stop_after, finished):
    expected = run(emitting, tmp_path, rows)
    archive = (tmp_path / "e.ark").read_bytes()
    (tmp_path / "e.ark").unlink()
    assert run(emitting, tmp_path, rows, stop_after) is None
    assert not (tmp_path / "e.ark").exists()
    done, drops, resumed = run(emitting, tmp_path, rows)
    assert (done, drops) == expected[:2] and resumed == [finished] * (finished > 0)
    assert (tmp_path / "e.ark").read_bytes() == archive and not list(tmp_path.glob(".e*"))
    assert [drop["id"] for drop in drops] == [rows[3]["id"], rows[30]["id"]]


@pytest.mark.parametrize("damage", ["missing", "shorter", "zeros", "longer"])
def test_an_unfinished_archive_that_is_not_what_the_journal_says_is_cut_off(tmp_path, rows, emitting, damage):
    expected = run(emitting, tmp_path, rows)
    archive = (tmp_path / "e.ark").read_bytes()
    run(emitting, tmp_path, rows, 30)
    (part,) = tmp_path.glob(".e.test.unfinished/*.part")
    size = part.stat().st_size
    # what a power cut leaves of a file
    if damage == "missing":
        part.unlink()
    else:
        data = part.read_bytes()
        cuts = {
            "shorter": data[: size // 3],
            "zeros": data[: size // 3] + bytes(size - size // 3),
            "longer": data + b"x",
        }
        part.write_bytes(cuts[damage])
    done, drops, resumed = run(emitting, tmp_path, rows)
    assert (done, drops) == expected[:2] and (tmp_path / "e.ark").read_bytes() == archive
    assert resumed == {"missing": [], "shorter": [8], "zeros": [8], "longer": [24]}[damage]


def test_a_refused_emit_is_accepted_at_once_with_a_higher_limit(tmp_path, rows, emitting, experiment, monkeypatch):
    with pytest.raises(Ds2Error, match="2 of 48 utterances are bad"):
        run(emitting, tmp_path, rows, max_bad=1.0)
    assert not (tmp_path / "e.ark").exists()
    monkeypatch.setattr(Experiment, "compute_emissions", lambda *_: pytest.fail("nothing is left to compute"))
    done, drops, resumed = run(emitting, tmp_path, rows, max_bad=5.0)
    assert (len(done), len(drops), resumed) == (46, 2, [48]) and (tmp_path / "e.ark").stat().st_size > 0


@pytest.mark.parametrize("nj", [1, 2])
@pytest.mark.parametrize("with_archive", [False, True])
def test_a_decode_continues_and_has_looked_at_all_features(tmp_path, rows, experiment, with_archive, nj):
    seen, rng = [], random.Random(nj)
    search = GreedySearch(experiment.vocab)

    def look(row, experiment):
        seen.append(row["id"])
        return read_features(row, experiment)

    def find(log_probs, best):
        if len(log_probs) % 7 == 0:
            raise BadUtterance("impossible", "a multiple of seven steps")
        return search(log_probs, best)

    def make(rows, ledger, journal):
        ark = str(tmp_path / "e.ark") if with_archive else None
        config = SearchConfig(nj=nj, max_bad=100.0)
        return decode.run(config, rows, ledger, experiment, find, look, ark, journal)

    expected = run(make, tmp_path, rows)
    assert {drop["reason"] for drop in expected[1]} >= {"impossible", "missing-archive", "stale-archive"}
    archive = (tmp_path / "e.ark").read_bytes() if with_archive else b""
    for _ in range(3):
        run(make, tmp_path, rows, rng.randint(20, 40))
        seen.clear()
    done, drops, resumed = run(make, tmp_path, rows)
    assert (done, drops) == expected[:2] and resumed and resumed[0] in (8, 24)
    assert sorted(seen) == [row["id"] for row in rows]
    assert not with_archive or (tmp_path / "e.ark").read_bytes() == archive


def test_rows_with_emissions_are_decoded_again_if_their_archive_has_changed(tmp_path, rows, emitting, experiment):
    emitted = run(emitting, tmp_path, rows)[0]

    def make(rows, ledger, journal):
        return decode.run(
            SearchConfig(greedy=True), rows, ledger, experiment, GreedySearch(experiment.vocab), journal=journal
        )

    folder = tmp_path / "decoded"
    run(make, folder, emitted, 40)
    data = bytearray((tmp_path / "e.ark").read_bytes())
    (tmp_path / "e.ark").write_bytes(data + b"x")
    assert run(make, folder, emitted)[2] == []
    run(make, folder, emitted, 40)
    done, _, resumed = run(make, folder, emitted)
    assert resumed and len(done) == len(emitted)
    np.testing.assert_equal([row["id"] for row in done], [row["id"] for row in emitted])
