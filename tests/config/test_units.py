"""Settings of units that contradict each other."""

import pytest

from ds2cli.config.base import build
from ds2cli.config.units import UnitsConfig
from ds2cli.errors import UsageError


@pytest.mark.parametrize(
    "given", [{}, {"min_count": 3}, {"kind": "bigram", "min_count": 2}, {"kind": "bpe", "size": 9}]
)
def test_what_goes_together(given):
    build(UnitsConfig, ("test", given)).check()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "bpe"}, r"units.size: bpe needs .*--set units.size=500"),
        ({"kind": "unigram"}, "units.size: unigram needs"),
        ({"size": 50}, "units.size: char has as many symbols as the texts"),
        ({"kind": "bigram", "size": 50}, "units.size: bigram has"),
        ({"kind": "bpe", "size": 50, "min_count": 2}, "units.min_count: bpe chooses its pieces by units.size"),
    ],
)
def test_no_setting_is_without_effect(given, says):
    with pytest.raises(UsageError, match=says):
        build(UnitsConfig, ("test", given)).check()


@pytest.mark.parametrize("given", [{"kind": "trigram"}, {"kind": "bpe", "size": 1}, {"min_count": 0}])
def test_what_there_is_not(given):
    with pytest.raises(UsageError, match="expected"):
        build(UnitsConfig, ("test", given))
