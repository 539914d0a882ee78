import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.kernels import _jit
from ds2cli.kernels.edit import edit_counts


@pytest.fixture
def run_outer(tmp_path):
    """Runs a package of two kernels, one calling the other, in a new process; returns the words it prints."""
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


def test_change_in_a_called_module_recompiles(run_outer, tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    assert run_outer(1, **env) == ["20", "0"]
    assert run_outer(1, **env) == ["20", "1"]
    assert run_outer(2, **env) == ["30", "0"]
    assert len(list((tmp_path / "cache/ds2cli").iterdir())) == 2
    assert not list(tmp_path.glob("toykernels/__pycache__/*.nb?"))


def test_without_a_writable_folder_every_process_compiles(run_outer, tmp_path):
    (tmp_path / "file").touch()
    assert run_outer(1, NUMBA_CACHE_DIR=str(tmp_path / "file")) == ["20", "0"]


def test_numba_cache_dir_is_used_and_the_oldest_folders_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path / "mine"))
    sources = tmp_path / "sources"
    sources.mkdir()
    folders = []
    for i in range(_jit.MAX_OLD_CACHES + 3):
        (sources / "a.py").write_text(f"x = {i}\n")
        folders.append(_jit.cache_folder(sources))
        os.utime(folders[-1], (i, i))
    assert folders[0].parent == tmp_path / "mine" / "ds2cli"
    assert [p.exists() for p in folders] == [False, False, *[True] * (_jit.MAX_OLD_CACHES + 1)]
    assert _jit.cache_folder(sources) == folders[-1]


def test_kernels_are_cached_in_the_folder():
    assert Path(edit_counts.stats.cache_path).parent == _jit._FOLDER
