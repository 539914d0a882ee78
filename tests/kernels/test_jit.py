import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.kernels import _jit
from ds2cli.kernels.edit import count_steps

KERNELS = Path(_jit.__file__).parent


@pytest.fixture
def run_outer(tmp_path):
    """Runs a package in a new process: outer calls middle, middle calls inner, and other is unrelated.

    Returns the words it prints: the result of outer, and the number of cache hits of outer and of the unrelated kernel.
    """
    package = tmp_path / "toykernels"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_jit.py").write_text(Path(_jit.__file__).read_text())
    head = "from toykernels._jit import kernel\n"
    (package / "middle.py").write_text(
        f"{head}from toykernels import (\n    inner,\n)\n"
        "add = inner.inner\n@kernel\ndef middle(x):\n    return add(x)\n"
    )
    (package / "main.py").write_text(
        "import sys\nfrom toykernels._jit import store_installed\n"
        "from toykernels.outer import outer\nfrom toykernels.other import other\nother(1)\n"
        "print(outer(1), *(sum(f.stats.cache_hits.values()) for f in (outer, other)))\n"
        "assert 'store' not in sys.argv or store_installed()\n"
    )
    (package / "outer.py").write_text(
        f"{head}from toykernels.middle import middle\n@kernel\ndef outer(x):\n    return middle(x) * 10\n"
    )

    def run(added, *arguments, unrelated=0, **env):
        (package / "inner.py").write_text(f"{head}@kernel\ndef inner(x):\n    return x + {added}\n")
        other = package / "other.py"
        if not other.exists() or f"+ {unrelated}\n" not in other.read_text():
            other.write_text(f"{head}@kernel\ndef other(x):\n    return x + {unrelated}\n")
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **env}
        env = {name: value for name, value in env.items() if value}
        command = [sys.executable, "-m", "toykernels.main", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_only_a_change_in_a_called_module_recompiles(run_outer, tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    assert run_outer(1, **env) == ["20", "0", "0"]
    assert run_outer(1, **env) == ["20", "1", "1"]
    assert run_outer(2, **env) == ["30", "0", "1"]
    assert run_outer(2, unrelated=5, **env) == ["30", "1", "0"]
    folders = sorted(p.name.partition("-")[0] for p in (tmp_path / "cache/ds2cli").iterdir())
    assert folders == ["inner", "inner", "middle", "middle", "other", "other", "outer", "outer"]
    assert not list(tmp_path.glob("toykernels/__pycache__/*.nb?"))


def test_without_a_writable_cache_a_private_temporary_folder_is_used(run_outer, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    temporary = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": ""}
    assert run_outer(1, NUMBA_CACHE_DIR=str(tmp_path / "file"), **temporary) == ["20", "0", "0"]
    assert run_outer(1, NUMBA_CACHE_DIR="", HOME=str(tmp_path / "file"), **temporary) == ["20", "1", "1"]
    (folder,) = (tmp_path / "tmp").glob("ds2cli-*")
    assert folder.name == f"ds2cli-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("prepare", ["open", "link"])
def test_a_temporary_folder_that_others_can_write_is_not_used(run_outer, tmp_path, prepare):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    folder = tmp_path / f"tmp/ds2cli-{os.getuid()}"
    if prepare == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "tmp")}
    assert run_outer(1, **env) == ["20", "0", "0"]
    assert not list(folder.iterdir())


def test_what_one_user_stores_in_the_package_others_do_not_compile(run_outer, tmp_path):
    def cache(user):
        return {"NUMBA_CACHE_DIR": str(tmp_path / user)}

    assert run_outer(1, "store", **cache("a")) == ["20", "0", "0"]
    assert run_outer(1, **cache("b")) == ["20", "1", "1"]
    # a change compiles, and replaces what is stored
    assert run_outer(2, "store", **cache("c")) == ["30", "0", "1"]
    assert run_outer(2, **cache("d")) == ["30", "1", "1"]
    names = [p.name.partition("-")[0] for p in (tmp_path / "toykernels/__pycache__").iterdir()]
    assert sorted(names) == ["inner", "middle", "other", "outer"]
    assert not list(tmp_path.rglob(".part*"))


def test_a_package_that_cannot_be_written_stores_nothing(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(_jit, "INSTALLED", tmp_path / "file")
    assert count_steps in _jit.KERNELS
    assert not _jit.store_installed()


def test_a_cache_of_the_package_that_cannot_be_copied_leaves_that_of_the_user_in_use(monkeypatch, tmp_path):
    def fail(*_arguments, **_settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setattr(_jit, "INSTALLED", tmp_path / "installed")
    source = tmp_path / "c.py"
    source.write_text("x = 1\n")
    folder = _jit.cache_folder(source)
    (tmp_path / "installed" / folder.name / "path").mkdir(parents=True)
    monkeypatch.setattr(_jit.shutil, "copytree", fail)
    assert _jit.cache_folder(source) == folder and folder.parent == tmp_path / "mine" / "ds2cli"
    assert not list(folder.iterdir())


def test_numba_cache_dir_is_used_and_the_oldest_folders_of_a_module_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path / "mine"))
    source = tmp_path / "a.py"
    kept = tmp_path / "mine/ds2cli/ab-0123456789abcdef"
    kept.mkdir(parents=True)
    os.utime(kept, (0, 0))
    folders = []
    for i in range(_jit.MAX_OLD_CACHES + 3):
        source.write_text(f"x = {i}\n")
        _jit._read.cache_clear()
        folders.append(_jit.cache_folder(source))
        os.utime(folders[-1], (i, i))
    assert folders[0].parent == tmp_path / "mine" / "ds2cli"
    assert [p.exists() for p in folders] == [False, False, *[True] * (_jit.MAX_OLD_CACHES + 1)]
    assert _jit.cache_folder(source) == folders[-1]
    assert kept.exists()


def test_another_version_of_numba_has_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path))
    source = tmp_path / "b.py"
    source.write_text("x = 1\n")
    folder = _jit.cache_folder(source)
    assert _jit.cache_folder(source) == folder
    monkeypatch.setattr(_jit.numba, "__version__", "0.0")
    assert _jit.cache_folder(source) != folder


def test_kernels_are_cached_in_the_folder_of_their_module():
    assert Path(count_steps.stats.cache_path).parent == _jit.cache_folder(KERNELS / "edit.py")


@pytest.mark.parametrize("file", sorted(KERNELS.glob("*.py")), ids=lambda p: p.stem)
def test_imports_equal_those_of_the_syntax_tree(file):
    def expected(path, seen):
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names = {m.removeprefix("ds2cli.kernels.") for m in modules if m.startswith("ds2cli.kernels.")}
            if "ds2cli.kernels" in modules:
                names |= {a.name for a in node.names}
            for imported in {KERNELS / f"{name}.py" for name in names} - seen:
                expected(imported, seen)
        return seen

    assert set(_jit.imported_modules(file)) == expected(file, set())
