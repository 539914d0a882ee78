import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.kernels import _jit
from ds2cli.kernels.edit import edit_counts


@pytest.fixture
def outer(tmp_path):
    """A package of two kernels, one of which calls the other; returns what a new process gets from it."""
    package = tmp_path / "toykernels"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_jit.py").write_text(Path(_jit.__file__).read_text())
    (package / "outer.py").write_text(
        "from toykernels._jit import kernel\nfrom toykernels.inner import inner\n"
        "@kernel\ndef outer(x):\n    return inner(x) * 10\n"
        "print(outer(1), sum(outer.stats.cache_hits.values()))\n"
    )

    def run(added, **env):
        (package / "inner.py").write_text(
            f"from toykernels._jit import kernel\n@kernel\ndef inner(x):\n    return x + {added}\n"
        )
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **env}
        env = {name: value for name, value in env.items() if value}
        command = [sys.executable, "-m", "toykernels.outer"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_a_change_in_a_called_file_is_noticed(outer, tmp_path):
    where = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    assert outer(1, **where) == ["20", "0"]
    assert outer(1, **where) == ["20", "1"]
    assert outer(2, **where) == ["30", "0"]
    assert len(list((tmp_path / "cache/ds2cli").iterdir())) == 2
    assert not list(tmp_path.glob("toykernels/__pycache__/*.nb?"))


def test_without_a_writable_folder_it_compiles_anew(outer, tmp_path):
    (tmp_path / "file").touch()
    assert outer(1, NUMBA_CACHE_DIR=str(tmp_path / "file")) == ["20", "0"]


def test_the_users_folder_is_taken_and_the_oldest_texts_go(tmp_path, monkeypatch):
    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path / "mine"))
    sources = tmp_path / "sources"
    sources.mkdir()
    made = []
    for i in range(_jit.KEEP + 3):
        (sources / "a.py").write_text(f"x = {i}\n")
        made.append(_jit.cache_folder(sources))
        os.utime(made[-1], (i, i))
    assert made[0].parent == tmp_path / "mine" / "ds2cli"
    assert [p.exists() for p in made] == [False, False, *[True] * (_jit.KEEP + 1)]
    assert _jit.cache_folder(sources) == made[-1]


def test_the_kernels_are_cached_there():
    assert Path(edit_counts.stats.cache_path).parent == _jit._FOLDER
