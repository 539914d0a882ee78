"""The tests run the ds2cli of this checkout, and `ds2` of the fixture does what `python -m ds2cli` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANOTHER = """
import importlib.util, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ds2cli":
            return importlib.util.spec_from_file_location(name, {file!r})
sys.meta_path.insert(0, Finder())
"""


def test_an_environment_of_another_checkout_is_refused_in_one_line(tmp_path):
    another = tmp_path / "ds2cli" / "__init__.py"
    another.parent.mkdir()
    another.touch()
    # as an editable install does: a finder that comes before PYTHONPATH
    (tmp_path / "sitecustomize.py").write_text(ANOTHER.format(file=str(another)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_io.py"]
    path = f"{tmp_path}:{ROOT}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    message = f"ERROR: tests of {ROOT} would run the ds2cli of {another} (make setup in this checkout)"
    assert done.stderr.strip() == message and done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        (["--version"], None),
        (["no-such-command"], None),
        (["score", "-"], '{"id": "a", "text": "one two", "pred_text": "one too"}\n'),
        (["score", "missing.jsonl"], None),
        (["emit", "no-experiment", "-"], ""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_forked_command_equals_a_new_process(ds2, fork_server, tmp_path, args, stdin):
    forked = ds2(*args, stdin=stdin, cwd=tmp_path)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    assert fork_server.process is not None or not fork_server.serves(env)
    command = [sys.executable, "-m", "ds2cli", *args]
    plain = subprocess.run(
        command, input=stdin or "", capture_output=True, text=True, cwd=tmp_path, env=env, check=False
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_a_forked_command_has_its_own_folder_environment_and_time_limit(ds2, fork_server, tmp_path, monkeypatch):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "one two", "pred_text": "one too"}\n')
    assert ds2("score", "in.jsonl", cwd=tmp_path).stdout.startswith("%WER 50.00")
    folder = Path.cwd()
    assert ds2("score", "in.jsonl").returncode == 3 and Path.cwd() == folder
    with pytest.raises(subprocess.TimeoutExpired):
        ds2("score", "in.jsonl", cwd=tmp_path, timeout=0)
    assert ds2("score", "in.jsonl", cwd=tmp_path).returncode == 0
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    assert not fork_server.serves(dict(os.environ))
    assert "import 'ds2cli'" in ds2("--version").stderr, "a new process reads variables that are read at the start"
