"""`ds2 data validate` on a million rows: its CPU time, which is what an idle machine takes, and its memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = 1_000_000
MAX_S, MAX_MIB = 30, 500


def measure(*arguments, folder):
    """CPU time (s), highest memory (MiB) and status of a command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "out").open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "ds2cli", *arguments], stdout=out, stderr=out, cwd=folder, env=env
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, child.returncode


@pytest.mark.slow
def test_a_million_rows_are_checked_in_half_a_minute_and_half_a_gibibyte(tmp_path):
    make = [sys.executable, ROOT / "utils/big_manifest.py", tmp_path / "m.jsonl", "--rows", str(ROWS)]
    subprocess.run(make, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with (tmp_path / "m.jsonl").open("a") as f:
        f.write('{"id":"a","audio_filepath":"a.wav","duration":-1,"text":"x"}\n')
    (tmp_path / "t.toml").write_text("[augment]\nspeeds = [0.9, 1.0, 1.1]\n")
    for options in ((), ("--train-config", "t.toml")):
        seconds, mib, status = measure("data", "validate", "m.jsonl", "--no-files", *options, folder=tmp_path)
        text = (tmp_path / "out").read_text()
        assert status == 3 and f"2 faults in 1 of {ROWS + 1} rows" in text and f"m.jsonl:{ROWS + 1} a:" in text
        assert seconds < MAX_S and mib < MAX_MIB, (seconds, mib)
