"""What the checks of lhotse find of planted faults. Those of Kaldi are shell scripts, which are not installed here."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture
def bench(shared_data):
    pytest.importorskip("lhotse")
    import bench_checks

    return bench_checks


@pytest.mark.parametrize(
    "kind, lhotse_finds",
    [("wrong-duration", True), ("no-such-channel", True), ("duplicate-audio", False), ("silence", False)],
)
def test_ours_names_the_row_and_the_kind(bench, kind, lhotse_finds):
    found = bench.compare([kind], 20, None)
    assert found["ours"] == (True, 1)
    assert found["lhotse"][0] == lhotse_finds


def test_lhotse_reports_the_first_of_several_faults(bench):
    found = bench.compare(["wrong-duration", "wrong-rate", "missing-audio"], 20, None)
    assert found["ours"] == (True, 3)
    assert found["lhotse"] == (True, 1)


def test_healthy_rows_are_reported_by_no_one(bench):
    found = bench.compare([], 20, None)
    assert found["lhotse"] == (False, 0) and found["ours"] == (False, 0)
