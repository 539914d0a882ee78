"""Resolving the settings of the search, building it, and checking language model and word lists."""

from __future__ import annotations

import math

import pytest

from ds2cli.config.decode import LIMITS, WEIGHTS, DecodeConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.recognizer.decoder import (
    build_beam_search,
    build_search,
    describe_search,
    pruning_limits,
    resolve_settings,
)
from ds2cli.recognizer.experiment import Experiment
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tba\n\n\\end\\\n"


@pytest.fixture
def exp(tmp_path):
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    return str(tmp_path / "exp")


@pytest.fixture
def lm(tmp_path):
    (tmp_path / "lm.arpa").write_text(LM)
    return str(tmp_path / "lm.arpa")


def weights(config):
    return config.alpha, config.beta, config.unknown, config.unknown_letter


def test_options_override_tuned_values_which_override_defaults(exp, lm, tmp_path):
    assert weights(resolve_settings(DecodeConfig(lm=lm), exp)) == (0.8, 1.0, -4.0, -1.0)
    tuned = "alpha = 0.3\nbeta = 2\nunknown_letter = -2\nbeam = 16\nbeam_gap = 9\n[made_by]\nx = 1\n"
    (tmp_path / "exp" / "decode.toml").write_text(tuned)
    resolved = resolve_settings(DecodeConfig(lm=lm), exp)
    assert (weights(resolved), resolved.beam, resolved.beam_gap, resolved.prune_top) == (
        (0.3, 2.0, -4.0, -2.0),
        16,
        9.0,
        40,
    )
    assert (
        describe_search(resolved, exp) == f"{lm}, alpha 0.3, beta 2, unknown -4, unknown_letter -2 ({exp}/decode.toml)"
    )
    given = resolve_settings(DecodeConfig(lm=lm, alpha=1.5, beam=8), exp)
    assert (given.alpha, given.beta, given.beam) == (1.5, 2.0, 8)


def test_weights_tuned_with_another_model_cause_a_warning(exp, lm, tmp_path):
    warned = []
    tuned = tmp_path / "exp" / "decode.toml"
    for model in ("elsewhere/lm.bin", "lm.arpa.gz"):
        tuned.write_text(f'alpha = 0.3\n[made_by]\nlm = "{model}"\n')
        resolve_settings(DecodeConfig(lm=lm), exp, warned.append)
    assert warned == []
    tuned.write_text('alpha = 0.3\n[made_by]\nlm = "chars.bin"\n')
    resolve_settings(DecodeConfig(lm=lm, alpha=1.0), exp, warned.append)
    assert warned == []
    resolve_settings(DecodeConfig(lm=lm), exp, warned.append)
    assert warned == [
        f"{exp}/decode.toml was tuned with chars.bin, not with {lm} (ds2 decode --tune tunes for this model)"
    ]


def test_tuned_values_do_not_apply_without_a_language_model(exp, tmp_path):
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nbeam = 16\n")
    without_lm = resolve_settings(DecodeConfig(), exp)
    assert (weights(without_lm), without_lm.beam) == ((None,) * 4, 64)
    assert describe_search(without_lm, exp) == ""


def test_resolved_settings_resolve_to_themselves(exp, lm):
    for config in (DecodeConfig(), DecodeConfig(lm=lm), DecodeConfig(lm=lm, closed=True), DecodeConfig(greedy=True)):
        once = resolve_settings(config, exp)
        assert resolve_settings(once, exp) == once


def test_a_setting_that_is_not_tunable_is_refused_in_decode_toml(exp, lm, tmp_path):
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nnbest = 3\n")
    with pytest.raises(UsageError, match=r"decode.toml: 'nbest' is not a setting of ds2 decode --tune: expected alpha"):
        resolve_settings(DecodeConfig(lm=lm), exp)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.0}, "--alpha only applies with a language model"),
        ({"beta": 0.0}, "--beta only applies with a language model"),
        ({"unknown_letter": -1.0}, "--unknown-letter only applies with a language model"),
        ({"closed": True}, "--closed only applies with a language model"),
        ({"greedy": True, "lm": "x"}, "--lm does not apply with --greedy"),
        ({"greedy": True, "nbest": 3}, "--nbest needs the beam search"),
        ({"greedy": True, "closed": True}, "--closed needs the beam search"),
        ({"greedy": True, "hotwords": "x"}, "--hotwords needs the beam search"),
        ({"hotword_weight": 2.0}, "--hotword-weight only applies with --hotwords"),
        ({"greedy": True, "lexicon": "x"}, "--lexicon needs the beam search"),
        ({"greedy": True, "partials": 1.0}, "--partials needs the beam search"),
        (
            {"lm": "x", "closed": True, "unknown": -3.0},
            "--unknown has no effect with --closed, which writes no unknown words",
        ),
        ({"lm": "x", "closed": True, "unknown_letter": 0.0}, "--unknown-letter has no effect with --closed"),
    ],
    ids=str,
)
def test_settings_without_effect_are_refused(exp, settings, message):
    with pytest.raises(UsageError, match=message):
        resolve_settings(DecodeConfig(**settings), exp)


