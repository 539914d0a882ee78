"""The benchmark of `ds2 featurize`: its message without recordings, and a tiny table."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

BENCH = Path(__file__).with_name("bench_featurize.py")


def run(*options):
    done = subprocess.run([sys.executable, BENCH, *map(str, options)], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_recordings_it_prints_where_they_are_expected(tmp_path):
    assert run("--data", tmp_path) == f"skipped: no FLAC files in {tmp_path} (--data FOLDER, or DS2_TEST_DATA)\n"


@pytest.mark.long
def test_it_prints_a_table(tmp_path):
    soundfile.write(tmp_path / "a.flac", 0.1 * np.random.default_rng(0).normal(size=160_000), 16000)
    out = run("--data", tmp_path, "--hours", 0.05, "--rounds", 1, "--nj", "2", "--folder", tmp_path).splitlines()
    assert [line.split("|")[2].strip() for line in out if line.startswith("| 0.05")] == ["--nj 2", "--nj 2 --compress"]
    assert out[-2].startswith("best: ") and out[-1].endswith("(goal 200: met)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac"]
