"""The alignment benchmark: its message without the peers, and the path of our aligner, the same on any machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).with_name("bench_align.py")
PEERS = Path(os.environ.get("DS2_PEERS", BENCH.parents[3] / "shared" / "peers"))


def run(*options, **variables):
    env = {**os.environ, **variables}
    done = subprocess.run([sys.executable, BENCH, *options], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_peers_it_prints_where_they_are_expected(tmp_path):
    expected = f"skipped: no bench_align.py in {tmp_path} (DS2_PEERS=FOLDER)\n"
    assert run(DS2_PEERS=str(tmp_path)) == expected


@pytest.mark.peer
def test_our_path_is_as_probable_as_that_of_the_exact_peers():
    if not (PEERS / "bench_align.py").is_file():
        pytest.skip(f"no bench_align.py in {PEERS} (set DS2_PEERS)")
    out = run("--sizes", "1500,200,29", "--rounds", "1", "--only", "^ours$")
    row = next(line for line in out.splitlines() if line.startswith("| 1500"))
    # as in ../shared/reference/peers.md, section 3
    assert [cell.strip() for cell in row.split("|")][4] == "ours" and row.endswith("| -59.65 |")
