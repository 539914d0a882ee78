"""ROVER: votes known by construction, plain references, and NIST's rover."""

from __future__ import annotations

import random
import subprocess

import numpy as np
import pytest

from ds2cli.kernels.rover import BLOCK, NULL, build_network_ref, build_networks
from ds2cli.kernels.rover_vote import AVERAGE, MAXIMUM, SHARE, VOTES, vote, vote_ref
from ds2cli.metrics.rover import Hypothesis, Places, VoteRule, combine
from ds2cli.stages.sclite import find_program

ROVER = find_program("rover")
needs_sctk = pytest.mark.skipif(ROVER is None, reason="needs SCTK's rover (utils/install_sctk.sh)")
NIST_METHODS = {"votes": "meth1", "average": "meth1", "maximum": "maxconf", "share": "avgconf"}


def texts(*hypotheses, rule=None, places=None):
    """The combined text of hypotheses without confidences."""
    (voted,) = combine([[Hypothesis(text.split()) for text in hypotheses]], rule or VoteRule(), places)
    return " ".join(word.word for word in voted)


@pytest.mark.parametrize(
    ("hypotheses", "combined"),
    [
        # the majority has the word, or has none
        (["a x c", "a b c", "a b c"], "a b c"),
        (["a b c", "a c", "a c"], "a c"),
        (["a c", "a b c", "a b c"], "a b c"),
        (["a b", "a b c d", "a b"], "a b"),
        # all differ: the first system has it
        (["a x", "a y", "a z"], "a x"),
        (["z", "y"], "z"),
        # one against one, a word wins over the empty word, whoever has it
        (["a", ""], "a"),
        (["", "a"], "a"),
        (["a b", "b c"], "a b c"),
        # two against two: the word that the others insert is before the empty word of the systems before
        (["", "", "a", "a"], "a"),
        (["a", "", "", "a"], "a"),
        # the third word of a place is aligned with the equal word of the second system
        (["x", "b", "b"], "b"),
        (["x c", "b c", "b"], "b c"),
        (["", "", "a"], ""),
        (["", "", ""], ""),
        (["été", "ête", "été"], "été"),
        (["你 好", "你 号", "泥 好"], "你 好"),
        # case counts, as with rover -s
        (["A", "a", "a"], "a"),
    ],
)
def test_votes(hypotheses, combined):
    assert texts(*hypotheses) == combined


def test_equal_systems_change_nothing_and_agree_everywhere():
    places = Places()
    assert texts("the cat sat", "the cat sat", places=places) == "the cat sat"
    assert places == Places(total=3, unanimous=3, ties=0)
    assert texts("the cat", "the hat", "the", places=places) == "the cat"
    assert places == Places(total=5, unanimous=4, ties=1)


CONFIDENCES = [Hypothesis(["a"], [0.2]), Hypothesis(["a"], [0.4]), Hypothesis(["b"], [0.9])]


@pytest.mark.parametrize(
    ("rule", "word", "conf"),
    [
        (VoteRule("votes"), "a", 0.3),
        (VoteRule("average", alpha=1.0), "a", 0.3),
        # 0.5 · 2/3 + 0.5 · 0.3 = 0.483 and 0.5 · 1/3 + 0.5 · 0.9 = 0.617
        (VoteRule("average", alpha=0.5), "b", 0.9),
        # 0.7 · 2/3 + 0.3 · 0.4 = 0.587 and 0.7 · 1/3 + 0.3 · 0.9 = 0.503
        (VoteRule("maximum", alpha=0.7), "a", 0.3),
        (VoteRule("maximum", alpha=0.5), "b", 0.9),
        # 0.5 · 2/3 + 0.5 · 0.6/1.5 = 0.533 and 0.5 · 1/3 + 0.5 · 0.9/1.5 = 0.467
        (VoteRule("share", alpha=0.5), "a", 0.3),
        (VoteRule("share", alpha=0.0), "b", 0.9),
    ],
)
def test_confidences_weigh_votes(rule, word, conf):
    ((voted,),) = combine([CONFIDENCES], rule)
    assert voted.word == word
    assert voted.votes == (2 if word == "a" else 1)
    assert voted.conf == pytest.approx(conf)


