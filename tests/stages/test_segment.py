"""Rows of segments: fields, ids, order, and what is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2cli import manifest
from ds2cli.config.segment import SegmentConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error
from ds2cli.stages.segment import Tally, run


def timed(text, word=0.4, pause=0.1, start=0.0):
    """The words of a text, each of the same length; a "|" between two is a pause of 1 s more."""
    words, at = [], start
    for part in text.split():
        if part == "|":
            at += 1
            continue
        words.append({"word": part, "start": round(at, 3), "end": round(at + word, 3), "conf": 0.9})
        at += word + pause
    return words


def row(name="a", text="one two | three four", **fields):
    words = timed(text)
    said = " ".join(text.replace("|", "").split())
    return {"id": name, "audio_filepath": "a.wav", "duration": 60.0, "text": said, "words": words, **fields}


SHORT = {"mean_duration": 1.0, "max_duration": 2.0, "padding": 0.2}


def segment(*rows, **values):
    ledger, tally = Ledger(), Tally()
    done = list(run(SegmentConfig(**{"max_bad": 100.0, **SHORT, **values}), rows, ledger, tally))
    return done, ledger, tally


def test_segments_point_into_the_recording():
    done, ledger, tally = segment(row(speaker="s", lang="en", mine=[1]))
    common = {"audio_filepath": "a.wav", "speaker": "s", "lang": "en", "mine": [1], "recording": "a"}
    first = [("one", 0.0, 0.4), ("two", 0.5, 0.9)]
    second = [("three", 0.2, 0.6), ("four", 0.7, 1.1)]
    first, second = (
        [{"word": word, "start": start, "end": end, "conf": 0.9} for word, start, end in words]
        for words in (first, second)
    )
    assert done == [
        {**common, "id": "a-00000000-00001100", "offset": 0.0, "duration": 1.1, "text": "one two", "words": first},
        {**common, "id": "a-00001800-00003100", "offset": 1.8, "duration": 1.3, "text": "three four", "words": second},
    ]
    assert not ledger.rows
    assert list(tally.describe()) == [
        "2 segments (0.00 h) from 1 of 1 recordings; length 1.2 s on average, 1.1 to 1.3 s",
        "100.0 % of 0.00 h of speech kept",
    ]


def test_fields_of_the_whole_recording_are_left_out():
    whole = dict.fromkeys(("feats", "emission"), "a.ark:2") | dict.fromkeys(("num_frames", "num_steps", "hits"), 5)
    whole |= {"step_s": 0.02, "align_logprob": -1.0, "ctc_cost": 1.0, "gaps": [], "chars": [], "nbest": []}
    whole |= {"pred_text": "x", "pred_words": [], "pred_score": 1.0, "pred_conf": 1.0, "pred_new": 1, "errors": []}
    done, _, _ = segment(row(**whole))
    assert len(done) == 2 and all(not whole.keys() & segment.keys() for segment in done)


def test_offset_and_speed_of_the_row():
    done, _, _ = segment(row(offset=100.5))
    assert [s["offset"] for s in done] == [100.5, 102.3]
    done, _, _ = segment(row(offset=100.5, speed=1.1))
    assert [s["offset"] for s in done] == [100.5, 102.48]
    assert [(s["duration"], s["speed"]) for s in done] == [(1.1, 1.1), (1.3, 1.1)]


def test_a_segment_can_be_cut_again():
    (whole,), _, _ = segment(row(), max_duration=60.0, mean_duration=20.0)
    assert (whole["id"], whole["text"]) == ("a-00000000-00003100", "one two three four")
    done, _, _ = segment({**whole, "offset": 5.0})
    assert [(s["id"], s["recording"], s["offset"]) for s in done] == [
        ("a-00000000-00003100-00000000-00001100", "a", 5.0),
        ("a-00000000-00003100-00001800-00003100", "a", 6.8),
    ]


def test_without_a_duration_a_recording_ends_with_its_last_word():
    given_row = row()
    del given_row["duration"]
    done, _, _ = segment(given_row)
    assert [(s["offset"], s["duration"]) for s in done] == [(0.0, 1.1), (1.8, 1.1)]


def test_the_last_word_may_end_a_little_after_the_recording():
    done, ledger, _ = segment(row(duration=2.7))
    assert [(s["offset"], s["duration"]) for s in done] == [(0.0, 1.1), (1.8, 0.9)]
    assert done[1]["words"][1] == {"word": "four", "start": 0.7, "end": 0.9, "conf": 0.9}
    done, ledger, _ = segment(row(duration=2.3), row("b"))
    assert [s["recording"] for s in done] == ["b", "b"]
    detail = "the last word ends at 2.9 s, the recording at 2.3 s"
    assert ledger.rows == [{"id": "a", "reason": "words-after-end", "detail": detail, "bad": True}]


def test_text_without_spaces():
    done, _, _ = segment(row("a") | {"text": "打开窗户", "words": timed("打 开 | 窗 户")})
    assert [s["text"] for s in done] == ["打开", "窗户"]
    done, _, _ = segment(row("a") | {"text": "打开 wifi 窗户", "words": timed("打 开 wifi | 窗 户")})
    assert [s["text"] for s in done] == ["打开 wifi", "窗户"]


def test_words_that_were_not_said_count_for_the_spaces_only():
    gaps = [{"start": 0.45, "end": 0.48, "text": "了 门", "heard": ""}]
    cut_row = row("a") | {"text": "打了 门开窗", "words": timed("打 开 窗"), "gaps": gaps}
    done, _, _ = segment(cut_row, min_duration=0.0)
    assert [(s["text"], s["duration"]) for s in done] == [("打", 0.45), ("开窗", 1.12)]


def test_no_segment_contains_a_gap():
    gaps = [{"start": 1.5, "end": 1.85, "text": "", "heard": "noise"}, {"start": 0.42, "end": 0.42, "text": "and"}]
    done, ledger, tally = segment(row(gaps=gaps))
    assert [(s["text"], s["offset"], s["duration"]) for s in done] == [("two", 0.42, 0.68), ("three four", 1.85, 1.25)]
    assert ledger.rows == [
        {
            "id": "a-00000000-00000420",
            "reason": "shorter-than-min-duration",
            "detail": "0.00 to 0.42 s: 0.42 s, shorter than --min-duration 0.5 s",
            "bad": False,
        }
    ]
    assert tally.speech == {"": 1200, "shorter-than-min-duration": 400}
    assert list(tally.describe())[1] == "75.0 % of 0.00 h of speech kept; dropped: 0.4 s shorter-than-min-duration"


def test_what_has_no_pause_is_dropped():
    done, ledger, tally = segment(row(text="one two three four five | six seven"))
    assert [s["text"] for s in done] == ["six seven"]
    (drop,) = ledger.rows
    assert (drop["id"], drop["reason"], drop["bad"]) == ("a-00000000-00002600", "longer-than-max-duration", False)
    assert drop["detail"] == (
        "0.00 to 2.60 s: 2.60 s without a pause of --min-pause 0.2 s, longer than --max-duration 2 s"
    )
    assert list(tally.describe())[1] == (
        "28.6 % of 0.00 h of speech kept; dropped: 2.0 s longer-than-max-duration (a shorter --min-pause cuts more)"
    )


def test_rows_without_words():
    done, ledger, tally = segment(row("a", ""), {"id": "b", "audio_filepath": "b.wav", "text": "hi"}, row("c"))
    assert {s["recording"] for s in done} == {"c"}
    assert [(r["id"], r["reason"], r["bad"]) for r in ledger.rows] == [
        ("a", "no-words", False),
        ("b", "not-aligned", True),
    ]
    assert (tally.recordings, tally.empty) == (1, 0)


def test_a_recording_without_segments():
    done, _, tally = segment(row("a", "one"), row("b"), min_duration=1.0)
    assert {s["recording"] for s in done} == {"b"}
    assert next(tally.describe()).startswith("2 segments (0.00 h) from 1 of 2 recordings;")
    assert list(segment(row("a", "one"), min_duration=1.0)[2].describe()) == []


WORD = {"word": "x", "start": 1.0, "end": 2.0}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"words": [{"word": "x", "start": 1.0}]}, "wrong-type"),
        ({"words": [{"start": 1.0, "end": 2.0}]}, "wrong-type"),
        ({"words": [{**WORD, "word": "a b"}]}, "wrong-type"),
        ({"words": [{**WORD, "word": ""}]}, "wrong-type"),
        ({"words": [{**WORD, "word": 7}]}, "wrong-type"),
        ({"words": [{**WORD, "end": 0.5}]}, "wrong-type"),
        ({"words": [{**WORD, "start": float("nan")}]}, "wrong-type"),
        ({"words": [{**WORD, "end": 10**400}]}, "wrong-type"),
        ({"words": [{**WORD, "start": -0.1}]}, "wrong-type"),
        ({"words": [{**WORD, "start": "1"}]}, "wrong-type"),
        ({"words": [{**WORD, "start": True}]}, "wrong-type"),
        ({"words": [WORD, {**WORD, "start": 0.9, "end": 3.0}]}, "unsorted-words"),
        ({"words": [WORD, {**WORD, "start": 1.5, "end": 1.9}]}, "unsorted-words"),
        ({"words": [WORD], "gaps": [{"start": 0.5}]}, "wrong-type"),
        ({"words": [WORD], "gaps": [{"start": 1.2, "end": 1.9}]}, "words-in-gap"),
        ({"words": [WORD], "duration": 1.2}, "words-after-end"),
        ({"words": [WORD], "offset": 1e9}, "wrong-type"),
        ({"words": [WORD], "speed": 1e308}, "wrong-type"),
    ],
)
def test_bad_rows_cost_themselves(fields, reason):
    done, ledger, _ = segment({**row("a"), **fields}, row("b"))
    assert {s["recording"] for s in done} == {"b"}
    assert [(r["id"], r["reason"], r["bad"]) for r in ledger.rows] == [("a", reason, True)]


def test_max_bad_counts_recordings():
    rows = [row("a"), {"id": "b", "audio_filepath": "b.wav"}, row("c", "")]
    with pytest.raises(Ds2Error, match="1 of 3 utterances are bad"):
        segment(*rows, max_bad=33.0)
    assert len(segment(*rows, max_bad=34.0)[0]) == 2


def test_ids_sort_although_those_of_rows_interleave():
    names = sorted(["a", "a!", "a-", "a-0", "a-00000000-00001100", "a.b", "a0", "é", "中", "\U0001f600", "\uffff"])
    done, _, _ = segment(*(row(name) for name in names))
    ids = [s["id"] for s in done]
    assert ids == sorted(set(ids)) and len(ids) == 2 * len(names)
    assert all(map(manifest.is_id, ids))


def test_segments_are_written_once_no_earlier_one_can_follow():
    read = []

    def rows():
        for name in ("a", "a!", 'a"', "b", "c"):
            read.append(name)
            yield row(name)

    seen = [(s["recording"], len(read)) for s in run(SegmentConfig(**SHORT), rows(), Ledger())]
    assert seen[::2] == seen[1::2] == [("a!", 3), ('a"', 4), ("a", 4), ("b", 5), ("c", 5)]


def test_ids_of_very_long_recordings_sort_by_time():
    words = [{"word": "x", "start": t, "end": t + 0.6} for t in (9.0, 99_990.0, 100_000.0, 2_000_000.0)]
    done, _, _ = segment(row() | {"words": words, "duration": 2_000_001.0})
    assert [s["offset"] for s in done] == [8.8, 99_989.8, 99_999.8, 1_999_999.8]
    assert done[0]["id"] == "a-0000008800-0000009800"


NAMES = st.text(st.sampled_from("a-!0 9é中").filter(lambda c: c != " "), min_size=1, max_size=5)


@st.composite
def manifests(draw):
    rows = []
    for name in sorted(draw(st.sets(NAMES, min_size=1, max_size=5))):
        at, words, gaps = 0.0, [], []
        for _ in range(draw(st.integers(0, 6))):
            at += draw(st.sampled_from([0, 0.02, 0.3, 0.501, 1.5, 3]))
            end = at + draw(st.sampled_from([0, 0.03, 0.4, 1, 2.5]))
            words.append({"word": "w", "start": round(at, 3), "end": round(end, 3)})
            at = end
            if draw(st.integers(0, 4)) == 0:
                gaps.append({"start": round(at, 3), "end": round(at + 0.2, 3)})
                at += 0.2
        fields = {"gaps": gaps} if gaps else {}
        fields |= {"duration": round(at + 0.01, 3)} if draw(st.booleans()) else {}
        rows.append({"id": name, "audio_filepath": "a.wav", "words": words, **fields})
    return rows


@settings(deadline=None, max_examples=200)
@given(manifests(), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([2.0, 4.0]))
def test_all_speech_is_kept_or_dropped(rows, shortest, longest):
    done, ledger, tally = segment(*rows, min_duration=shortest, max_duration=longest)
    ids = [s["id"] for s in done]
    assert ids == sorted(set(ids)) and not set(ids) & {r["id"] for r in ledger.rows}
    total = sum(round(1000 * w["end"]) - round(1000 * w["start"]) for r in rows for w in r["words"])
    kept = sum(round(1000 * w["end"]) - round(1000 * w["start"]) for s in done for w in s["words"])
    assert tally.speech.total() == total and tally.speech[""] == kept
    assert not ledger.bad
    for s in done:
        assert shortest <= s["duration"] <= longest and s["duration"] > 0
        assert s["text"] == " ".join("w" for _ in s["words"])
        (parent,) = (r for r in rows if r["id"] == s["recording"])
        for gap in parent.get("gaps", ()):
            assert gap["end"] <= s["offset"] or round(s["offset"] + s["duration"], 3) <= gap["start"]
        assert manifest.parse(manifest.format_row(s)) == s
