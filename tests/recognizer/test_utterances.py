"""Results of a stream of emissions: partial texts, and each utterance when it has ended."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.config.decode import TranscribeConfig
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.search.beam import BeamSearch
from ds2cli.search.endpoint import EndpointRules
from ds2cli.search.greedy import GreedySearch
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
STEP_S = 0.1
RULES = EndpointRules(silence_s=0.5, no_speech_s=1.0, length_s=3.0)
NO_RULES = EndpointRules(0, 0, 0)
CONFIG = TranscribeConfig(timestamps=True, confidence_scale=1.0, shift_ms=0.0, extend_ms=0.0)


def emission(path, certain=0.97):
    """Log-probabilities of a path such as `a__b`: _ is blank, - a space."""
    probs = np.full((len(path), 4), (1 - certain) / 3)
    for i, symbol in enumerate(path):
        probs[i, "_-ab".index(symbol)] = certain
    return np.log(probs).astype(np.float32)


def searches():
    return {"greedy": GreedySearch(VOCAB), "beam": BeamSearch.build(VOCAB, beam=8)}


@pytest.fixture(params=["greedy", "beam"])
def search(request):
    return searches()[request.param]


def listen(search, log_probs, sizes, rules=RULES, config=CONFIG, **options):
    """All results of an emission in pieces of these sizes, used in turn."""
    stream, results, begin, turn = UtteranceStream(config, search, VOCAB, STEP_S, rules, **options), [], 0, 0
    while begin < len(log_probs):
        size = sizes[turn % len(sizes)]
        results += stream.advance(log_probs[begin : begin + size])
        begin, turn = begin + size, turn + 1
    return results + stream.finish()


def finals(results):
    return [r for r in results if r.final]


def test_what_is_said_is_shown_and_then_final(search):
    results = listen(search, emission("__a_b__-b______"), [1])
    partials = [(r.text, r.start_s) for r in results if not r.final]
    assert list(dict.fromkeys(partials)) == [("a", 0.2), ("ab", 0.2), ("ab b", 0.2)]
    # when a text is first shown, and again when more of it is stable
    assert [r.end_s for r in results if r.text == "ab"] == [0.5, 0.7]
    (last,) = finals(results)
    assert results[-1] == last
    assert (last.text, last.start_s, last.end_s) == ("ab b", 0.2, 0.9)
    assert [(w["word"], w["start"], w["end"]) for w in last.words] == [("ab", 0.2, 0.5), ("b", 0.8, 0.9)]
    assert 0.5 < last.confidence <= 1
    assert last.reason == "silence"


def test_times_are_those_of_the_stream(search):
    path = "a______" + "_" * 20 + "bb-a_____" + "b"
    results = finals(listen(search, emission(path), [4]))
    assert [(r.text, r.start_s, r.end_s, r.reason) for r in results] == [
        ("a", 0.0, 0.1, "silence"),
        ("b a", 2.7, 3.1, "silence"),
        ("b", 3.6, 3.7, "end"),
    ]
    assert [w["start"] for r in results for w in r.words] == [0.0, 2.7, 3.0, 3.6]


@pytest.mark.parametrize("sizes", [[1], [2], [7], [0, 1, 13, 0, 40], [1000]])
def test_finals_do_not_depend_on_the_pieces(search, sizes):
    rng = np.random.default_rng(0)
    # pauses, words longer than the longest utterance, silence
    path = "".join(
        "".join(rng.choice(list("ab_"), int(rng.integers(1, 50)))) + rng.choice(["-", "_" * int(rng.integers(0, 20))])
        for _ in range(40)
    )
    log_probs = emission(path, 0.8) + rng.normal(size=(len(path), 4)).astype(np.float32) * 0.3
    whole = listen(search, log_probs, [len(path)], partials=False)
    assert len(whole) > 10
    assert {r.reason for r in whole} >= {"length"}
    assert finals(listen(search, log_probs, sizes)) == whole


def test_without_rules_the_text_is_that_of_the_whole(search):
    log_probs = emission("__a_b____-b______" + "_" * 30 + "-ab", 0.7)
    (result,) = finals(listen(search, log_probs, [3], NO_RULES))
    (expected,) = search(log_probs, 1)
    assert result.text == expected.text
    assert result.reason == "end"


def test_silence_gives_nothing(search):
    assert listen(search, emission("_" * 100), [9]) == []
    assert listen(search, emission(""), [9]) == []


def test_a_long_utterance_is_divided_and_loses_nothing():
    # 20 words without a pause of half a second
    path = "ab__-" * 20
    results = finals(listen(GreedySearch(VOCAB), emission(path), [6]))
    assert [r.reason for r in results][:-1] == ["length"] * (len(results) - 1)
    assert " ".join(r.text for r in results) == " ".join(["ab"] * 20)


def test_partials_can_be_left_out(search):
    results = listen(search, emission("a_b_a________b"), [1], partials=False)
    assert [r.final for r in results] == [True, True]


def test_stable_is_what_has_not_changed_for_a_while():
    results = [r for r in listen(GreedySearch(VOCAB), emission("aa____b"), [1]) if not r.final]
    shown = [(r.text, r.text[: r.stable], r.end_s) for r in results]
    # 0.2 s, which are two steps
    assert shown == [("a", "", 0.1), ("a", "a", 0.3), ("ab", "a", 0.7)]


def test_nbest_lists_of_finals():
    config = TranscribeConfig(nbest=3)
    (result,) = finals(listen(BeamSearch.build(VOCAB, beam=8), emission("a_b", 0.6), [1], config=config))
    assert len(result.nbest) == 3
    assert result.words is None
    assert result.confidence is None


def test_what_no_allowed_word_fits_is_said_and_does_not_end_the_stream():
    search = BeamSearch.build(VOCAB, beam=8, words=["a"])
    forbidden = np.full((3, 4), -np.inf, np.float32)
    forbidden[:, 3] = 0  # certainly b
    silence = emission("_" * 8)
    results = listen(search, np.concatenate([forbidden, silence, emission("a"), silence]), [1], partials=False)
    assert [(r.text, r.final, r.reason) for r in results] == [("", False, "impossible"), ("a", True, "silence")]
