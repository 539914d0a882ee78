"""The form of rows: every malformed field is named, with what was expected."""

import json

import pytest

from ds2cli.checks.faults import FAULTS, KINDS, Tally
from ds2cli.checks.rows import parse_line

NEEDS = ("id", "audio_filepath", "duration", "text")
GOOD = {"id": "a", "audio_filepath": "a.wav", "duration": 1.5, "text": "x", "my_field": [1]}


def kinds(row, needs=NEEDS):
    return [kind for kind, _ in parse_line(row if isinstance(row, str) else json.dumps(row), needs)[1]]


def test_a_healthy_row_has_no_faults_and_keeps_its_fields():
    assert parse_line(json.dumps(GOOD), NEEDS) == (GOOD, [])


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"id": "a b"}, ["bad-id"]),
        ({"id": ""}, ["bad-id"]),
        ({"id": 5}, ["wrong-type"]),
        ({"id": None}, ["missing-field"]),
        ({"duration": 0}, ["bad-duration"]),
        ({"duration": -0.5}, ["bad-duration"]),
        ({"duration": 1e300}, ["bad-duration"]),
        ({"duration": float("nan")}, ["bad-duration"]),
        ({"duration": "1.5"}, ["wrong-type"]),
        ({"offset": -1}, ["bad-offset"]),
        ({"channel": -1}, ["wrong-type"]),
        ({"channel": True}, ["wrong-type"]),
        ({"audio_filepath": ""}, ["missing-field"]),
        ({"speaker": 7, "lang": 8}, ["wrong-type", "wrong-type"]),
        ({"unknown": float("inf")}, ["wrong-type"]),
        ({"duration": -1, "offset": -1, "text": 3, "id": "\t"}, ["bad-id", "bad-duration", "wrong-type", "bad-offset"]),
    ],
)
def test_every_malformed_field_is_found(change, expected):
    assert kinds({**GOOD, **change}) == expected


def test_malformed_fields_are_left_out_of_the_row():
    row, found = parse_line(json.dumps({**GOOD, "duration": -1, "speed": 0}), NEEDS)
    assert row == {name: GOOD[name] for name in ("id", "audio_filepath", "text", "my_field")}
    assert found == [
        (
            "bad-duration",
            "the duration is -1 s, expected seconds from 0 to 1e+09 (ds2 data fix --audio header measures it)",
        ),
        ("wrong-type", "field 'speed' must be a number > 0, got 0"),
    ]


@pytest.mark.parametrize(
    "line, kind",
    [("[1]", "not-json"), ("{", "not-json"), ("{'id':'a'}", "not-json"), ('{"id":"caf\udce9"}', "not-utf8")],
)
def test_a_line_that_is_no_object_has_one_fault(line, kind):
    row, found = parse_line(line, NEEDS)
    assert row is None and [k for k, _ in found] == [kind]


def test_an_infinite_number_hides_no_other_fault():
    row, found = parse_line('{"id": "\\ud800", "x": 1e999}', NEEDS)
    assert row is None and [kind for kind, _ in found] == ["wrong-type", "not-utf8"]


def test_all_missing_fields_are_named():
    _, found = parse_line("{}", NEEDS)
    assert [detail for _, detail in found] == [f"the field {name!r} is missing" for name in NEEDS]


def test_a_tally_counts_all_keeps_the_first_and_marks_rows_once():
    tally = Tally(most=2, ignored={"clipping"})
    for line in (3, 5, 900):
        tally.add("m", line, "u", [("not-sorted", "x"), ("bad-id", "y"), ("clipping", "z"), ("silence", "s")])
    assert tally.by_kind() == [("bad-id", 3), ("not-sorted", 3), ("silence", 3)]
    assert [fault.line for fault in tally.examples["bad-id"]] == [3, 5]
    assert (tally.total("fault"), tally.total("warning"), tally.faulty_rows) == (6, 3, 3)
    assert Tally(strict=True).severity("silence") == "fault"
    # a kind that a plugin or a rule of texts has
    assert Tally().severity("new-kind") == "fault" and "new-kind" not in KINDS and set(FAULTS) < set(KINDS)