@pytest.mark.parametrize(("null_conf", "combined"), [(0.7, []), (0.5, ["a"])])
def test_the_empty_word_has_a_confidence_too(null_conf, combined):
    hypotheses = [Hypothesis(["a"], [0.6]), Hypothesis([])]
    (voted,) = combine([hypotheses], VoteRule("average", alpha=0.5, null_conf=null_conf))
    assert [word.word for word in voted] == combined


def almost_tied(conf):
    """After "e": "x", the empty word and "a" with a vote each, and the confidence of "a" is that of the empty word."""
    times = [(0.0, 1.0), (1.0, 2.0)]
    systems = (["e", "x"], [1.0, 0.0]), (["e"], [1.0]), (["e", "a"], [1.0, conf])
    return [Hypothesis(words, confs, times[: len(words)]) for words, confs in systems]


# in float32, 0.6 and 0.3 are above the same numbers in float64, 0.7 and 0.9 below, 0.5 is the same: the first one wins
ALMOST_TIED = [(0.6, "e a"), (0.3, "e a"), (0.7, "e"), (0.9, "e"), (0.5, "e")]


@pytest.mark.parametrize("method", ["average", "maximum", "share"])
@pytest.mark.parametrize(("conf", "combined"), ALMOST_TIED)
def test_float32_decides_ties_with_the_empty_word_as_in_nists_rover(conf, combined, method):
    (voted,) = combine([almost_tied(conf)], VoteRule(method, 0.4, conf))
    assert " ".join(word.word for word in voted) == combined


def test_confidences_of_zero_leave_the_votes():
    """NIST's rover divides by their sum, which is zero, and ends."""
    hypotheses = [Hypothesis([word], [0.0]) for word in "xaa"]
    ((voted,),) = combine([hypotheses], VoteRule("share", alpha=0.5))
    assert voted.word == "a"


def test_times_are_averages_over_the_voters_and_can_decide_the_alignment():
    first = Hypothesis(["a", "b"], [0.5, 0.6], [(0.0, 0.2), (0.5, 0.9)])
    second = Hypothesis(["b", "c"], [0.7, 0.9], [(0.1, 0.2), (0.5, 0.8)])
    (by_spelling,) = combine([[first, second]], VoteRule())
    assert [word.word for word in by_spelling] == ["a", "b", "c"]
    assert by_spelling[1] == ("b", 2, pytest.approx(0.65), pytest.approx(0.3), pytest.approx(0.55))
    (by_time,) = combine([[first, second]], VoteRule(by_time=True))
    assert [word.word for word in by_time] == ["a", "b"]


def test_what_a_rule_needs_must_be_there():
    bare = [Hypothesis(["a"]), Hypothesis(["a"], [0.5])]
    for rule in (VoteRule("average"), VoteRule(by_time=True)):
        with pytest.raises(ValueError, match="lacks the confidences or times"):
            combine([bare], rule)
        # nothing is missing where there are no words
        assert combine([[Hypothesis([]), Hypothesis([])]], rule) == [[]]
    ((voted,),) = combine([bare], VoteRule())
    assert voted == ("a", 2, None, None, None)
    with pytest.raises(ValueError, match="another number of words"):
        combine([[Hypothesis(["a"], [0.5, 0.5]), Hypothesis([])]], VoteRule())
    for count in (1, 256):
        with pytest.raises(ValueError, match=f"{count} systems: expected 2 to 255"):
            combine([[Hypothesis(["a"])] * count], VoteRule())
    assert combine([], VoteRule()) == []


def test_a_network_of_many_systems():
    """More arcs in a place than a byte could count if it had a sign."""
    hypotheses = [Hypothesis([f"w{k}", "z"]) for k in range(127)] + [Hypothesis(["q", "z"])] * 128
    (voted,) = combine([hypotheses], VoteRule())
    assert [(word.word, word.votes) for word in voted] == [("q", 128), ("z", 255)]


