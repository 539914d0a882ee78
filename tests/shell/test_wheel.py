"""`make wheel`: what is in the distributions, and that each runs in an environment of its own.

The environments get their packages from the index of pip's configuration, and have no compiler, no git and no cmake in
their PATH.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ds2cli

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULE_OF = {"python-multipart": "python_multipart"}
OPTIONAL = {"kenlm", "ufal", "google"}
"""Modules that are used where they are installed and belong to no extra, and google.protobuf, which onnx needs."""


def imported_packages():
    """The top-level modules that the package imports, and one of the files for each."""
    found = {}
    for path in (ROOT / "ds2cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found.update({name.partition(".")[0]: path.name for name in names})
    return found


def test_every_import_is_declared():
    """As a dependency, or in an extra for users: a wheel has no development tools."""
    extras = {name: wanted for name, wanted in PROJECT["optional-dependencies"].items() if name not in ("test", "dev")}
    declared = {re.match(r"[\w-]+", item)[0] for item in sum(extras.values(), PROJECT["dependencies"])}
    modules = {MODULE_OF.get(name, name).replace("-", "_") for name in declared}
    imported = imported_packages()
    undeclared = imported.keys() - modules - OPTIONAL - sys.stdlib_module_names - {"ds2cli"}
    assert {name: imported[name] for name in undeclared} == {}


def test_the_version_is_that_of_the_package():
    assert PROJECT["version"] == ds2cli.__version__


def test_the_program_is_there():
    module, _, function = PROJECT["scripts"]["ds2"].partition(":")
    assert f"def {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the distributions, built as `make wheel` does."""
    folder = tmp_path_factory.mktemp("dist")
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([ROOT / "utils/build_wheel.sh", folder], text=True, capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def find(dist, pattern):
    (file,) = dist.glob(pattern)
    return file


@pytest.mark.slow
def test_the_native_wheel_is_for_every_python_and_for_old_systems(dist):
    """Nothing newer than what the wheels of torch and numba need: glibc 2.28."""
    file = find(dist, "*manylinux*.whl")
    name, version, python, abi, platforms = file.stem.split("-")
    assert (name, version, python, abi) == ("ds2cli", ds2cli.__version__, "py3", "none")
    tags = [tuple(map(int, found)) for found in re.findall(r"manylinux_(\d+)_(\d+)_", platforms)]
    assert min(tags) <= (2, 28)
    with zipfile.ZipFile(file) as wheel:
        libraries = [name for name in wheel.namelist() if ".so" in name]
    assert libraries == ["ds2cli/_native/libds2native.so"]


@pytest.mark.slow
def test_the_pure_wheel_has_no_library(dist):
    with zipfile.ZipFile(find(dist, "*-py3-none-any.whl")) as wheel:
        assert not [name for name in wheel.namelist() if "_native" in name]


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["*manylinux*.whl", "*-any.whl"])
def test_a_wheel_has_all_of_the_package_and_nothing_else(dist, pattern):
    tracked = subprocess.check_output(["git", "ls-files", "ds2cli"], cwd=ROOT, text=True).splitlines()
    with zipfile.ZipFile(find(dist, pattern)) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
        metadata = wheel.read(f"ds2cli-{ds2cli.__version__}.dist-info/METADATA").decode()
        points = wheel.read(f"ds2cli-{ds2cli.__version__}.dist-info/entry_points.txt").decode()
    package = {name for name in names if name.startswith("ds2cli/") and not name.startswith("ds2cli/_native/")}
    assert set(tracked) <= package
    assert not [name for name in package if "__pycache__" in name]
    others = {name.partition("/")[0] for name in names - package if not name.startswith("ds2cli/_native/")}
    assert others == {f"ds2cli-{ds2cli.__version__}.dist-info"}
    assert f"ds2cli-{ds2cli.__version__}.dist-info/licenses/LICENSE" in names
    assert points.split() == ["[console_scripts]", "ds2", "=", "ds2cli.__main__:run"]
    parsed = Parser().parsestr(metadata)
    assert parsed["Requires-Python"] == ">=3.11" and parsed["License-Expression"] == "Apache-2.0"
    assert {"serve", "plots"} <= set(parsed.get_all("Provides-Extra"))
    assert parsed["Description-Content-Type"] == "text/markdown" and "# " in parsed.get_payload()


