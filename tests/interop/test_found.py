"""Rows are sorted in bounded memory."""

import random

import pytest

from ds2cli.interop import _found
from ds2cli.interop._found import Found, in_order, order_fields, sort_items


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 35, 100])
def test_sorting_through_files_is_stable(monkeypatch, count):
    monkeypatch.setattr(_found, "RUN", 10)
    rng = random.Random(count)
    row = {"nested": [1.5, {"x": None}]}
    items = [({"id": f"é{rng.randrange(30):02d}", "n": n, **row}, n % 2 == 0) for n in range(count)]
    assert list(sort_items(iter(items))) == sorted(items, key=lambda item: item[0]["id"])


def test_rows_in_order_pass_through():
    items = iter([({"id": "b"}, True), ({"id": "a"}, False)])
    assert next(in_order(Found(items, in_order=True)))[0]["id"] == "b"
    assert next(items)[0]["id"] == "a"


def test_the_order_of_fields():
    assert list(order_fields({"x": 1, "text": "", "id": "a"})) == ["id", "text", "x"]


@pytest.mark.parametrize("run", [1, 2, 3, 7, 49, 50, 51])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_no_row_is_lost_at_the_end_of_a_run(monkeypatch, run, count):
    monkeypatch.setattr(_found, "RUN", run)
    items = [({"id": f"é{i * 37 % 10}", "number": i}, i % 2 == 0) for i in range(count)]
    assert list(sort_items(iter(items))) == sorted(items, key=lambda item: item[0]["id"])
