"""What every test may use: the recordings, and `ds2` as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("DS2_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real recordings; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"no recordings at {SHARED} (set DS2_TEST_DATA)")
    return SHARED


@pytest.fixture
def ds2():
    """Run `ds2 …` in a process of its own; the result has .returncode .stdout .stderr."""

    def run(*args, stdin=None, cwd=None, timeout=300):
        command = [sys.executable, "-m", "ds2cli", *map(str, args)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=timeout, env=env)

    return run


@pytest.fixture
def jsonl():
    """Write rows to a file, or read them back when no rows are given."""

    def use(path, rows=None):
        if rows is None:
            return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
        Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        return str(path)

    return use
