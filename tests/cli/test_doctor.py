from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
import torch
import typer

from ds2cli import __version__, native
from ds2cli.cli.doctor import doctor
from ds2cli.cli.main import app
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.kernels import compilation
from ds2cli.stages import doctor_ctc, doctor_warm
from ds2cli.stages.doctor_ctc import Comparison
from ds2cli.stages.doctor_install import EXTRAS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_command(monkeypatch):
    """Run `ds2 doctor ctc` in this process with these comparisons; returns what they were to be made with."""

    def run(comparisons, *arguments):
        given = []
        monkeypatch.setattr(doctor_ctc, "compare_losses", lambda *a: given.append(a) or comparisons)
        typer.main.get_command(app).main(["doctor", "ctc", *map(str, arguments)], standalone_mode=False)
        return given[0]

    return run


def comparison(implementation, seconds, logits="random", agrees=True):
    return Comparison(logits, "float32", implementation, 1e-7, 2e-6, 1, 2, agrees, seconds)


def test_each_loss_is_shown_with_its_errors_and_its_speed_up_over_torch(run_command, capsys):
    comparisons = [comparison("native", 0.002), comparison("torch", 0.005, agrees=False)]
    options = ("--symbols", 9, "--utterances", 8, "--seed", 7)
    cases, *others = run_command(comparisons, *options)
    assert (len(cases), *others) == (8, 9, 7, "cpu")
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["random", "float32", "native", "1.0e-07", "2.0e-06", "1", "of", "2", "yes", "2.0", "2.5x"],
        ["random", "float32", "torch", "1.0e-07", "2.0e-06", "1", "of", "2", "no", "5.0", "1.0x"],
    ]
    assert any(line.startswith("8 utterances, 9 symbols, ") and line.endswith(", cpu") for line in err.splitlines())


def test_the_utterances_are_listed_with_their_steps(run_command, capsys, tmp_path, jsonl):
    rows = jsonl(tmp_path / "rows.jsonl", [{"id": "u1", "num_frames": 90, "text": "abb"}])
    run_command([], rows)
    (first, *_) = [line.split() for line in capsys.readouterr().err.splitlines() if line.endswith(" u1")]
    # 90 frames are 30 steps; a, b, blank and b need four
    assert first[:4] == ["30", "3", "4", "longest,"]


@pytest.mark.parametrize("wrong", ["native", "torch"])
def test_only_a_wrong_native_loss_is_an_error(run_command, wrong):
    comparisons = [comparison(loss, 0.1, logits) for logits in ("random", "peaky") for loss in ("native", "torch")]
    comparisons += [comparison(wrong, 0.1, "peaky", agrees=False)]
    refused = pytest.raises(Ds2Error, match=r"disagrees with the reference: peaky float32 \(train with --ctc torch")
    with refused if wrong == "native" else contextlib.nullcontext():
        run_command(comparisons)


def test_without_a_gpu_cuda_is_refused(run_command, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda: no CUDA device found"):
        run_command([], "--device", "cuda")


def test_the_losses_are_compared_on_the_rows_of_a_manifest(ds2, toy):
    done = ds2("doctor", "ctc", toy / "train.jsonl", "--utterances", "8", "--stride", "2")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split()[:3] == ["logits", "precision", "loss"] and "cost error" in head and head.endswith("speed-up")
    assert len(lines) == (8 if native.available() else 4)
    assert all(" yes " in line for line in lines if "native" in line)
    assert "native library: " in done.stderr and "48 in = 48 kept + 0 dropped" in done.stderr
    assert "label-too-long, synthetic" in done.stderr and "train-" in done.stderr


def test_without_the_library_only_torchs_loss_is_compared(ds2, toy, monkeypatch, tmp_path):
    monkeypatch.setenv("DS2_NATIVE_LIB", str(tmp_path / "none.so"))
    done = ds2("doctor", "ctc", "-", "--utterances", "8", stdin=(toy / "dev.jsonl").read_text(), cwd=toy)
    assert done.returncode == 0, done.stderr
    assert "torch is used instead (slower)" in done.stderr and "native" not in done.stdout
    assert len(done.stdout.splitlines()) == 5


@pytest.mark.parametrize("frames", [9, 0])
def test_an_invalid_row_is_not_a_disagreement(ds2, tmp_path, jsonl, frames):
    text = "hello world" if frames else ""
    found = [{"id": "a", "num_frames": 100, "text": "hello"}, {"id": "b", "num_frames": frames, "text": text}]
    done = ds2("doctor", "ctc", jsonl(tmp_path / "rows.jsonl", found))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("frames", "message"),
    [({}, "1 no-num-frames) (ds2 featurize writes num_frames)"), ({"num_frames": 9_000_000_000}, "1 too-long)\n")],
)
def test_when_all_rows_are_dropped_the_error_is_one_line(ds2, tmp_path, jsonl, frames, message):
    done = ds2("doctor", "ctc", jsonl(tmp_path / "rows.jsonl", [{"id": "a", "text": "hello", **frames}]))
    assert done.returncode == 3 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["none.jsonl"], 3, "none.jsonl"),
        (["--vocab", "none"], 3, "no trained network"),
        (["--symbols", "1"], 2, "at least 2"),
        ([], 3, "no label fits the frames of its utterance"),
    ],
)
def test_a_user_error_is_one_line(ds2, tmp_path, jsonl, arguments, status, message):
    empty = jsonl(tmp_path / "rows.jsonl", [{"id": "a", "num_frames": 9, "text": ""}])
    done = ds2("doctor", "ctc", *(arguments or [empty]), cwd=tmp_path)
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr


def test_warm_reports_the_kernels_and_their_cache(ds2):
    """All kernels are in the cache, or other tests need them, too."""
    done = ds2("doctor", "--warm")
    assert done.returncode == 0, done.stderr
    assert f"doctor: {doctor_warm.count_kernels()} kernels ready, compiled in" in done.stderr
    assert f"cache in {doctor_warm.cache_root()}" in done.stderr and done.stdout == ""


def test_warm_without_a_cache_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(compilation, "on_first", None)
    monkeypatch.setattr(doctor_warm, "compile_kernels", lambda: iter(["edit_counts"]))
    monkeypatch.setattr(doctor_warm, "cache_root", lambda: None)
    with pytest.raises(Ds2Error, match=r"1 kernels ready.* no cache folder can be written.*set NUMBA_CACHE_DIR"):
        doctor(typer.Context(typer.main.get_command(app)), warm=True)


def test_without_a_check_the_installation_is_described(ds2, monkeypatch, tmp_path):
    monkeypatch.setenv("DS2_NATIVE_LIB", str(tmp_path / "none.so"))
    done = ds2("doctor")
    assert done.returncode == 0, done.stderr
    parts = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert parts["ds2cli"].startswith(__version__) and "Python" in parts["system"]
    assert "torch is used instead (slower)" in parts["native library"] and "make native" in parts["native library"]
    assert parts["compiled kernels"] == str(doctor_warm.cache_root())
    assert parts["extra plots"] == "installed"


def test_every_extra_for_users_is_described():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"test", "dev"}
    assert {extra: len(modules) for extra, modules in EXTRAS.items()} == {e: len(extras[e]) for e in EXTRAS}
