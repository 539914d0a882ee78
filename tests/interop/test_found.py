"""The order of rows that do not fit in memory."""

import pytest

from ds2cli.interop import _found


@pytest.mark.parametrize("run", [1, 2, 3, 7, 49, 50, 51])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_no_row_is_lost_at_the_end_of_a_run(monkeypatch, run, count):
    monkeypatch.setattr(_found, "RUN", run)
    items = [({"id": f"é{i * 37 % 10}", "number": i}, i % 2 == 0) for i in range(count)]
    assert list(_found.sort_items(iter(items))) == sorted(items, key=lambda item: item[0]["id"])
