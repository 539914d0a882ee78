"""egs/commonvoice: what its options become, and every stage on the shared clips with a tiny network."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli import manifest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs/commonvoice/run.sh"
TINY = """
epochs = 2
batch_s = 40.0
keep_best = 2
[model]
channels = [16]
kernels = [11]
strides = [3]
rnn_layers = 1
rnn_size = 16
"""


def run(*words, timeout=120):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    env.pop("COMMONVOICE", None)
    return subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout)


def commands(*options):
    """The commands that the recipe would run, as lists of words."""
    done = run(RECIPE, "--dry-run", "true", "--gpu", "", *options)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line, comments=True) for line in done.stdout.splitlines() if not line.startswith("#")]


def words_of(found, *start):
    """The words of the one command that begins so."""
    (command,) = [words for words in found if words[: len(start)] == list(start)]
    return " ".join(command)


def test_a_language_with_its_tables():
    found = commands(
        "--lang",
        "tr",
        "--corpus-dir",
        "/corpora/cv-corpus-21.0",
        "--text-rules",
        "cased",
        "--numbers",
        "spell",
        "--init",
        "/exp/en",
    )
    for part in ("train", "dev", "test"):
        words = words_of(found, "ds2", "prepare", "commonvoice", "/corpora/cv-corpus-21.0", f"data/tr/{part}.jsonl")
        assert f"--lang tr --part {part} --text-rules cased --numbers spell" in words
    assert (
        "exp/tr/lm.bin --dev data/tr/dev.jsonl --config conf/lm.word.toml --lang tr --text-rules cased --numbers spell"
        in words_of(found, "ds2", "lm")
    )
    assert "--config conf/ds2.toml --seed 0 --init /exp/en" in words_of(found, "ds2", "train")
    assert "--unit word" in words_of(found, "ds2", "score", "--compare")


def test_a_language_without_spaces():
    found = commands("--lang", "zh-CN", "--corpus-dir", "/corpora/cv-corpus-21.0")
    assert "--config conf/lm.char.toml --lang zh-CN" in words_of(found, "ds2", "lm")
    assert "--unit char" in words_of(found, "ds2", "score", "--compare")


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--lang is missing: expected the code of a language"),
        (["--lang", "tr"], "download it with an account at https://datacollective.mozillafoundation.org"),
        (["--lang", "tr", "--corpus-dir", "/none"], "no folder of Common Voice at '/none'"),
        (["--lang", "tr", "--rirs", "rooms", "--on-the-fly", "false"], "leave out --on-the-fly false"),
        (["--lang", "tr", "--unit", "letter"], "--unit: expected word or char, got 'letter'"),
        (["--lang", "tr", "--net", "english-icml", "--conf", "conf/ds2.toml"], "--net and --conf both name a network"),
    ],
)
def test_options_that_do_not_fit(options, message):
    done = run(RECIPE, *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def places(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    return ("--conf", tmp_path / "tiny.toml", "--data", tmp_path / "data", "--exp", tmp_path / "exp")


@pytest.mark.slow
def test_mini(shared_data, tmp_path, places):
    done = run(RECIPE, "--mini", "true", "--corpus-dir", shared_data / "commonvoice", *places, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    exp, data = tmp_path / "exp", tmp_path / "data"
    parts = [
        {row["text"] for row in manifest.read(str(data / f"{part}.jsonl"), ("text",))}
        for part in ("train", "dev", "test")
    ]
    assert [len(part) for part in parts] == [24, 8, 8] and len(set.union(*parts)) == 40
    scored = json.loads((exp / "test.lm.json").read_text())
    assert scored["sentences"]["scored"] == 8 and scored["certificate"]["references"]
    table = (exp / "results.md").read_text("utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["dev, greedy", "dev, lm", "test, greedy", "test, lm"]
    assert f"{scored['rates']['char']['rate']:.2f}" == table[-1].split("|")[5].strip()
    assert done.stdout.endswith((exp / "results.md").read_text("utf-8"))


@pytest.mark.slow
def test_jobs_and_computed_features(shared_data, tmp_path, places):
    """As jobs; then with features computed while training; and everything again, which is fresh."""
    mini = (RECIPE, "--mini", "true", "--corpus-dir", shared_data / "commonvoice", "--cmd", "utils/run.sh", *places)
    for options in ((), ("--exp", tmp_path / "fly", "--on-the-fly", "true")):
        done = run(*mini, *options, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
    log = (tmp_path / "exp/log/train.log").read_text("utf-8")
    assert log.splitlines()[-1].endswith("status 0")
    assert (tmp_path / "fly/results.md").is_file()
    done = run(*mini, "--resume", "true", timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("prepare.all", "featurize.train", "lm", "train", "emit.test", "tune", "decode.test.greedy"):
        assert f"{name}: fresh" in done.stderr.splitlines()
