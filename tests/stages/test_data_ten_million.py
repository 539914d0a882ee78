"""The data commands on ten million rows (3 GB), in bounded memory; needs 13 GB of disk and some minutes."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = 10_000_000
MAX_MB = 700


def peak_mb(folder, *command):
    """Run a command in a folder; the highest memory of its process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    child = subprocess.Popen([sys.executable, *map(str, command)], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return usage.ru_maxrss / 1024


@pytest.mark.slow
def test_ten_million_rows_are_sorted_split_combined_and_counted(tmp_path):
    if shutil.disk_usage(tmp_path).free < 16 << 30:
        pytest.skip("needs 16 GB of disk")
    peak_mb(tmp_path, ROOT / "utils/big_manifest.py", "m.jsonl", "--rows", ROWS)
    # every seventh row in reverse order, seven times: no run of the sort follows on another one
    reverse = "split -n r/7 m.jsonl part. && for part in part.*; do tac $part; rm $part; done > shuffled.jsonl"
    subprocess.run(["bash", "-c", reverse], cwd=tmp_path, check=True)
    peaks = {"sort": peak_mb(tmp_path, "-m", "ds2cli", "data", "sort", "shuffled.jsonl", "sorted.jsonl")}
    assert filecmp.cmp(tmp_path / "sorted.jsonl", tmp_path / "m.jsonl", shallow=False)
    (tmp_path / "shuffled.jsonl").unlink()
    (tmp_path / "sorted.jsonl").unlink()
    split = ("split", "m.jsonl", "part.JOB.jsonl", "--parts", 8, "--by", "duration")
    peaks["split"] = peak_mb(tmp_path, "-m", "ds2cli", "data", *split)
    parts = [f"part.{i}.jsonl" for i in range(1, 9)]
    peaks["combine"] = peak_mb(tmp_path, "-m", "ds2cli", "data", "combine", *parts, "combined.jsonl")
    assert filecmp.cmp(tmp_path / "combined.jsonl", tmp_path / "m.jsonl", shallow=False)
    peaks["stats"] = peak_mb(tmp_path, "-m", "ds2cli", "data", "stats", "m.jsonl")
    assert max(peaks.values()) < MAX_MB, peaks
