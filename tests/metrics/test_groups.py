"""Names and order of the groups of --by."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.metrics.groups import group_name, sort_key

LENGTHS = {"0": (0,), "1-5": (1, 5), "6-10": (6, 10), "11-20": (11, 20), "21-40": (21, 40), "41+": (41, 10**6)}
SECONDS = {
    "0-2s": (0, 1.99),
    "2-5s": (2, 4.9),
    "5-10s": (5.0, 9.999),
    "10-20s": (10, 19),
    "20-30s": (20.0, 29.9),
    "30+s": (30, 1e9, float("inf")),
}


def test_lengths_and_durations_fall_into_ranges():
    for name, lengths in LENGTHS.items():
        assert {group_name("length", {"length": "own"}, n) for n in lengths} == {f"length={name}"}
    for name, seconds in SECONDS.items():
        assert {group_name("duration", {"duration": s}, 3) for s in seconds} == {f"duration={name}"}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"speaker": "anna"}, "speaker=anna"),
        ({}, "speaker=None"),
        ({"speaker": 3}, "speaker=3"),
        ({"speaker": ["a", 1]}, "speaker=['a', 1]"),
    ],
)
def test_any_other_value_names_its_group(row, name):
    assert group_name("speaker", row, 1) == name


@pytest.mark.parametrize("value", [None, "long", True, float("nan")])
def test_a_duration_that_is_no_number_names_its_group(value):
    assert group_name("duration", {"duration": value}, 1) == f"duration={value}"


@pytest.mark.parametrize(
    "ordered",
    [
        [f"length={name}" for name in LENGTHS],
        [f"duration={name}" for name in SECONDS] + ["duration=None"],
        ["speaker=anna", "speaker=berta", "speaker=zoë", "speaker=None"],
        ["speaker=2", "speaker=10", "speaker=a2", "speaker=a10", "speaker=None"],
        ["snr=-10", "snr=-2.5", "snr=0.5", "snr=2", "snr=10.25", "snr=None"],
        ["room=", "room=1", "room=a", "room=a1"],
    ],
)
def test_groups_sort_naturally(ordered):
    assert sorted(random.Random(1).sample(ordered, len(ordered)), key=sort_key) == ordered


@given(st.lists(st.text() | st.sampled_from(["01", "1", "1.0", "²", "٣", "None", "9" * 400])))
def test_every_list_of_names_has_one_order(values):
    names = [f"x={value}" for value in values]
    assert sorted(names, key=sort_key) == sorted(sorted(names, reverse=True), key=sort_key)
