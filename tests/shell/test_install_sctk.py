"""utils/install_sctk.sh, without a download."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "utils" / "install_sctk.sh"
TOOLS = ("dirname", "mktemp", "rm", "mkdir", "timeout", "tail", "install", "mv")

DOWNLOAD = """for word; do [[ $word == download ]] && touch sctk_2.4.10_amd64.deb; done; exit 0"""
UNPACK = """mkdir -p "$3/usr/lib/sctk/bin"; for p in sclite rover; do echo new > "$3/usr/lib/sctk/bin/$p"; done"""


@pytest.fixture
def run(tmp_path):
    """Run the script with these programs only, which do what their scripts say."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def run(*args, system="", **scripts):
        for name, script in scripts.items():
            make_program(programs / name.replace("_", "-"), script)
        env = {"PATH": str(programs), "SCTK_SYSTEM_BIN": str(system or tmp_path / "no")}
        command = ["/bin/bash", str(SCRIPT), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    return run


def make_program(path, script="exit 0"):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def test_usage(run):
    assert run("--help").stdout.startswith("usage: ")
    assert run("--no-such-option").returncode == 2


def test_what_is_installed_is_not_downloaded(run, tmp_path):
    bin_ = tmp_path / "bin"
    make_program(tmp_path / "system" / "sclite")
    done = run(bin_, system=tmp_path / "system")
    assert (done.returncode, done.stderr) == (0, f"sclite is already in {tmp_path / 'system'}\n")
    make_program(bin_ / "sclite")
    assert run(bin_).stderr == f"sclite is already in {bin_}\n"
    assert run("--if-possible", bin_).stderr == ""


def test_a_program_on_the_path_is_enough(run, tmp_path):
    assert run("--if-possible", tmp_path / "bin", sclite="exit 0").stderr == ""
    assert not (tmp_path / "bin").exists()


def test_the_package_is_unpacked(run, tmp_path):
    done = run(tmp_path / "bin", apt_get=DOWNLOAD, dpkg=UNPACK)
    assert (done.returncode, done.stderr) == (0, f"sclite, sc_stats and rover in {tmp_path / 'bin'}\n")
    assert sorted(p.name for p in (tmp_path / "bin").iterdir()) == ["rover", "sclite"]
    assert (tmp_path / "bin" / "sclite").stat().st_mode & 0o111


def test_lists_of_packages_are_fetched_if_there_are_none(run, tmp_path):
    log = tmp_path / "log"
    fails_first = f'echo "$@" >> {log}; [[ $(wc -l < {log}) -gt 1 ]] || exit 100; {DOWNLOAD}'
    (tmp_path / "programs" / "wc").symlink_to(shutil.which("wc"))
    assert run(tmp_path / "bin", apt_get=fails_first, dpkg=UNPACK).returncode == 0
    first, update, last = log.read_text().splitlines()
    # not those of the system, which only root may change
    assert "Dir::State::lists" not in first and first.endswith("download sctk")
    assert "Dir::State::lists" in update and update.endswith("update") and last.endswith("download sctk")


@pytest.mark.parametrize(
    ("scripts", "reason"),
    [
        ({}, "apt-get not found: on other systems than Debian and Ubuntu, build github.com/usnistgov/SCTK"),
        ({"apt_get": "echo E: no network; exit 100", "dpkg": UNPACK}, "apt-get download sctk failed: E: no network"),
        ({"apt_get": DOWNLOAD, "dpkg": "echo damaged >&2; exit 2"}, "dpkg -x failed: damaged"),
    ],
)
def test_a_failure_is_one_line(run, tmp_path, scripts, reason):
    done = run(tmp_path / "bin", **scripts)
    assert done.returncode == 1 and reason in done.stderr and len(done.stderr.splitlines()) == 1
    done = run("--if-possible", tmp_path / "bin")
    assert done.returncode == 0 and not (tmp_path / "bin").exists()
    (line,) = done.stderr.splitlines()
    assert f"without sclite ({reason}" in line and line.endswith("the tests that need it are skipped")
