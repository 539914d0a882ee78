"""Every table of a RESULTS file says where its figures come from, and what is stored for them is used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "utils" / "results.py"


def run(*words):
    command = [sys.executable, PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.long
def test_every_table_names_its_origin():
    """A comment before it (utils/result_tables.py) with a command that exists, or stored emissions."""
    done = run("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("name their origin, 0 faults\n")


def test_all_results_files_are_checked(load_tables):
    listed = subprocess.run(["git", "ls-files", "*RESULTS*.md"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {str(file.relative_to(ROOT)) for file in load_tables.find_files(ROOT)}
    assert set(listed.stdout.split()) <= found


@pytest.fixture
def load_tables(monkeypatch):
    """The module that reads tables."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import result_tables

    return result_tables


@pytest.mark.slow
def test_figures_are_those_of_the_stored_emissions():
    if not (ROOT / "egs/asterisk/corpus/en").is_dir():
        pytest.skip("no prompts (egs/asterisk/run.sh --stop-stage 0 fetches them)")
    done = run("recompute")
    assert done.returncode == 0, done.stdout + done.stderr
