"""utils/install_kenlm.sh, without the three minutes of compilation."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "utils" / "install_kenlm.sh"
BASH = "/bin/bash"


def run(*args, **env):
    return subprocess.run([BASH, SCRIPT, *map(str, args)], capture_output=True, text=True, env=env or None, check=False)


def fake_programs(folder, *names, script="exit 0"):
    for name in names:
        (folder / name).write_text(f"#!{BASH}\n{script}\n")
        (folder / name).chmod(0o755)


def cache_folder(root):
    machine = subprocess.run([BASH, "-c", "echo $HOSTTYPE"], capture_output=True, text=True, check=True).stdout.strip()
    folder = root / "ds2cli" / f"kenlm-0.3.0-{machine}"
    folder.mkdir(parents=True)
    return folder


def test_a_second_run_does_nothing(tmp_path):
    fake_programs(tmp_path, "lmplz", "build_binary", "query")
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, f"KenLM is already in {tmp_path}\n")


def test_usage():
    assert run("--help").stdout.startswith("usage: ")
    assert run("--no-such-option").returncode == 2


def test_missing_packages_are_one_line_when_not_root(tmp_path):
    fake_programs(tmp_path, "python3", "apt-get", "make", "cmake")
    fake_programs(tmp_path, "c++", script="exit 1")
    fake_programs(tmp_path, "id", script="echo 1000")
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    done = run(tmp_path / "bin", PATH=str(tmp_path), PYTHON="python3")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "(sudo apt-get install -y --no-install-recommends zlib1g-dev libboost-program-options-dev" in done.stderr


def test_programs_of_another_clone_are_copied_from_the_cache(tmp_path):
    cache = cache_folder(tmp_path)
    fake_programs(cache, "lmplz", "build_binary", "query", script="echo Usage: --order")
    done = run("--if-possible", tmp_path / "bin", PATH="/usr/bin:/bin", XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        0, f"KenLM 0.3.0: lmplz build_binary query copied from {cache} to {tmp_path / 'bin'}",
    )  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "bin").iterdir()) == ["build_binary", "lmplz", "query"]
    assert run("--if-possible", tmp_path / "bin").stderr == ""


def test_cached_programs_that_do_not_start_here_are_not_used_and_nothing_is_installed(tmp_path):
    cache = cache_folder(tmp_path)
    fake_programs(cache, "lmplz", "build_binary", "query", script="exit 127")
    fake_programs(tmp_path, "python3", "make", "cmake")
    fake_programs(tmp_path, "apt-get", script="touch installed")
    fake_programs(tmp_path, "c++", script="exit 1")
    for name in ("dirname", "bash"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = run("--if-possible", tmp_path / "bin", PATH=str(tmp_path), PYTHON="python3", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0 and not (tmp_path / "bin").exists()
    missing, consequence = done.stderr.splitlines()
    assert (
        "missing packages (Debian names): zlib1g-dev" in missing and "tests that need them are skipped" in consequence
    )
