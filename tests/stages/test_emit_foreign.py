"""Emissions of networks of other toolkits in an archive, with the list of their symbols."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.stages.emit_foreign import check_tokens, read_standardized, run
from ds2cli.text.tokens import parse_tokens
from ds2cli.text.vocab import BLANK, Vocab

TOKENS = parse_tokens(b"a\nb\n|\n<unk>\n<blank>\n", "t")
RNG = np.random.default_rng(0)
LOGITS = {name: RNG.normal(size=(steps, 5)).astype(np.float32) for name, steps in (("x", 3), ("y", 9), ("z", 1))}
ROWS = [{"id": name, "text": "a", "duration": 1.0} for name in LOGITS]


def emit(tmp_path, logits=LOGITS, max_bad=100.0, rows=ROWS):
    ledger = Ledger()
    ark = str(tmp_path / "lab" / "e.ark")
    kept = list(run(rows, ledger, lambda row: logits[row["id"]], TOKENS, lambda row, steps: 0.04, ark, max_bad))
    return kept, ledger


def test_rows_gain_emissions_of_the_symbols_that_are_used(tmp_path):
    kept, _ = emit(tmp_path)
    assert open_vocab(str(tmp_path / "lab")).symbols == (BLANK, "a", "b", " ")
    for row in kept:
        logits = LOGITS[row["id"]].astype(np.float64)
        expected = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))[:, [4, 0, 1, 2]]
        np.testing.assert_allclose(read_matrix(row["emission"], row["id"]), expected, rtol=1e-5)
        assert (row["num_steps"], row["step_s"], row["text"]) == (len(logits), 0.04, "a")


def test_an_emission_that_a_row_already_has_is_replaced(tmp_path):
    kept, _ = emit(tmp_path, rows=[{**row, "emission": "old.ark:3", "num_steps": 1, "step_s": 9.0} for row in ROWS])
    assert [row["num_steps"] for row in kept] == [3, 9, 1] and all("lab" in row["emission"] for row in kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_result_that_is_no_number_costs_one_utterance(tmp_path, bad):
    broken = LOGITS["y"].copy()
    broken[4, 2] = bad
    kept, ledger = emit(tmp_path, {**LOGITS, "y": broken})
    assert [row["id"] for row in kept] == ["x", "z"]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [("y", "not-a-number")]
    with pytest.raises(Ds2Error, match="1 of 3"):
        emit(tmp_path / "other", {**LOGITS, "y": broken}, 30.0)
    assert not (tmp_path / "other" / "lab").exists() or not list((tmp_path / "other" / "lab").iterdir())


def test_scores_of_other_symbols_end_the_run(tmp_path):
    with pytest.raises(DataError, match="expected scores of 5 symbols per step, found 2 x 4"):
        emit(tmp_path, {**LOGITS, "y": np.zeros((2, 4), np.float32)})


def test_a_folder_has_the_symbols_of_one_network(tmp_path):
    ark = str(tmp_path / "lab" / "e.ark")
    check_tokens(ark, TOKENS.vocab)
    emit(tmp_path)
    check_tokens(ark, TOKENS.vocab)
    with pytest.raises(DataError, match=r"tokens.txt: has other symbols: expected a folder .*--dir FOLDER"):
        check_tokens(ark, Vocab((BLANK, "a")))


def test_samples_and_features_are_read_and_standardized(tmp_path):
    samples = np.sin(np.arange(8000) / 20).astype(np.float32) * 0.3 + 0.1
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav")}
    np.testing.assert_array_equal(read_standardized(row, 8000, standardize=False), samples)
    assert len(read_standardized(row, 16000, standardize=False)) == 16000
    scaled = read_standardized(row, 8000, standardize=True)
    assert abs(scaled.mean()) < 1e-4 and abs(scaled.std() - 1) < 1e-4
    feats = RNG.normal(size=(50, 3)).astype(np.float32) * [1, 5, 9] + 7
    with ArkWriter(str(tmp_path / "f.ark")) as ark:
        row = {"id": "a", "feats": ark.write("a", feats.astype(np.float32))}
    scaled = read_standardized(row, None, standardize=True)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-4)
    # silence stays silence
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav")}
    np.testing.assert_array_equal(read_standardized(row, 8000, standardize=True), 0)


@pytest.mark.parametrize(("rate", "reason"), [(None, "no-feats"), (8000, "no-audio")])
def test_rows_without_what_the_network_takes(rate, reason):
    with pytest.raises(BadUtterance, match=reason):
        read_standardized({"id": "a"}, rate, standardize=False)
