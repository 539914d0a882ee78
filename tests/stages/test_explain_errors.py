"""Causes of errors: where the settings come from, and rows that cannot be explained."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.base import to_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.score import ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.emissions import CHUNK
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import decode, explain_errors, score
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tba\n\n\\end\\\n"


def emission(text):
    """Two steps per letter and a blank after it; `?` is either b or é, with é a little more probable."""
    path = [s for c in text for s in [VOCAB.symbols.index("é" if c == "?" else c)] * 2 + [0]]
    lp = np.full((len(path), len(VOCAB)), np.log(0.02), dtype=np.float32)
    lp[np.arange(len(path)), path] = np.log(0.92)
    for i, c in enumerate(text):
        if c == "?":
            lp[3 * i : 3 * i + 2, 3:] = np.log([0.42, 0.52])
    return lp


@pytest.fixture
def exp(tmp_path):
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "lm.arpa").write_text(LM)
    return str(tmp_path / "exp")


@pytest.fixture
def lm(tmp_path):
    return str(tmp_path / "lm.arpa")


@pytest.fixture
def rows(tmp_path):
    """A row for each pair of reference and text of the emission."""

    def make(pairs):
        with ArkWriter(tmp_path / "e.ark") as ark:
            return [
                {"id": f"u{i:03d}", "text": reference, "emission": ark.write(f"u{i:03d}", emission(shown)), "kept": i}
                for i, (reference, shown) in enumerate(pairs)
            ]

    return make


def decode_rows(rows, exp, **settings):
    config, experiment = resolve_settings(DecodeConfig(**settings), exp), Experiment(exp)
    return list(decode.run(config, rows, Ledger(), experiment, build_search(config, experiment)))


def explain(rows, exp, **settings):
    explainer, _, _ = explain_errors.open_explainer(ScoreConfig(why=exp, **settings), "-")
    return list(explainer.run(rows)), explainer


def causes(rows):
    return [[e["cause"] for e in row["errors"]] for row in rows]


@pytest.mark.parametrize("nj", [1, 3])
def test_rows_keep_their_order_and_gain_errors(rows, exp, lm, nj):
    pairs = [("aé", "a?"), ("ab ba", "ab ba"), ("ba", "ab"), ("", ""), ("a4", "ab")] * (CHUNK // 4)
    results, explainer = explain(decode_rows(rows(pairs), exp, lm=lm), exp, lm=lm, nj=nj)
    assert causes(results) == [["oov"], [], ["acoustic"], [], ["unspellable"]] * (CHUNK // 4)
    assert [row["kept"] for row in results] == list(range(len(pairs)))
    assert results[0]["errors"][0] | {"am": 0, "lm": 0, "score": 0} == {
        "ref": "aé", "hyp": "ab", "kind": "sub", "cause": "oov", "am": 0, "lm": 0, "score": 0,
    }  # fmt: skip
    assert (explainer.scored, explainer.mismatched, explainer.unexplained.dropped) == (3 * (CHUNK // 4), 0, 0)
    assert explainer.nj == nj


def test_only_wrong_rows_need_an_emission(rows, exp, tmp_path):
    given = decode_rows(rows([("ab", "ab"), ("ab", "ba"), ("ab", "ba"), ("ba b", "ab")]), exp)
    del given[0]["emission"], given[1]["emission"], given[3]["pred_text"]
    given[2]["emission"] = str(tmp_path / "gone.ark:1")
    results, explainer = explain(given, exp)
    assert causes(results) == [[], ["unexplained"], ["unexplained"], ["unexplained"] * 2]
    assert explainer.unexplained.reasons == {"no-feats": 1, "missing-archive": 1, "no-pred-text": 1}


def test_an_empty_hypothesis_is_explained(rows, exp):
    results, explainer = explain(decode_rows(rows([("ab", "")]), exp), exp)
    assert (results[0]["pred_text"], causes(results)) == ("", [["acoustic"]])
    assert (explainer.scored, explainer.unexplained.dropped) == (1, 0)


def test_a_hypothesis_outside_the_vocabulary_and_an_emission_of_another_network(rows, exp):
    given = decode_rows(rows([("ab", "ba")]), exp)
    results, explainer = explain([{**given[0], "pred_text": "xyz"}], exp)
    assert causes(results) == [["unexplained"]]
    assert explainer.unexplained.reasons == {"unspellable": 1}
    Vocab(VOCAB.symbols[:3]).save(f"{exp}/tokens.txt")
    with pytest.raises(DataError, match="expected 3 symbols"):
        explain(given, exp)


def test_rows_decoded_with_other_settings_are_counted(rows, exp, lm):
    given = decode_rows(rows([("ba", "ab"), ("ba", "a?")]), exp, lm=lm)
    assert explain(given, exp, lm=lm)[1].mismatched == 0
    assert explain(given, exp)[1].mismatched == 2
    assert explain(given, exp, lm=lm, beta=-3.0)[1].mismatched == 2
    assert explain([{k: v for k, v in row.items() if k != "pred_score"} for row in given], exp)[1].mismatched == 0


@pytest.mark.parametrize(("added", "mismatched"), [(0.005, 0), (0.02, 1), (-0.95, 0), (-1.05, 1)])
def test_a_score_may_be_higher_by_rounding_and_lower_by_pruning(rows, exp, lm, added, mismatched):
    (row,) = decode_rows(rows([("ba", "ab")]), exp, lm=lm)
    _, explainer = explain([{**row, "pred_score": row["pred_score"] + added}], exp, lm=lm)
    assert (explainer.scored, explainer.mismatched) == (1, mismatched)


def test_the_settings_saved_with_the_rows_are_used(exp, lm, tmp_path):
    hyp = str(tmp_path / "hyp.jsonl")
    assert explain_errors.find_settings(ScoreConfig(why=exp), hyp) == (resolve_settings(DecodeConfig(), exp), None)
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nbeta = 2\n")
    settings, source = explain_errors.find_settings(ScoreConfig(why=exp, lm=lm), hyp)
    assert (settings.lm, settings.alpha, settings.beta, settings.unknown, settings.unknown_letter) == (
        lm,
        0.3,
        2.0,
        -4.0,
        -1.0,
    )
    assert source is None
    saved = resolve_settings(DecodeConfig(lm=lm, alpha=1.5, beta=0.5, unknown=-1.0, sentence_end=False, beam=9), exp)
    (tmp_path / "hyp.jsonl.config.toml").write_text(to_toml(saved, {"kept": 3}))
    assert explain_errors.find_settings(ScoreConfig(why=exp), hyp) == (saved, f"{hyp}.config.toml")
    settings, _ = explain_errors.find_settings(ScoreConfig(why=exp, alpha=2.0), hyp)
    assert (settings.alpha, settings.beta, settings.sentence_end) == (2.0, 0.5, False)
    given = {"lm": "other.arpa", "alpha": 2.5, "beta": 3.0, "unknown": -2.0, "unknown_letter": -3.0}
    settings, _ = explain_errors.find_settings(ScoreConfig(why=exp, **given), hyp)
    assert {name: getattr(settings, name) for name in given} == given
    # the settings of another stage do not describe a search
    (tmp_path / "hyp.jsonl.config.toml").write_text(to_toml(ScoreConfig(), {}))
    assert explain_errors.find_settings(ScoreConfig(why=exp), hyp)[1] is None


def test_rows_decoded_greedily_need_no_language_model(rows, exp, tmp_path):
    given = decode_rows(rows([("ba", "ab")]), exp, greedy=True)
    (tmp_path / "hyp.jsonl.config.toml").write_text(to_toml(DecodeConfig(greedy=True), {}))
    explainer, settings, _ = explain_errors.open_explainer(ScoreConfig(why=exp), str(tmp_path / "hyp.jsonl"))
    assert causes(explainer.run(given)) == [["acoustic"]]
    assert (settings.lm, explainer.mismatched) == (None, 0)
    # the score of a path says nothing about that of its text
    assert list(explainer.run([{**given[0], "pred_score": given[0]["pred_score"] - 9.0}]))
    assert (explainer.scored, explainer.mismatched) == (2, 0)


def test_the_language_model_may_be_a_pipe(rows, exp, lm, piped):
    given = decode_rows(rows([("ba", "ab")]), exp, lm=lm)
    path = piped(LM.encode())
    results, explainer = explain(given, exp, lm=path)
    assert explainer.mismatched == 0 and causes(results) == causes(explain(given, exp, lm=lm)[0])


def test_a_missing_language_model_is_reported_with_the_file_that_names_it(exp, lm, tmp_path):
    (tmp_path / "hyp.jsonl.config.toml").write_text(to_toml(DecodeConfig(lm="gone.arpa", alpha=1.0), {}))
    with pytest.raises(
        DataError, match=r"^gone.arpa: .*; .*hyp.jsonl.config.toml names this model \(--lm FILE overrides it\)$"
    ):
        explain_errors.open_explainer(ScoreConfig(why=exp), str(tmp_path / "hyp.jsonl"))
    with pytest.raises(DataError, match=r"^none.arpa: no such file or directory$"):
        explain_errors.open_explainer(ScoreConfig(why=exp, lm="none.arpa"), str(tmp_path / "hyp.jsonl"))


def test_a_word_language_model_explains_word_errors_only(exp, lm):
    with pytest.raises(UsageError, match="--unit word"):
        explain_errors.open_explainer(ScoreConfig(why=exp, lm=lm, unit="char"), "-")


def test_character_errors_are_explained_if_characters_are_counted(rows, exp):
    given = decode_rows(rows([("ba b", "bé b")]), exp)
    results, _ = explain(given, exp, unit="char")
    assert [(e["ref"], e["hyp"], e["cause"]) for e in results[0]["errors"]] == [("a", "é", "acoustic")]
    results, _ = explain([{"id": "u", "text": "ba b", "pred_text": "bé é"}], exp, unit="char")
    assert [(e["ref"], e["hyp"]) for e in results[0]["errors"]] == [("a", "é"), ("b", "é")]


def test_one_report_has_rates_and_causes(rows, exp, lm):
    given = decode_rows(rows([("aé", "a?"), ("ab", "ab")]), exp, lm=lm, nbest=4)
    config = ScoreConfig(why=exp, lm=lm, worst=1, unit="word")
    explainer, _, _ = explain_errors.open_explainer(config, "-")
    report = score.create_report(config)
    results = list(score.run(config, explainer.run(given), report))
    assert [(row["subs"], len(row["errors"])) for row in results] == [(1, 1), (0, 0)]
    lines = list(report.lines())
    assert lines[0] == "%WER 50.00 [ 1 / 2, 0 ins, 0 del, 1 sub ]"
    assert lines[3] == "%WER 50.00 [ 1 / 2, 0 ins, 0 del, 1 sub ] best of 1"
    assert lines[5] == "%WER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ] best of 4"
    assert lines[9] == "oov         1  100.0%       1       0       0  aé -> ab"
    assert "u000 why   oov" in lines