def random_systems(rng, K, count, letters="abc", longest=8, may_be_empty=False):
    """`count` utterances of K hypotheses that share most of their words; confidences and times are exact in float32."""
    utterances = []
    while len(utterances) < count:
        base = [rng.choice(letters) for _ in range(rng.randint(0, longest))]
        hypotheses = []
        for _ in range(K):
            words = []
            for word in base:
                kind = rng.random()
                if kind >= 0.15:
                    words.append(rng.choice(letters) if kind < 0.3 else word)
                if 0.3 <= kind < 0.4:
                    words.append(rng.choice(letters))
            confs = [rng.randint(1, 64) / 64 for _ in words]
            times, start = [], 10.0
            for _ in words:
                end = start + rng.randint(1, 4) / 8
                times.append((start, end))
                start = end
            hypotheses.append(Hypothesis(words, confs, times))
        if any(h.words for h in hypotheses) if may_be_empty else all(h.words for h in hypotheses):
            utterances.append(hypotheses)
    return utterances


@pytest.mark.parametrize("by_time", [False, True])
@pytest.mark.parametrize(("K", "count", "longest"), [(2, 100, 8), (3, 100, 8), (5, 60, 8), (3, 2, 320)])
def test_networks_are_those_of_the_reference(K, count, longest, by_time):
    """The last case is one of networks of several blocks, whose costs are computed twice."""
    utterances = random_systems(random.Random(K), K, count, longest=longest, may_be_empty=True)
    hypotheses = [h for utterance in utterances for h in utterance]
    ids = np.array([ord(word) for h in hypotheses for word in h.words], np.int32)
    ends = np.cumsum([len(h.words) for h in hypotheses], dtype=np.int64)
    times = np.array([time for h in hypotheses for time in h.times], np.float64).reshape(-1, 2)
    sets, set_ends = build_networks(ids, ends, K, times, by_time)
    begin = 0
    for p, end in enumerate(set_ends):
        first, last = ends[p * K - 1] if p else 0, ends[p * K + K - 1]
        own_times = times[first:last] if by_time else None
        network = build_network_ref(ids[first:last], ends[p * K : p * K + K] - first, own_times)
        assert [[i if i == NULL else i - first for i in words] for words in sets[begin:end].tolist()] == network
        begin = end
    assert begin == len(sets)
    assert longest < 2 * BLOCK or max(len(h.words) for h in hypotheses) > BLOCK


@pytest.mark.parametrize("method", [VOTES, AVERAGE, MAXIMUM, SHARE])
def test_winners_are_those_of_the_reference(method):
    rng = np.random.default_rng(method)
    for _ in range(200):
        K = int(rng.integers(2, 6))
        ids = rng.integers(0, 3, K).astype(np.int32)
        words = np.where(rng.random(K) < 0.3, NULL, np.arange(K)).astype(np.int32)
        confs = rng.integers(0, 5, K) / 4
        alpha, null_conf = float(rng.choice([0.0, 0.5, 1.0])), float(rng.choice([0.0, 0.5, 1.0]))
        (winner,), (votes,), (tie,) = vote(words[None], ids, confs, method, alpha, null_conf)
        named = [int(ids[k]) if words[k] != NULL else NULL for k in range(K)]
        place, count, _, is_tie = vote_ref(named, confs.tolist(), method, alpha, null_conf)
        assert (winner, votes, tie) == (place, count, is_tie)


def nist_rover(folder, utterances, method, rule):
    """The words of NIST's rover with their averages: [(word, start, end, conf)] for each utterance.

    Each utterance is a recording that begins with a word that all systems have, and then 9 s of silence: rover parts it
    there, and so accepts that a system has no other word.
    """
    command = [ROVER, "-m", method, "-s", "-f", "0", "-a", str(rule.alpha), "-c", str(rule.null_conf)]
    for k in range(len(utterances[0])):
        lines = []
        for p, utterance in enumerate(utterances):
            lines.append(f"u{p:05} 1 0 1 begin 1")
            for word, (start, end), conf in zip(
                utterance[k].words, utterance[k].times, utterance[k].confs, strict=True
            ):
                lines.append(f"u{p:05} 1 {start} {end - start} {word} {conf}")
        (folder / f"{k}.ctm").write_text("\n".join(lines) + "\n")
        command += ["-h", str(folder / f"{k}.ctm"), "ctm"]
    command += ["-T"] * rule.by_time
    subprocess.run([*command, "-o", str(folder / "out.ctm")], check=True, capture_output=True)
    found = [[] for _ in utterances]
    for line in (folder / "out.ctm").read_text().splitlines():
        name, _, start, duration, word, conf = line.split()
        if word != "begin":
            found[int(name[1:])].append((word, float(start), float(start) + float(duration), float(conf)))
    return found


