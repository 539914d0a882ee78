from __future__ import annotations

import pytest
import torch

from ds2cli.nn.workers import Group


def test_one_process_is_a_group_of_its_own():
    group = Group()
    flat = torch.ones(2)
    assert group.add(flat) is flat and group.share([1, 2, 3]) == [1, 2, 3]
    assert group.together({"a": "why"}) == {"a": "why"}
    group.close()


@pytest.mark.parametrize("size", [2, 3])
def test_shares_are_equal_parts_of_a_sorted_list(size):
    parts = [Group(rank, size).share(list(range(10, 0, -1))) for rank in range(size)]
    assert sorted(n for part in parts for n in part) == list(range(1, 11))
    assert max(map(sum, parts)) - min(map(sum, parts)) <= 10
