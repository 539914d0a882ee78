"""The rules of the house, checked: who may import whom, file sizes, quick help, and no attics."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "ds2cli").rglob("*.py"))
# a module may import from its own layer and from those above it in this list
LAYERS = [
    "errors",
    "config io",
    "kernels native processes",
    "audio text lm search metrics",
    "feats nn",
    "drops parallel",
    "manifest archive corpora",
    "train recognizer",
    "stages serve report",
    "ui",
    "cli",
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
FORBIDDEN = {("ui", "stages"), ("kernels", "config"), ("kernels", "io"), ("train", "recognizer")}
HEAVY = ["torch", "numba", "kenlm", "sentencepiece", "soundfile", "numpy", "scipy", "av", "rich.progress"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module] if node.module != "ds2cli" else [f"ds2cli.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    own = path.relative_to(ROOT / "ds2cli").parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "ds2cli" or len(parts) == 1 or parts[1] == "__version__":
            continue
        assert RANK[parts[1]] <= RANK[own], f"{own} may not import {parts[1]}"
        assert (own, parts[1]) not in FORBIDDEN


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_small_and_have_one_job(path):
    assert len(path.read_text("utf-8").splitlines()) <= 300
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}
    assert not path.is_symlink()


def test_help_imports_nothing_heavy():
    code = f"import sys, ds2cli.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_file_names_a_path_of_somebodys_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".sh", ".md", ".toml", ".h", ".cpp"} and path != Path(__file__) and path.exists():
            text = path.read_text("utf-8")
            assert "/root/" not in text and "/home/" not in text, name
