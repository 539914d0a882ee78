"""What `ds2 doctor --warm` compiles is all that the commands use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.cli.main import COMPILING
from ds2cli.config.units import UnitsConfig
from ds2cli.text.vocab import BLANK, Vocab

ROOT = Path(__file__).parents[2]
VOCAB = Vocab((BLANK, " ", "a", "b", "c"))
TEXTS = ["ab", "b ab", "", "ab ab c"]
COMMANDS = """
lm text.txt words.arpa --order 3 --estimator own --dev text.txt
lm text.txt letters.bin --order 2 --estimator own --unit char
lm text.txt short.arpa --order 2 --estimator own
lm mix words.arpa short.arpa mixed.bin --dev text.txt
lm info words.arpa text.txt --vocab exp
decode exp dev.jsonl hyp.jsonl --lm words.arpa --nbest 3 --hotwords hotwords.txt --timestamps
decode exp dev.jsonl bin.jsonl --lm mixed.bin --closed --partials 0.04 --nj 2
decode exp dev.jsonl letters.jsonl --lm letters.bin --lexicon words.txt
decode exp dev.jsonl beam.jsonl
decode exp dev.jsonl greedy.jsonl --greedy
decode bigrams bigrams.jsonl spelled.jsonl --lm words.arpa
decode --tune exp dev.jsonl --lm words.arpa --set alphas=[0.5] --set betas=[0] --set unknowns=[-2]
align exp dev.jsonl ali.jsonl
score hyp.jsonl scored.jsonl --why exp
score spelled.jsonl --why bigrams --worst 2
score beam.jsonl --alignment sclite
score --compare greedy.jsonl beam.jsonl
rover greedy.jsonl beam.jsonl letters.jsonl combined.jsonl
"""


@pytest.fixture
def place(tmp_path):
    """Two experiments with their vocabularies only, emissions of TEXTS for each, texts and word lists."""
    bigrams = Vocab.from_texts(TEXTS, UnitsConfig(kind="bigram"))
    rng = np.random.default_rng(0)
    for exp, rows_file, vocab in (("exp", "dev.jsonl", VOCAB), ("bigrams", "bigrams.jsonl", bigrams)):
        (tmp_path / exp).mkdir()
        vocab.save(tmp_path / exp / "tokens.txt")
        rows = []
        with ArkWriter(tmp_path / f"{exp}.ark") as ark:
            for i, text in enumerate(TEXTS):
                path = [step for symbol in vocab.encode(text) for step in (symbol, 0)] or [0]
                p = rng.dirichlet(np.full(len(vocab), 0.3), len(path)) * 0.3
                p[np.arange(len(path)), path] += 0.7
                ref = ark.write(f"u{i}", np.log(p + 1e-6).astype(np.float32))
                rows.append({"id": f"u{i}", "text": text, "emission": ref, "step_s": 0.02})
        manifest.write(str(tmp_path / rows_file), rows)
    (tmp_path / "text.txt").write_text("ab b\nb ab c\nab\nc ab b\n" * 3)
    (tmp_path / "words.txt").write_text("ab\nb\nc\n")
    (tmp_path / "hotwords.txt").write_text("ab\n")
    return tmp_path


RUN_ALL = """
import json, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from ds2cli.cli.main import app
from ds2cli.kernels import _jit
from ds2cli.stages.doctor_warm import run_kernels

def loaded():
    return {f"{k.__qualname__}{s}" for k in _jit.KERNELS for s in k.signatures}

with TemporaryDirectory() as folder:
    run_kernels(Path(folder))
before, more = loaded(), {}
for line in sys.argv[1].strip().splitlines():
    try:
        app(line.split(), standalone_mode=False)
    except SystemExit as e:
        assert not e.code, line
    more[line] = sorted(loaded() - before)
print(json.dumps(more), file=sys.stderr)
"""


def test_the_commands_call_no_kernel_with_other_types(place):
    """In one process: the signatures that the commands add to those of `run_kernels`."""
    command = [sys.executable, "-c", RUN_ALL, COMMANDS]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    more = json.loads(done.stderr.splitlines()[-1])
    assert list(more) == COMMANDS.strip().splitlines()
    assert not any(more.values()), more


MAIN = """
import sys
from pathlib import Path
from ds2cli.kernels import _jit
_jit.INSTALLED = Path(sys.argv.pop(1))
from ds2cli.cli.main import main
main()
"""


@pytest.fixture
def run_as(place):
    """Runs `ds2` with a cache of its own and `place`/installed as the caches in the package; returns its log lines."""

    def run(cache, *arguments):
        command = [sys.executable, "-c", MAIN, str(place / "installed"), *arguments]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(place / cache)}
        done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    return run


def test_a_command_that_has_to_compile_says_so_once(place, run_as, jsonl):
    rows = jsonl(place / "rows.jsonl", [{"id": "a", "text": "ab b", "pred_text": "ab"}])
    assert [line for line in run_as("mine", "score", rows) if "compiling" in line] == [COMPILING]
    assert not any("compiling" in line for line in run_as("mine", "score", rows))


@pytest.mark.slow
def test_after_warming_an_empty_cache_the_commands_compile_nothing(place, run_as):
    def compiled(cache):
        return {p.relative_to(place / cache): p.read_bytes() for p in (place / cache).rglob("*.nb?")}

    first, again = run_as("mine", "doctor", "--warm"), run_as("mine", "doctor", "--warm")
    assert "compiled in 0.0 s" in again[-1] and "compiled in 0.0 s" not in first[-1]
    files = compiled("mine")
    assert len(files) > 100
    for cache in ("mine", "other"):
        for line in COMMANDS.strip().splitlines():
            assert COMPILING not in run_as(cache, *line.split())
        # another user starts with a copy of what the first one stored in the package
        assert compiled(cache).items() <= files.items()
    assert compiled("mine") == files