def test_the_settings_reach_the_search(exp, lm):
    config = resolve_settings(
        DecodeConfig(lm=lm, unknown_letter=-0.5, beam=7, beam_gap=3.0, prune_top=2, prune_mass=0.5), exp
    )
    options = build_search(config, Experiment(exp)).options
    assert (options.alpha, options.beta, options.unknown, options.unknown_letter) == (0.8, 1.0, -4.0, -0.5)
    assert (options.beam, options.beam_gap, options.prune_top, options.prune_mass) == (7, 3.0, 2, 0.5)
    assert options.sentence_end and options.prune_logp == -math.inf
    unended = build_search(resolve_settings(DecodeConfig(lm=lm, sentence_end=False), exp), Experiment(exp)).options
    assert not unended.sentence_end
    closed = build_search(resolve_settings(DecodeConfig(lm=lm, closed=True), exp), Experiment(exp)).options
    assert closed.unknown == -math.inf


def test_a_language_model_of_other_texts_is_refused(exp, lm, tmp_path):
    (tmp_path / "lm.arpa").write_text(LM.replace("ab", "AB").replace("ba", "BA"))
    with pytest.raises(DataError, match=r"lm.arpa: the case differs: the network cannot write 100.0 % of .* \("):
        build_search(resolve_settings(DecodeConfig(lm=lm), exp), Experiment(exp))


def test_doubts_about_a_language_model_are_reported_once(exp, lm, tmp_path):
    (tmp_path / "lm.arpa").write_text(LM.replace("1=5", "1=6").replace("\n\n\\end", "\n-1.0\txy\n\n\\end"))
    warned = []
    build_search(resolve_settings(DecodeConfig(lm=lm), exp), Experiment(exp), warned.append)
    (line,) = warned
    assert line.startswith(f"{lm}: the alphabets differ: ") and "'xy'" in line
    warned.clear()
    build_beam_search(resolve_settings(DecodeConfig(lm=lm), exp), Experiment(exp), warned.append, ["ab bb", "ba ab bb"])
    assert any("out of vocabulary, such as 'bb' (2)" in line for line in warned)


def test_words_of_a_lexicon_that_the_network_cannot_write_are_reported(exp, tmp_path):
    (tmp_path / "words.txt").write_text("ab\nAB\nxy\n")
    warned = []
    search = build_search(
        resolve_settings(DecodeConfig(lexicon=str(tmp_path / "words.txt")), exp), Experiment(exp), warned.append
    )
    assert search.lexicon.closed
    assert warned == [f"{tmp_path}/words.txt: the network cannot write 1 of its words, such as 'xy'"]


def test_every_weight_and_limit_reaches_the_search(exp, lm):
    given = {
        "alpha": 1.5, "beta": 0.25, "unknown": -3.0, "unknown_letter": -0.5,
        "beam": 9, "beam_gap": 7.0, "prune_mass": 0.75, "prune_top": 3, "prune_logp": -2.0,
    }  # fmt: skip
    assert {*WEIGHTS, *LIMITS} <= set(given)
    options = build_beam_search(resolve_settings(DecodeConfig(lm=lm, **given), exp), Experiment(exp)).options
    assert {name: getattr(options, name) for name in given} == given


def test_a_value_of_zero_is_not_replaced(exp, lm, tmp_path):
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nbeta = 0\nbeam_gap = 0\n")
    resolved = resolve_settings(DecodeConfig(lm=lm, alpha=0.0), exp)
    assert (resolved.alpha, resolved.beta, resolved.beam_gap) == (0.0, 0.0, 0.0)


def test_a_description_names_decode_toml_only_if_a_value_is_from_it(exp, lm, tmp_path):
    closed = resolve_settings(DecodeConfig(lm=lm, closed=True), exp)
    assert describe_search(closed, exp) == f"{lm}, alpha 0.8, beta 1, closed"
    (tmp_path / "exp" / "decode.toml").write_text("alpha = 0.3\nbeam = 16\n")
    given = resolve_settings(DecodeConfig(lm=lm, alpha=1.5, beam=8), exp)
    assert describe_search(given, exp) == f"{lm}, alpha 1.5, beta 1, unknown -4, unknown_letter -1"


def test_one_text_of_a_greedy_search_may_be_requested_as_a_list(exp):
    assert resolve_settings(DecodeConfig(greedy=True, nbest=1), exp).nbest == 1


def test_a_lexicon_that_does_not_fit_the_network_is_named(exp, tmp_path):
    Vocab((BLANK, "打", "开")).save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "words.txt").write_text("打开\n")
    settings = resolve_settings(DecodeConfig(lexicon=str(tmp_path / "words.txt")), exp)
    with pytest.raises(DataError, match=r"words\.txt: the network's alphabet has no space"):
        build_search(settings, Experiment(exp))


def test_a_pruning_limit_of_zero_is_a_limit():
    zeros = dict.fromkeys(("beam_gap", "prune_mass"), 0.0)
    assert pruning_limits(DecodeConfig(**zeros)) == LIMITS | zeros
