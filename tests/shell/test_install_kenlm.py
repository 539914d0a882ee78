"""utils/install_kenlm.sh, without the three minutes of compilation."""

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