@pytest.mark.slow
def test_the_sdist_has_the_sources_and_no_data(dist):
    file = find(dist, "*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.check_output(["git", "ls-files", "ds2cli", "native/src"], cwd=ROOT, text=True).splitlines()
    assert {"LICENSE", "README.md", "pyproject.toml", "native/CMakeLists.txt", *tracked} <= names
    assert not [name for name in names if re.match(r"tests/|egs/[^/]*/(data|exp|corpus)/|native/bench|build/|\.", name)]
    assert not [name for name in names if name.endswith((".so", ".pyc", ".wav", ".ark", ".safetensors"))]
    assert file.stat().st_size < 3e6


@pytest.fixture(scope="module", params=["*manylinux*.whl", "*-any.whl"])
def installed(request, dist, tmp_path_factory):
    """A function that runs a program of an environment with a wheel, in a folder with an experiment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    (folder / "bin").mkdir()
    for program in ("sh", "env", "cat", "ls"):
        (folder / "bin" / program).symlink_to(shutil.which(program))
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "LC_", "LANG"))}
    env = {**kept, "PATH": f"{folder}/venv/bin:{folder}/bin", "HOME": str(folder), "PYTHONNOUSERSITE": "1"}

    def run(*command, expected=0):
        done = subprocess.run([*map(str, command)], cwd=folder, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done

    # docopt, of num2words, has no wheel; it is one file of Python
    options = ["--no-compile", "--only-binary", ":all:", "--no-binary", "docopt", "-c", ROOT / "constraints.txt"]
    run("python", "-m", "pip", "install", "-q", *options, find(dist, request.param))
    return run, folder, request.param == "*-any.whl"


def make_recordings(folder):
    """Three recordings in which each letter is a tone of its own, and their texts."""
    tones = {"a": 500, "b": 1500, "c": 3000}
    rng = np.random.default_rng(0)
    for number, text in enumerate(("abc", "cab", "bca", "acb", "bac", "cba") * 4):
        parts = [np.sin(2 * np.pi * tones[letter] * np.arange(3200) / 16000) for letter in text]
        samples = np.concatenate([np.concatenate([part, np.zeros(1600)]) for part in parts])
        soundfile.write(folder / f"{number:02d}.wav", 0.3 * samples + 0.01 * rng.normal(size=len(samples)), 16000)
        (folder / f"{number:02d}.txt").write_text(text)


@pytest.mark.slow
def test_an_installed_wheel_does_the_main_jobs(installed):
    """From recordings to an error rate, without a compiler, git or cmake."""
    run, folder, pure = installed
    assert not (shutil.which("cc", path=f"{folder}/bin") or shutil.which("git", path=f"{folder}/bin"))
    where = run("python", "-c", "import ds2cli; print(ds2cli.__file__)").stdout
    assert where.startswith(str(folder))
    assert run("ds2", "--version").stdout == f"ds2 {ds2cli.__version__}\n"
    assert "transcribe" in run("ds2", "--help").stdout
    libraries = run("python", "-m", "ds2cli.native").stdout
    assert ("is not installed in the package" if pure else "libds2native.so, ") in libraries.splitlines()[0]
    assert "kernels ready" in run("ds2", "doctor", "--warm").stderr

    (folder / "wav").mkdir()
    make_recordings(folder / "wav")
    run("ds2", "prepare", "folder", "wav", "rows.jsonl")
    run("ds2", "featurize", "rows.jsonl", "feats.jsonl", "--dir", "feats")
    small = ("channels=[32]", "kernels=[11]", "strides=[3]", "rnn_layers=1", "rnn_size=64")
    settings = [item for value in small for item in ("--set", f"model.{value}")]
    trained = run("ds2", "train", "feats.jsonl", "exp", "--epochs", 30, "--set", "optim.lr=3e-3", *settings)
    warnings = [line for line in trained.stderr.splitlines() if "without the native library" in line]
    assert len(warnings) == pure and ("pip install" in warnings[0] if pure else True)
    run("ds2", "lm", "rows.jsonl", "lm.arpa", "--order", 3, "--unit", "char", "--estimator", "own")
    run("ds2", "emit", "exp", "feats.jsonl", "emit.jsonl", "--dir", "emissions")
    run("ds2", "decode", "exp", "emit.jsonl", "decoded.jsonl", "--lm", "lm.arpa")
    assert "%WER" in run("ds2", "score", "decoded.jsonl").stdout
    run("ds2", "align", "exp", "emit.jsonl", "aligned.jsonl", "--ctm", "words.ctm")
    run("ds2", "export", "exp", "out.ds2", "--clip", "wav/00.wav")
    texts = [run("ds2", "transcribe", network, "wav/00.wav").stdout for network in ("exp", "out.ds2")]
    assert texts[0] == texts[1] != ""
    error = run("ds2", "transcribe", "none", "wav/00.wav", expected=3).stderr
    assert error.startswith("ds2: ") and error.count("\n") == 1


@pytest.mark.slow
def test_the_extras_can_be_installed(dist, tmp_path):
    """The dependencies of `ds2cli[serve,plots]` have versions that go together; nothing is installed."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "-q", "-c", ROOT / "constraints.txt"]
    done = subprocess.run(
        [*command, f"{find(dist, '*-any.whl')}[serve,plots]"], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
