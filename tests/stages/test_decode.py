"""Decoding of rows: the fields they get, and rows that are dropped."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.decode import SCALE_WITH_LM, DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.emissions import CHUNK
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import decode
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))


def emission(text, hold=2):
    """Log-probabilities of a text: each symbol for `hold` steps, then a blank, all with high probability."""
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
    """Rows with the emission of each text, or with the arrays given instead."""

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
    ledger, experiment = Ledger(), Experiment(exp)
    resolved = resolve_settings(config, exp)
    return list(decode.run(resolved, rows, ledger, experiment, build_search(resolved, experiment))), ledger


@pytest.mark.parametrize("config", [DecodeConfig(greedy=True), DecodeConfig()], ids=str)
def test_an_emission_with_an_impossible_step_is_dropped(rows, exp, config):
    impossible = emission("ab")
    impossible[2] = -np.inf
    results, ledger = run(config, rows(["ab", "ab"], [emission("ab"), impossible]), exp)
    assert [row["pred_text"] for row in results] == ["ab"]
    assert [row["reason"] for row in ledger.rows] == ["impossible"]


@pytest.mark.parametrize("config", [DecodeConfig(greedy=True), DecodeConfig(), DecodeConfig(nj=3, beam=4)], ids=str)
def test_certain_emissions_give_their_texts_in_order(rows, exp, config):
    texts = ["ab a", "é", "", "aa b", "bé bé"] * (CHUNK // 2)
    results, ledger = run(config, rows(texts), exp)
    assert [r["pred_text"] for r in results] == texts
    assert [r["kept"] for r in results] == list(range(len(texts)))
    assert all(r["pred_score"] <= 0 for r in results)
    assert results[0].keys() == {"id", "text", "emission", "step_s", "kept", "pred_text", "pred_score"}
    assert not ledger.rows


def test_n_best_list_and_timestamps(rows, exp):
    results, _ = run(DecodeConfig(nbest=5, timestamps=True), rows(["ab a"]), exp)
    (row,) = results
    assert len(row["nbest"]) == 5
    assert row["nbest"][0]["text"] == row["pred_text"]
    assert row["nbest"][0]["score"] == row["pred_score"] == row["nbest"][0]["am"]
    assert [(w["word"], w["start"], w["end"]) for w in row["pred_words"]] == [("ab", 0.0, 0.1), ("a", 0.18, 0.22)]


def test_a_text_found_by_way_of_extra_spaces_gets_timestamps(rows, exp):
    """The only path ends with a space that the text does not have: its alignment needs a step of probability 0."""
    certain = np.full((2, len(VOCAB)), -np.inf, np.float32)
    certain[[0, 1], [VOCAB.symbols.index("a"), VOCAB.symbols.index(" ")]] = 0
    (row,), ledger = run(DecodeConfig(timestamps=True), rows(["a"], [certain]), exp)
    assert row["pred_text"] == "a" and not ledger.rows
    assert [(w["word"], w["start"]) for w in row["pred_words"]] == [("a", 0.0)]


def test_unusable_rows_are_dropped_with_their_reasons(rows, exp, tmp_path):
    bad = emission("ab")
    bad[1, 1] = np.nan
    given = rows(["ab"] * 5, [emission("ab"), bad, emission("ab"), emission("ab"), emission("ab")])
    given[2] = {"id": "u002", "text": "ab"}
    given[3]["emission"] = str(tmp_path / "gone.ark:7")
    results, ledger = run(DecodeConfig(), given, exp)
    assert [r["id"] for r in results] == ["u000", "u004"]
    assert {r["id"]: r["reason"] for r in ledger.rows} == {
        "u001": "not-a-number",
        "u002": "no-feats",
        "u003": "missing-archive",
    }


def test_an_empty_emission_has_an_empty_text(rows, exp):
    results, _ = run(DecodeConfig(timestamps=True), rows([""], [np.empty((0, 5), np.float32)]), exp)
    assert (results[0]["pred_text"], results[0]["pred_words"]) == ("", [])


def test_no_rows(exp):
    assert run(DecodeConfig(), [], exp)[0] == []


def test_a_missing_experiment_is_reported(rows, tmp_path):
    with pytest.raises(DataError, match="no trained network"):
        run(DecodeConfig(), rows(["a"]), str(tmp_path / "nothing"))


LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tba\n\n\\end\\\n"


@pytest.fixture
def lm(tmp_path):
    (tmp_path / "lm.arpa").write_text(LM)
    return str(tmp_path / "lm.arpa")


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


def uncertain(seed, steps, hold=3):
    """An emission in which no text is certain."""
    p = np.random.default_rng(seed).dirichlet(np.full(len(VOCAB), 0.4), -(-steps // hold)).repeat(hold, 0)[:steps]
    return np.log(p + 1e-5).astype(np.float32)


@pytest.mark.long
def test_the_rows_do_not_depend_on_the_number_of_threads(rows, exp, lm):
    given = rows([""] * 150, [uncertain(i, 5 + i % 60) for i in range(150)])
    config = {"lm": lm, "nbest": 3, "timestamps": True, "partials": 0.1, "beam": 8}
    separate, _ = run(DecodeConfig(**config), given, exp)
    assert len({row["pred_text"] for row in separate}) > 50
    for nj in (2, 5):
        assert run(DecodeConfig(nj=nj, **config), given, exp)[0] == separate


@pytest.mark.parametrize("piece_s", [0.02, 0.06, 0.5, 60.0])
def test_partials_grow_to_the_text_of_the_whole_utterance(rows, exp, lm, piece_s):
    given = rows([""] * 12, [uncertain(i, 10 * i) for i in range(12)])
    full, _ = run(DecodeConfig(lm=lm, nbest=4), given, exp)
    results, _ = run(DecodeConfig(lm=lm, nbest=4, partials=piece_s), given, exp)
    for row, expected in zip(results, full, strict=True):
        partials = row.pop("partials")
        assert row == expected
        ends = [p["end"] for p in partials]
        assert ends == sorted(set(ends))
        texts = [p["text"] for p in partials]
        assert all(a != b for a, b in pairwise(texts))
        if piece_s == 60.0:
            assert texts == ([row["pred_text"]] if row["pred_text"] else [])


def test_partials_need_a_beam_search(rows, exp):
    experiment, greedy = Experiment(exp), resolve_settings(DecodeConfig(greedy=True), exp)
    search = build_search(greedy, experiment)
    assert [h.text for h in search(emission("ab a"), 3)] == ["ab a"]
    with pytest.raises(UsageError, match="--partials needs the beam search"):
        decode.run(DecodeConfig(partials=0.12), rows(["ab a"]), Ledger(), experiment, search)


def test_partials_have_their_end_times(rows, exp):
    (row,), _ = run(DecodeConfig(partials=0.12), rows(["ab a"]), exp)
    # three steps of 20 ms per letter: two letters per piece
    assert row["partials"] == [{"end": 0.12, "text": "ab"}, {"end": 0.24, "text": "ab a"}]


def test_hotwords_are_boosted(rows, exp, tmp_path):
    lp = emission("ab")
    lp[3:5, 3], lp[3:5, 4] = np.log(0.40), np.log(0.45)
    given = rows(["ab"], [lp])
    assert run(DecodeConfig(), given, exp)[0][0]["pred_text"] == "aé"
    (tmp_path / "hot.txt").write_text("# names\n\nab\n")
    hot = str(tmp_path / "hot.txt")
    assert run(DecodeConfig(hotwords=hot), given, exp)[0][0]["pred_text"] == "ab"
    assert run(DecodeConfig(hotwords=hot, hotword_weight=0.01), given, exp)[0][0]["pred_text"] == "aé"
    (tmp_path / "hot.txt").write_text("ab\t0.01\n")
    assert run(DecodeConfig(hotwords=hot), given, exp)[0][0]["pred_text"] == "aé"


def test_only_words_of_the_lexicon_or_of_the_closed_model_are_written(rows, exp, lm, tmp_path):
    given = rows([""] * 40, [uncertain(i, 60) for i in range(40)])

    def written(**settings):
        return {w for row in run(DecodeConfig(**settings), given, exp)[0] for w in row["pred_text"].split()}

    assert not written(lm=lm) <= {"ab", "ba"}
    assert written(lm=lm, closed=True) == {"ab", "ba"}
    (tmp_path / "words.txt").write_text("éa\nab\n", "utf-8")
    words = str(tmp_path / "words.txt")
    assert written(lexicon=words) == {"éa", "ab"}
    assert written(lm=lm, lexicon=words) <= {"éa", "ab"}
    assert written(lm=lm, lexicon=words, closed=True) == {"ab"}


@pytest.mark.parametrize("partials", [0.06, 0.14, 0.18, 9.0])
def test_the_last_partial_ends_with_the_utterance(rows, exp, partials):
    # the text changes in the last piece, which is shorter than the others
    (row,) = run(DecodeConfig(partials=partials), rows(["ab a"], [emission("ab a")[:-1]]), exp)[0]
    assert row["partials"][-1] == {"end": 0.22, "text": "ab a"}
    ends = [p["end"] for p in row["partials"]]
    assert ends == sorted(set(ends)) and all(round(end / 0.02) % round(partials / 0.02) == 0 for end in ends[:-1])


@pytest.mark.parametrize(("piece_s", "steps"), [(0.001, 1), (0.029, 1), (0.031, 2), (0.055, 3)])
def test_pieces_last_the_nearest_number_of_steps_and_at_least_one(rows, exp, piece_s, steps):
    path = [VOCAB.symbols.index(c) for c in "ababab"]  # each step of 20 ms changes the text
    certain = np.full((6, len(VOCAB)), np.log(0.02), np.float32)
    certain[np.arange(6), path] = np.log(0.92)
    (row,), _ = run(DecodeConfig(partials=piece_s), rows(["ababab"], [certain]), exp)
    assert [p["end"] for p in row["partials"]] == [round(0.02 * end, 3) for end in range(steps, 7, steps)]


def test_only_times_need_the_duration_of_a_step(rows, exp):
    (row,) = rows(["ab"])
    del row["step_s"]
    assert run(DecodeConfig(nbest=2), [row], exp)[0][0]["pred_text"] == "ab"
    for settings in ({"timestamps": True}, {"partials": 0.1}):
        with pytest.raises(DataError, match="no trained network"):
            run(DecodeConfig(**settings), [row], exp)


def test_max_bad_is_the_limit_for_the_archive_of_emissions_too(rows, exp, tmp_path):
    given, archive = rows(["ab", "a"]), tmp_path / "new.ark"
    given[1]["emission"] = str(tmp_path / "gone.ark:7")

    def run_with(max_bad):
        config, experiment = resolve_settings(DecodeConfig(max_bad=max_bad), exp), Experiment(exp)
        search = build_search(config, experiment)
        return list(decode.run(config, given, Ledger(), experiment, search, ark=str(archive)))

    with pytest.raises(Ds2Error, match=r"decode: refused: 1 of 2 .*allowed 49 %"):
        run_with(49.0)
    assert not archive.exists()
    assert len(run_with(50.0)) == 1 and archive.exists()


def test_words_and_texts_get_confidences(rows, exp):
    sure, unsure = emission("ab a"), emission("ab a")
    unsure[3:5] = np.log([0.02, 0.02, 0.02, 0.46, 0.48])
    given = rows(["ab a", "ab a", ""], [sure, unsure, emission("")])
    results, _ = run(DecodeConfig(timestamps=True), given, exp)
    (first, second), (doubtful, third) = ([w["conf"] for w in row["pred_words"]] for row in results[:2])
    assert doubtful < 0.6 * first and second == pytest.approx(third, rel=0.1)
    for row in results[:2]:
        assert row["pred_conf"] == pytest.approx(np.mean([w["conf"] for w in row["pred_words"]]), abs=1e-4)
    assert (results[2]["pred_words"], results[2]["pred_conf"]) == ([], 1.0)


@pytest.mark.parametrize("greedy", [False, True])
def test_confidences_change_nothing_else(rows, exp, greedy):
    given = rows([""] * 20, [uncertain(i, 5 * i) for i in range(20)])
    settings = {"greedy": True} if greedy else {"nbest": 3, "partials": 0.1}
    plain, _ = run(DecodeConfig(**settings), given, exp)
    timed, _ = run(DecodeConfig(timestamps=True, **settings), given, exp)
    for before, after in zip(plain, timed, strict=True):
        confidences = [word["conf"] for word in after.pop("pred_words")]
        assert len(confidences) == len(after["pred_text"].split())
        assert all(0 < conf <= 1 for conf in [*confidences, after.pop("pred_conf")])
        assert after == before


def test_the_scale_of_confidences_is_the_tuned_one_only_with_a_language_model(rows, exp, lm):
    given = rows(["ab"], [uncertain(1, 12)])
    (Path(exp) / "decode.toml").write_text("confidence_scale = 0.5\n")

    def confidence(**settings):
        config = resolve_settings(DecodeConfig(timestamps=True, **settings), exp)
        return config.confidence_scale, run(config, given, exp)[0][0]["pred_conf"]

    assert confidence()[0] == 1.0 and confidence(lm=lm)[0] == 0.5
    assert confidence(lm=lm) == confidence(lm=lm, confidence_scale=0.5)
    assert confidence()[1] < confidence(confidence_scale=0.1)[1]
    (Path(exp) / "decode.toml").unlink()
    assert confidence(lm=lm)[0] == SCALE_WITH_LM
