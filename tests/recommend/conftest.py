import pytest

from ds2cli.config.features import FeatureConfig
from ds2cli.manifest_lines import Line
from ds2cli.recommend.facts import FIELDS, measure


@pytest.fixture
def facts_of():
    """A function from rows, with `duration` and some of the other fields, to their facts."""

    def find(rows, **features):
        lines = [
            Line(f"u{i:05d}", i + 1, "", row.get("duration", float("nan")), tuple(row.get(name) for name in FIELDS))
            for i, row in enumerate(rows)
        ]
        return measure(lines, FeatureConfig(**features) if features else None)

    return find
