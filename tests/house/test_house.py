"""The rules of the code base as tests: imports between layers, file sizes, fast help, and plain language."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "ds2cli").rglob("*.py"))
# a module may import from its own layer and from those earlier in this list
LAYERS = [
    "errors cgroups memory",
    "config cores encoding inputs json_lines atomic atomic_parts io plugins stored_zip experiment_files",
    "blas kernels native processes",
    "audio text lm search metrics captions",
    "feats runtime onnx nn",
    "drops parallel write_behind fingerprint provenance staleness joined_record",
    "manifest manifest_lines plain_lines archive archive_compressed journal transcripts corpora",
    "train recognizer",
    "checks interop recommend",
    "stages",
    "api serve report",
    "ui ui_bytes ui_live",
    "cli",
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
FORBIDDEN = {("ui", "stages"), ("kernels", "config"), ("kernels", "io"), ("train", "recognizer")}
SUFFIXES = {".py", ".sh", ".md", ".toml", ".h", ".cpp", ".cu", ".cuh", ".cmake", ".txt", ".yaml"}
HEAVY = ["torch", "numba", "kenlm", "sentencepiece", "soundfile", "numpy", "scipy", "av", "rich.progress"]

# names and phrases that were replaced by the terms of the field and by plain English, as regular expressions
REPLACED_NAMES = [
    *("GoneError", "add_later", "_meet", "Rehearsal", "Asked", "deaf", "seers", "nights", "train_rubbish", "rubbish"),
    *("write_child", "conclude", "strangers?", "nobody", "[Jj]udge[sd]?", "Bank", "[Tt]old", "sayable", "doors"),
    *(
        "nn[./](workers|reduce|fit|job|files|judge|examples)",
        "kernels[./]forced",
        "stages[./](why|worst|watch|emitted)",
    ),
]
REPLACED_PHRASES = [
    *("is of --[a-z]+", "go on with", "goes on", "at the (most|least)", "so many", "anew", "beforehand", "kept a step"),
    *("a row an epoch", "wished for", "put right", "in order that", "a line a", "one a line", "whose loss", "are told"),
    *("what is said", "is made up", "of products while"),
]
REPLACED = re.compile(rf"\b({'|'.join(REPLACED_NAMES)}|(?i:{'|'.join(REPLACED_PHRASES)}))\b")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module] if node.module != "ds2cli" else [f"ds2cli.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def relative_name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=relative_name)
def test_imports_point_down(path):
    own_layer = path.relative_to(ROOT / "ds2cli").parts[0].removesuffix(".py")
    if own_layer in ("__init__", "__main__"):
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "ds2cli" or len(parts) == 1 or parts[1] == "__version__":
            continue
        assert RANK[parts[1]] <= RANK[own_layer], f"{own_layer} may not import {parts[1]}"
        assert (own_layer, parts[1]) not in FORBIDDEN


@pytest.mark.parametrize("path", FILES, ids=relative_name)
def test_files_are_small_and_named_for_their_purpose(path):
    assert len(path.read_text("utf-8").splitlines()) <= 300
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}
    assert not path.is_symlink()


def test_help_imports_nothing_heavy():
    code = f"import sys, ds2cli.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def sources():
    """The tracked text files other than this one, as (name, text)."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if (path.suffix in SUFFIXES or path.name == "Makefile") and path != Path(__file__) and path.exists():
            yield name, path.read_text("utf-8")


def test_make_setup_installs_fixed_versions_of_all_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in wanted} - {project["name"]}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert names - {line.partition("==")[0] for line in lines} == set()


def test_no_file_contains_a_path_of_a_machine():
    for name, text in sources():
        assert "/root/" not in text and "/home/" not in text, name


def test_renamed_terms_stay_renamed():
    """One name for one concept: the replaced names and turns of phrase do not come back."""
    found = []
    for name, text in sources():
        if name != "CHANGELOG.md":
            for number, line in enumerate(text.splitlines(), start=1):
                found += [f"{name}:{number}: {match.group()}" for match in REPLACED.finditer(line)]
    assert not found, "\n".join(found)