def assert_same(found, utterances, rule):
    for nist, voted in zip(found, combine(utterances, rule), strict=True):
        assert [word for word, *_ in nist] == [word.word for word in voted]
        averages = [(word.start, word.end, word.conf) for word in voted]
        assert np.allclose([values for _, *values in nist], averages, rtol=0, atol=2e-3)


@needs_sctk
@pytest.mark.peer
@pytest.mark.parametrize("by_time", [False, True])
@pytest.mark.parametrize("method", list(NIST_METHODS))
@pytest.mark.parametrize("K", [2, 3, 4])
def test_words_are_those_of_nists_rover(tmp_path, K, method, by_time):
    """Of 3 letters and with few values of confidences, so that many alignments and scores are tied."""
    rng = random.Random(10 * K + by_time)
    utterances = random_systems(rng, K, 300)
    places = Places()
    weights = [(1.0, 0.0)] if method == "votes" else [(0.5, 0.5), (rng.random(), rng.random())]
    for alpha, null_conf in weights:
        rule = VoteRule(method, alpha, null_conf, by_time)
        assert_same(nist_rover(tmp_path, utterances, NIST_METHODS[method], rule), utterances, rule)
        combine(utterances, rule, places)
    assert method != "votes" or places.ties > 20


@needs_sctk
@pytest.mark.peer
def test_systems_without_words_vote_as_in_nists_rover(tmp_path):
    """One run for each utterance: otherwise NIST's rover gives such a system the first word of the next recording."""
    rule = VoteRule("average", 0.5, 0.5)
    utterances = random_systems(random.Random(1), 3, 400, longest=3, may_be_empty=True)
    utterances = [utterance for utterance in utterances if not all(h.words for h in utterance)][:60]
    assert len(utterances) == 60
    for utterance in utterances:
        assert_same(nist_rover(tmp_path, [utterance], "meth1", rule), [utterance], rule)


@needs_sctk
@pytest.mark.peer
@pytest.mark.parametrize("method", ["average", "maximum", "share"])
@pytest.mark.parametrize("conf", [conf for conf, _ in ALMOST_TIED])
def test_ties_with_the_empty_word_are_those_of_nists_rover(tmp_path, conf, method):
    rule, utterances = VoteRule(method, 0.4, conf), [almost_tied(conf)]
    assert_same(nist_rover(tmp_path, utterances, NIST_METHODS[method], rule), utterances, rule)


@needs_sctk
@pytest.mark.peer
@pytest.mark.parametrize("method", ["average", "maximum", "share"])
def test_confidences_of_two_decimals_vote_as_in_nists_rover(tmp_path, method):
    """Sums of such numbers are tied in decimals only; which is higher depends on how they are rounded."""
    rng = random.Random(7)
    utterances = [
        [hypothesis._replace(confs=[rng.randint(1, 9) / 10 for _ in hypothesis.words]) for hypothesis in utterance]
        for utterance in random_systems(rng, 3, 400)
    ]
    for alpha, null_conf in ((0.4, 0.6), (0.5, 0.3), (0.2, 0.7)):
        rule = VoteRule(method, alpha, null_conf)
        assert_same(nist_rover(tmp_path, utterances, NIST_METHODS[method], rule), utterances, rule)


@needs_sctk
@pytest.mark.peer
@pytest.mark.parametrize(("gap", "differs"), [(0.0, False), (0.125, True)])
def test_where_nists_rover_cuts_an_utterance(tmp_path, gap, differs):
    """With gaps between words it does when the first system has ended; then words can differ, otherwise never."""
    utterances = []
    for utterance in random_systems(random.Random(5), 3, 300):
        with_gaps = []
        for hypothesis in utterance:
            times = [(10 + 0.5 * i, 10.5 + 0.5 * i - gap) for i in range(len(hypothesis.words))]
            with_gaps.append(hypothesis._replace(times=times))
        utterances.append(with_gaps)
    rule = VoteRule("average", 0.4, 0.6)
    found = zip(nist_rover(tmp_path, utterances, "meth1", rule), combine(utterances, rule), utterances, strict=True)
    different = [
        utterance for nist, voted, utterance in found if [word for word, *_ in nist] != [word.word for word in voted]
    ]
    assert bool(different) == differs
    assert all(len(first.words) < max(len(h.words) for h in others) for first, *others in different)
