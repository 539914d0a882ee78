"""Valid and contradictory settings of the output units."""

import pytest

from ds2cli.config.base import build
from ds2cli.config.units import UnitsConfig
from ds2cli.errors import UsageError


@pytest.mark.parametrize(
    "settings", [{}, {"min_count": 3}, {"kind": "bigram", "min_count": 2}, {"kind": "bpe", "size": 9}]
)
def test_valid_settings(settings):
    build(UnitsConfig, ("test", settings)).check()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "bpe"}, r"units.size: bpe needs .*--set units.size=500"),
        ({"kind": "unigram"}, "units.size: unigram needs"),
        ({"size": 50}, "units.size: only applies to bpe and unigram, got units.kind char"),
        ({"kind": "bigram", "size": 50}, "units.size: only applies .*got units.kind bigram"),
        (
            {"kind": "bpe", "size": 50, "min_count": 2},
            "units.min_count: only applies to char and bigram, got units.kind bpe",
        ),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        build(UnitsConfig, ("test", settings)).check()


@pytest.mark.parametrize("settings", [{"kind": "trigram"}, {"kind": "bpe", "size": 1}, {"min_count": 0}])
def test_invalid_values(settings):
    with pytest.raises(UsageError, match="expected"):
        build(UnitsConfig, ("test", settings))
