"""What rows have in common, compared with dictionaries."""

import random

import numpy as np
import pytest

from ds2cli.checks.repeats import Columns, describe, find_repeats, find_shared


def columns(rows, path="m.jsonl"):
    made = Columns(path)
    for line, row in enumerate(rows, start=1):
        made.add(line, row)
    return made


def pairs(found):
    return {kind: list(zip(rows.tolist(), others.tolist(), strict=True)) for kind, (rows, others) in found.items()}


def test_repeated_values_name_the_first_row_that_has_them():
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}, {"id": "a", "text": "x"}, {"id": "a"}, {"text": ""}, {}]
    assert pairs(find_repeats(columns(rows))) == {"duplicate-id": [(2, 0), (3, 0)], "duplicate-text": [(2, 0)]}
    assert find_repeats(columns([])) == {} and find_repeats(columns(rows[:1])) == {}


@pytest.mark.parametrize("seed", range(5))
def test_repeats_agree_with_a_dictionary(seed):
    rng = random.Random(seed)
    texts = [rng.choice(["", *map(str, range(50))]) for _ in range(300)]
    first, expected = {}, []
    for i, text in enumerate(texts):
        if text and text in first:
            expected.append((i, first[text]))
        first.setdefault(text, i)
    assert pairs(find_repeats(columns({"text": t} for t in texts)))["duplicate-text"] == expected


def segment(begin=None, duration=None, path="a.wav", **more):
    times = {"offset": begin, "duration": duration}
    return {"audio_filepath": path, **{n: v for n, v in times.items() if v is not None}, **more}


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([segment(0, 1), segment(1, 1), segment(2, 1)], {}),
        ([segment(0, 1), segment(0.995, 1)], {}),
        ([segment(0, 1), segment(0.5, 1)], {"overlapping-segments": [(1, 0)]}),
        ([segment(0.5, 1), segment(0, 1)], {"overlapping-segments": [(0, 1)]}),
        ([segment(0, 9), segment(1, 1), segment(5, 1)], {"overlapping-segments": [(1, 0), (2, 0)]}),
        ([segment(0, 1), segment(0, 1)], {"repeated-segment": [(1, 0)]}),
        ([segment(), segment(), segment()], {"repeated-segment": [(1, 0), (2, 0)]}),
        ([segment(None, 5), segment(3, 1)], {"overlapping-segments": [(1, 0)]}),
        ([segment(0, 1, channel=0), segment(0, 1, channel=1)], {}),
        ([segment(None, 1), segment(None, 0.9, speed=1.1)], {}),
        ([segment(0, 1), segment(0, 1, path="b.wav")], {}),
        ([segment(0, 1, path="x/../a.wav"), segment(0, 1)], {"repeated-segment": [(1, 0)]}),
        ([{"id": "a"}, {"id": "b"}], {}),
    ],
)
def test_segments_of_one_recording(rows, expected):
    assert pairs(find_repeats(columns(rows))) == expected


def test_equal_samples_are_reported_once():
    made = columns([segment(path="a.wav"), segment(path="b.wav"), segment(path="a.wav"), segment(path="c.wav")])
    for i, digest in enumerate((7, 7, 7, 0)):
        made.set_samples(i, digest)
    assert pairs(find_repeats(made)) == {"repeated-segment": [(2, 0)], "duplicate-audio": [(1, 0)]}


def test_manifests_share_ids_speakers_texts_and_recordings():
    train = columns(
        [{"id": "a", "text": "x", "speaker": "s", "audio_filepath": "1.wav"}, {"id": "b", "text": "y"}], "t"
    )
    dev = columns(
        [
            {"id": "c", "text": "y", "audio_filepath": "2.wav"},
            {"id": "a", "speaker": "s"},
            {"id": "d", "audio_filepath": "1.wav"},
            {"id": "e"},
        ]
    )
    train.set_samples(1, 9)
    dev.set_samples(0, 9)
    assert pairs(find_shared(dev, train)) == {
        "shared-id": [(1, 0)],
        "shared-text": [(0, 1)],
        "shared-speaker": [(1, 0)],
        "shared-audio": [(0, 1), (2, 0)],
    }
    assert find_shared(dev, columns([])) == find_shared(columns([]), train) == {}


def test_every_kind_has_a_sentence():
    row = {"id": "a", "text": "x", "speaker": "s", "audio_filepath": "1.wav"}
    for kind in (*pairs(find_shared(columns([row]), columns([row]))), *pairs(find_repeats(columns([row, row])))):
        assert describe(kind, row, "line 3")[1].endswith(("line 3", "(ds2 data fix drops the later row)"))


def test_a_million_rows_take_little_memory():
    made = columns({"id": f"u{i}", "text": f"t{i}", "audio_filepath": f"{i}.wav"} for i in range(1000))
    assert sum(column.itemsize for column in (made.lines, made.begins, made.ends, *made.hashes.values())) <= 80
    assert isinstance(made.column("id"), np.ndarray)
