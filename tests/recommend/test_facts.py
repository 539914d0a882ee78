"""What a training set has: counted by hand."""

from __future__ import annotations

import random

import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import DataError, Ds2Error
from ds2cli.feats import kinds
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.recommend.facts import choose_sample_rate


def test_counts_of_a_small_set(facts_of):
    facts = facts_of(
        [
            {"duration": 1.0, "text": "yes", "speaker": "ann", "lang": "en", "sample_rate": 8000},
            {"duration": 3.0, "text": "yes  no", "speaker": "ben", "lang": "en", "sample_rate": 16000},
            {"duration": 2.0, "text": "yes", "speaker": "ann", "lang": "de", "sample_rate": 16000},
            {"duration": 6.0, "text": " "},
        ]
    )
    assert (facts.utterances, facts.seconds, facts.no_text, facts.stored, facts.bins) == (4, 12.0, 1, 0, 161)
    assert (facts.durations.low, facts.durations.median, facts.durations.high) == (1.0, 3.0, 6.0)
    assert (facts.rates.low, facts.rates.high) == (1.5, 3.0)
    assert (facts.speakers, facts.no_speaker, facts.has_one_speaker) == (2, 1, False)
    assert facts.languages == {"en": 2, "de": 1, "": 1} and facts.sample_rates == {16000: 2, 8000: 1, 0: 1}
    assert (facts.words, facts.distinct_words, facts.distinct_texts) == (4, 2, 2)
    assert facts.letters == {"y": 3, "e": 3, "s": 3, " ": 1, "n": 1, "o": 1}
    assert facts.found_in == {**dict.fromkeys("yes", "u00000"), **dict.fromkeys(" no", "u00001")}
    assert facts.rare_letters() == ["n", "o", "e", "s", "y"]
    assert facts.unfit == {3: 0, 2: 0, 1: 0} and facts.minutes == 0.2 and not facts.is_closed


@pytest.mark.parametrize(("repeats", "closed"), [(14, False), (15, True)])
def test_a_vocabulary_is_closed_if_its_words_are_repeated(facts_of, repeats, closed):
    assert facts_of([{"duration": 1.0, "text": f"w{'x' * (i % 9)}"} for i in range(9 * repeats)]).is_closed is closed


def test_a_large_vocabulary_is_open_however_often_it_is_repeated(facts_of):
    assert facts_of([{"duration": 1.0, "text": f"w{i % 300}"} for i in range(6000)]).is_closed
    assert not facts_of([{"duration": 1.0, "text": f"w{i % 301}"} for i in range(6020)]).is_closed


def test_one_speaker_is_only_known_if_no_utterance_lacks_it(facts_of):
    rows = [{"duration": 1.0, "text": "a", "speaker": "ann"}] * 3
    assert facts_of(rows).has_one_speaker
    assert not facts_of([*rows, {"duration": 1.0, "text": "a"}]).has_one_speaker
    assert not facts_of([{"duration": 1.0, "text": "a"}]).has_one_speaker
    # tables such as those of Common Voice have this where nothing is known
    unknown = facts_of([{"duration": 1.0, "text": "a", "speaker": "Unknown"}] * 3)
    assert (unknown.speakers, unknown.no_speaker) == (0, 3)


def test_texts_that_do_not_fit_are_those_of_a_plain_count(facts_of):
    """Against the kernel that training counts with, at 1.1 times the speed."""
    rng = random.Random(3)
    features = FeatureConfig()
    rows = [
        {
            "duration": rng.uniform(0.3, 2.0),
            "text": "".join(rng.choice("ab ") for _ in range(rng.randint(1, 60))).strip(),
        }
        for _ in range(300)
    ]
    rows = [row for row in rows if row["text"]]
    expected = dict.fromkeys((3, 2, 1), 0)
    for row in rows:
        text = " ".join(row["text"].split())
        need = steps_needed(__import__("numpy").array([ord(c) for c in text], "int32"))
        frames = kinds.num_frames(int(row["duration"] * 16000 / 1.1), features)
        for stride in expected:
            expected[stride] += need > -(-frames // stride)
    assert facts_of(rows).unfit == expected and expected[3] > expected[2] > expected[1] > 0


def test_stored_features_count_and_have_their_bins(facts_of, tmp_path):
    import numpy as np

    with ArkWriter(tmp_path / "a.ark") as ark:
        ref = ark.write("u00000", np.zeros((33, 13), np.float32))
    # 33 frames are 30 at the highest speed: 10 steps of three
    facts = facts_of([{"text": "abcdefghijk", "feats": ref, "num_frames": 33}])
    assert (facts.stored, facts.bins, facts.seconds) == (1, 13, pytest.approx(0.33))
    assert facts.unfit == {3: 1, 2: 0, 1: 0}
    assert facts_of([{"text": "a", "feats": "missing.ark:7", "num_frames": 33}]).bins is None


def test_suspicious_characters(facts_of):
    texts = ["a plain text, with a comma"] * 30 + ["Room 7 is free", "soft\u00adhyphen", "он it's well-known"]
    facts = facts_of([{"duration": 9.0, "text": text} for text in texts])
    found = facts.suspicious_letters()
    assert found["7"] == "a digit" and found["R"] == "a capital beside small letters"
    assert found[","] == "punctuation or a sign" and found["\u00ad"] == "invisible"
    assert found["о"] == "Cyrillic, another script than nearly all letters"
    assert not {"'", "-", "a"} & found.keys() and facts.found_in["7"] == "u00030"


def test_capitals_alone_and_mixed_japanese_scripts_are_not_suspicious(facts_of):
    assert not facts_of([{"duration": 9.0, "text": "ALL CAPITALS"}]).suspicious_letters()
    assert not facts_of([{"duration": 9.0, "text": "これは日本語のテストです"}] * 9).suspicious_letters()


def test_manifests_without_rows_or_texts_are_refused(facts_of):
    with pytest.raises(DataError, match="no utterances"):
        facts_of([])
    with pytest.raises(Ds2Error, match="no utterance has a text"):
        facts_of([{"duration": 1.0}, {"duration": 1.0, "text": " "}])


def test_the_sample_rate_is_that_of_nearly_all_recordings(facts_of):
    assert choose_sample_rate({8000: 90, 16000: 10}) == 8000
    assert choose_sample_rate({8000: 89, 44100: 11, 0: 50}) == 16000
    assert choose_sample_rate({0: 9}) == 16000 == choose_sample_rate({})
    rows = [{"duration": 1.0, "text": "a", "sample_rate": 8000}]
    assert (facts_of(rows).bins, facts_of(rows, window_ms=10.0).bins) == (81, 81)
    assert facts_of([{"duration": 1.0, "text": "a"}]).bins == 161
