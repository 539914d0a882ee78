"""Decoding and tuning of rows: what they carry away, what is dropped, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import decode, tune
from ds2cli.stages.emitted import CHUNK, Network
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))


def emission(text, hold=2):
    """Each symbol for `hold` steps and a blank after it, all quite certain."""
    path = [s for c in text for s in [VOCAB.symbols.index(c)] * hold + [0]]
    lp = np.full((len(path), len(VOCAB)), np.log(0.02), dtype=np.float32)
    lp[np.arange(len(path)), path] = np.log(0.92)
    return lp


@pytest.fixture
def exp(tmp_path):
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    return str(tmp_path / "exp")


@pytest.fixture
def rows(tmp_path):
    """Rows with the emission of a text, or with the array given for it."""

    def make(texts, arrays=None):
        out = []
        with ArkWriter(tmp_path / "e.ark") as ark:
            for i, text in enumerate(texts):
                lp = emission(text) if arrays is None else arrays[i]
                name = f"u{i:03d}"
                out.append({"id": name, "text": text, "emission": ark.write(name, lp), "step_s": 0.02, "kept": i})
        return out

    return make


def run(config, rows, exp):
    ledger, network = Ledger(), Network(exp)
    resolved = decode.resolve(config, exp)
    return list(decode.run(resolved, rows, ledger, network, decode.search_for(resolved, network))), ledger


@pytest.mark.parametrize("config", [DecodeConfig(greedy=True), DecodeConfig(), DecodeConfig(nj=3, beam=4)], ids=str)
def test_certain_emissions_give_their_texts_in_order(rows, exp, config):
    texts = ["ab a", "é", "", "aa b", "bé bé"] * (CHUNK // 2)
    made, ledger = run(config, rows(texts), exp)
    assert [r["pred_text"] for r in made] == texts
    assert [r["kept"] for r in made] == list(range(len(texts)))
    assert all(r["pred_score"] <= 0 for r in made)
    assert not ledger.rows


def test_n_best_and_times(rows, exp):
    made, _ = run(DecodeConfig(nbest=5, timestamps=True), rows(["ab a"]), exp)
    (row,) = made
    assert len(row["nbest"]) == 5
    assert row["nbest"][0]["text"] == row["pred_text"]
    assert row["nbest"][0]["score"] == row["pred_score"] == row["nbest"][0]["am"]
    assert [(w["word"], w["start"], w["end"]) for w in row["pred_words"]] == [("ab", 0.0, 0.1), ("a", 0.18, 0.22)]


def test_unusable_rows_are_dropped_with_their_reasons(rows, exp, tmp_path):
    bad = emission("ab")
    bad[1, 1] = np.nan
    given = rows(["ab"] * 5, [emission("ab"), bad, emission("ab"), emission("ab"), emission("ab")])
    given[2] = {"id": "u002", "text": "ab"}
    given[3]["emission"] = str(tmp_path / "gone.ark:7")
    made, ledger = run(DecodeConfig(), given, exp)
    assert [r["id"] for r in made] == ["u000", "u004"]
    assert {r["id"]: r["reason"] for r in ledger.rows} == {
        "u001": "not-a-number",
        "u002": "no-feats",
        "u003": "missing-archive",
    }


def test_an_empty_emission_has_an_empty_text(rows, exp):
    made, _ = run(DecodeConfig(timestamps=True), rows([""], [np.empty((0, 5), np.float32)]), exp)
    assert (made[0]["pred_text"], made[0]["pred_words"]) == ("", [])


def test_no_rows(exp):
    assert run(DecodeConfig(), [], exp)[0] == []


def test_an_experiment_that_is_not_there(rows, tmp_path):
    with pytest.raises(DataError, match="no trained network"):
        run(DecodeConfig(), rows(["a"]), str(tmp_path / "nothing"))


LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tba\n\n\\end\\\n"


@pytest.fixture
def lm(tmp_path):
    (tmp_path / "lm.arpa").write_text(LM)
    return str(tmp_path / "lm.arpa")


def test_weights_come_from_the_option_then_from_tuning_then_from_the_default(exp, lm, tmp_path):
    assert decode.resolve(DecodeConfig(lm=lm), exp).alpha == 0.8
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nbeta = 2\n[made_by]\nx = 1\n")
    both = decode.resolve(DecodeConfig(lm=lm), exp)
    assert (both.alpha, both.beta, both.unknown) == (0.3, 2.0, -4.0)
    assert decode.resolve(DecodeConfig(lm=lm, alpha=1.5), exp).alpha == 1.5


@pytest.mark.parametrize(
    "config",
    [
        DecodeConfig(alpha=1.0),
        DecodeConfig(beta=1.0),
        DecodeConfig(greedy=True, lm="x"),
        DecodeConfig(greedy=True, nbest=3),
    ],
    ids=str,
)
def test_settings_that_would_be_ignored_are_refused(exp, config):
    with pytest.raises(UsageError):
        decode.resolve(config, exp)


def test_a_model_changes_an_uncertain_text(rows, exp, lm):
    lp = emission("ab")
    lp[3:5, 3] = lp[3:5, 4] = np.log(0.45)  # b or é
    lp[3:5, 4] += 0.1
    given = rows(["ab"], [lp])
    assert run(DecodeConfig(), given, exp)[0][0]["pred_text"] == "aé"
    (row,) = run(DecodeConfig(lm=lm, nbest=1), given, exp)[0]
    assert row["pred_text"] == "ab"
    assert row["nbest"][0]["score"] == pytest.approx(
        row["nbest"][0]["am"] + 0.8 * row["nbest"][0]["lm"] + 1.0, abs=1e-3
    )


def tuned(rows, exp, lm, **settings):
    network = Network(exp)
    config = DecodeConfig(lm=lm, alphas=(0.1, 0.5), betas=(0.0, 1.0, 2.0), unknowns=(-1.0,), **settings)
    return list(tune.run(config, rows, Ledger(), network, decode.search_for(config, network), "word"))


def test_tuning_tries_every_point(rows, exp, lm, tmp_path):
    trials = tuned(rows(["ab ba", "ab"]), exp, lm, nj=2)
    assert [(t.weights.alpha, t.weights.beta) for t in trials] == [(a, b) for a in (0.1, 0.5) for b in (0.0, 1.0, 2.0)]
    assert all(t.counts.total == 3 for t in trials)
    tune.save(DecodeConfig(lm=lm), exp, trials[4], made_on="dev.jsonl", result="%WER")
    kept = decode.resolve(DecodeConfig(lm=lm), exp)
    assert (kept.alpha, kept.beta, kept.unknown) == (0.5, 1.0, -1.0)


def test_tuning_on_a_test_set_is_refused(rows, exp, lm):
    for name in ("test.jsonl", "data/test-clean.jsonl.gz", "my_test.feats.jsonl", "TEST.jsonl"):
        with pytest.raises(UsageError, match="test set"):
            tune.refuse_test_set(name)
    for name in ("dev.jsonl", "test/dev.jsonl", "latest.jsonl", "contest.jsonl", "-"):
        tune.refuse_test_set(name)
    given = [{**row, "part": "test"} for row in rows(["ab"])]
    with pytest.raises(UsageError, match="part 'test'"):
        tuned(given, exp, lm)


def test_tuning_on_nothing_is_refused(exp, lm):
    with pytest.raises(DataError, match="no utterance"):
        tuned([], exp, lm)
