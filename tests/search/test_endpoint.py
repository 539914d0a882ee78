"""Where the utterances of a stream end."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.config.base import build
from ds2cli.config.endpoint import EndpointConfig
from ds2cli.errors import UsageError
from ds2cli.search.endpoint import Endpoint, Endpointer, EndpointRules
from ds2cli.search.pauses import SILENT, find_cut
from ds2cli.text.vocab import BLANK, Vocab
from tests.search.test_pieces import STEP_S, VOCAB, emission

RULES = EndpointRules(silence_s=0.5, no_speech_s=1.0, length_s=2.0)


def find(path, size=10**6, rules=RULES):
    endpointer, log_probs = Endpointer(VOCAB, STEP_S, rules), emission(path)
    return [e for i in range(0, len(path), size) for e in endpointer.advance(log_probs[i : i + size])]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", []),
        ("aba", []),
        ("ab____", []),
        ("ab_____", [(7, "silence", 0, 2)]),
        # a space is silence; an uncertain blank is not, but it is no word either
        ("ab--___ba", [(7, "silence", 0, 2)]),
        ("ab____._____", [(12, "silence", 0, 7)]),
        ("......_____", []),
        ("......__________", [(16, "no-speech", 0, 6)]),
        # silence only, and again; the next utterance begins where the last one ended
        ("__________", [(10, "no-speech", None, None)]),
        ("_" * 25, [(10, "no-speech", None, None), (20, "no-speech", None, None)]),
        ("ab_____" + "_" * 10, [(7, "silence", 0, 2), (17, "no-speech", None, None)]),
        ("ab________b_____", [(7, "silence", 0, 2), (16, "silence", 10, 11)]),
        # too long: the middle of the longest pause, or of one between words; what follows is looked at again
        ("aaaaaaa_aaa___aaaaaaaa", [(12, "length", 0, 11)]),
        ("aaaaaaa_-_aa____aaaaaaaa", [(8, "length", 0, 7)]),
        ("a" * 45, [(4, "length", 0, 4), (8, "length", 4, 8), (12, "length", 8, 12), (16, "length", 12, 16),
                    (20, "length", 16, 20), (24, "length", 20, 24), (28, "length", 24, 28)]),
        ("aaaaaaa___aaaaaa____ab_____", [(8, "length", 0, 7), (27, "silence", 10, 22)]),
    ],
)  # fmt: skip
def test_ends_by_construction(path, expected):
    assert [tuple(e) for e in find(path)] == expected


def test_a_rule_of_0_s_is_off():
    off = EndpointRules(0.0, 0.0, 0.0)
    assert find("_" * 50 + "a" + "_" * 50 + "a" * 50, rules=off) == []
    assert [e.reason for e in find("_" * 10 + "a" + "_" * 40, rules=EndpointRules(0.0, 1.0, 0.0))] == ["no-speech"]
    assert find("a" + "_" * 60, rules=EndpointRules(0.0, 1.0, 2.0))[0].reason == "length"


def test_a_rule_shorter_than_a_step_is_of_one_step():
    assert [e[:2] for e in find("aa_a", rules=EndpointRules(0.001, 0.001, 0.001))] == [
        (1, "length"), (2, "length"), (3, "no-speech"), (4, "length"),
    ]  # fmt: skip


def test_what_is_known_of_the_utterance_that_has_not_ended():
    endpointer = Endpointer(VOCAB, STEP_S, RULES)
    endpointer.advance(emission("ab_____..b_"))
    assert (endpointer.start, endpointer.first, endpointer.last, endpointer.has_speech) == (7, 7, 10, True)
    endpointer.advance(emission("_____"))
    assert (endpointer.start, endpointer.first, endpointer.last, endpointer.has_speech) == (15, None, None, False)


def test_an_alphabet_without_a_space():
    endpointer = Endpointer(Vocab((BLANK, "日", "本")), STEP_S, RULES)
    probs = np.full((7, 3), 0.01)
    probs[:2, 1] = probs[2:, 0] = 0.98
    assert endpointer.advance(np.log(probs).astype(np.float32)) == [Endpoint(7, "silence", 0, 2)]


def plain(log_probs, rules):
    """The same rules, each utterance looked at from its start at every step."""
    silent = np.exp(log_probs[:, :2].astype(np.float64)).sum(axis=1)
    letter = log_probs.argmax(axis=1) > 1
    silence, no_speech, length = (
        max(round(s / STEP_S), 1) if s else 10**9 for s in (rules.silence_s, rules.no_speech_s, rules.length_s)
    )
    found, begin, end = [], 0, 1
    while end <= len(silent):
        sounds = np.flatnonzero(silent[begin:end] < SILENT) + begin
        last = int(sounds[-1]) + 1 if len(sounds) else begin
        has_speech = letter[begin:end].any()
        step, reason = end, None
        if end > last and end - last >= (silence if has_speech else no_speech):
            reason = "silence" if has_speech else "no-speech"
        elif end - begin >= length:
            reason = "length"
            step = begin + find_cut(silent[begin:end].tolist(), (log_probs[begin:end, 1] >= np.log(0.5)).tolist())
        if reason:
            sounds = sounds[sounds < step]
            found.append((step, reason, *((int(sounds[0]), int(sounds[-1]) + 1) if len(sounds) else (None, None))))
            begin = end = step
        end += 1
    return found


@pytest.mark.parametrize("seed", range(30))
def test_it_agrees_with_a_plain_reference_in_chunks_of_any_length(seed):
    rng = np.random.default_rng(seed)
    rules = EndpointRules(*(float(rng.choice([0, *values])) for values in ([0.2, 0.5], [0.4, 1], [0.7, 2, 5])))
    path = "".join(
        "".join(rng.choice([*"ab.-_"], rng.integers(0, 20 if seed % 3 else 60)))
        + "_" * int(rng.choice([0, 1, 3, 5, 7, 12, 40]))
        for _ in range(30)
    )
    expected = plain(emission(path), rules)
    assert [tuple(e) for e in find(path, rules=rules)] == expected
    for size in (1, 4, 17):
        assert [tuple(e) for e in find(path, size, rules)] == expected
    endpointer, begin, found = Endpointer(VOCAB, STEP_S, rules), 0, []
    while begin < len(path):
        size = int(rng.integers(0, 9))
        found += endpointer.advance(emission(path)[begin : begin + size])
        begin += size
    assert [tuple(e) for e in found] == expected


def test_the_rules_of_the_settings():
    assert EndpointRules.from_config(EndpointConfig()) == EndpointRules()
    config = build(EndpointConfig, ("test", {"endpoint_silence": 0, "endpoint_no_speech": 2, "endpoint_length": 30}))
    assert EndpointRules.from_config(config) == EndpointRules(0.0, 2.0, 30.0)
    with pytest.raises(UsageError, match="expected 0 to 60, got -1"):
        build(EndpointConfig, ("test", {"endpoint_silence": -1}))
