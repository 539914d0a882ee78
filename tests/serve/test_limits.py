"""Limits of a server whose process may open few files."""

from __future__ import annotations

import resource

import pytest

from ds2cli.errors import Ds2Error
from ds2cli.serve.limits import allow_files


@pytest.fixture(autouse=True)
def limit_of_this_process():
    """The limit of the process of the tests, which must stay."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize(
    ("limits", "connections", "expected"),
    [((4096, 4096), 512, 512), ((200, 200), 512, 100), ((64, -1), 10**24, 2**20 - 128), ((-1, -1), 10**24, 10**24)],
)
def test_connections_fit_the_limit_of_open_files(monkeypatch, limits, connections, expected):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, raised: None)
    assert allow_files(connections) == expected


def test_too_few_open_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (63, 63))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, raised: None)
    with pytest.raises(Ds2Error, match="may open 63 files, expected at least 64"):
        allow_files(1)
