"""`ds2 decode` and `ds2 align` on the command line, on emissions of known texts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.lm import lmplz
from ds2cli.text.vocab import BLANK, Vocab

ROOT = Path(__file__).parents[2]
VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tbé\n\n\\end\\\n"
TEXTS = ["ab", "bé ab", "", "ab ab"]


@pytest.fixture
def place(tmp_path):
    """An experiment with its vocabulary only, and dev.jsonl with slightly uncertain emissions of TEXTS."""
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "lm.arpa").write_text(LM, "utf-8")
    rng = np.random.default_rng(0)
    rows = []
    with ArkWriter(tmp_path / "e.ark") as ark:
        for i, text in enumerate(TEXTS):
            path = [s for c in text for s in (VOCAB.symbols.index(c), 0)] or [0]
            p = rng.dirichlet(np.full(5, 0.3), len(path)) * 0.3
            p[np.arange(len(path)), path] += 0.7
            row = {"id": f"u{i}", "text": text, "emission": ark.write(f"u{i}", np.log(p + 1e-6).astype(np.float32))}
            rows.append({**row, "step_s": 0.02})
    manifest.write(str(tmp_path / "dev.jsonl"), rows)
    return tmp_path


def test_decode_align_and_score(ds2, jsonl, place):
    done = ds2("decode", "exp", "dev.jsonl", "hyp.jsonl", "--lm", "lm.arpa", "--nbest", 2, cwd=place)
    assert done.returncode == 0, done.stderr
    rows = jsonl(place / "hyp.jsonl")
    assert [row["pred_text"] for row in rows] == TEXTS
    assert "4 in = 4 kept + 0 dropped" in done.stderr
    assert "alpha = 0.8" in (place / "hyp.jsonl.config.toml").read_text()
    done = ds2("decode", "exp", "dev.jsonl", "--greedy", cwd=place)
    assert len(done.stdout.splitlines()) == 4
    done = ds2("align", "exp", "dev.jsonl", "ali.jsonl", "--ctm", "ali.ctm", cwd=place)
    assert done.returncode == 0, done.stderr
    ctm = [line.split() for line in (place / "ali.ctm").read_text().splitlines()]
    assert [(line[0], line[1], line[4]) for line in ctm] == [
        (f"u{i}", "1", word) for i, text in enumerate(TEXTS) for word in text.split()
    ]


GRID = ("--set", "alphas=[0.1, 0.5]", "--set", "betas=[0, 1]", "--set", "unknowns=[-2]")


def test_decode_uses_the_weights_that_tune_stores(ds2, place):
    done = ds2("decode", "--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", "--nj", 2, *GRID, cwd=place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "%WER on dev.jsonl" and lines[1].startswith("alpha \\ beta  ")
    assert any(line.startswith("unknown \\ unknown_letter  ") for line in lines)
    assert lines[-3].startswith("%WER 0.00 [ 0 / 5, 0 ins, 0 del, 0 sub ] alpha ")
    assert lines[-2] == "%WER 0.00 to 0.00 in 95 % of 1000 resamplings of the utterances"
    assert "untuned, worse in" in lines[-1]
    assert re.search(r"tune: \d+ trials in [\d.]+ s, \d+ per minute", done.stderr)
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    assert stored["unknown"] == -2.0 and stored["made_by"]["made_on"] == "dev.jsonl"
    done = ds2("decode", "exp", "dev.jsonl", "--lm", "lm.arpa", cwd=place)
    assert f"alpha {stored['alpha']:g}, beta {stored['beta']:g}, unknown -2, unknown_letter" in done.stderr
    assert "(exp/decode.toml)" in done.stderr
    rerun = ds2("decode", "--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", *GRID, cwd=place)
    assert rerun.stdout.splitlines() == lines
    assert tomllib.loads((place / "exp" / "decode.toml").read_text()) == stored


def test_tune_does_not_start_from_the_limits_of_an_earlier_tuning(ds2, place):
    # the language model prefers the second most probable symbol of the last step
    p = np.array([[0.03, 0.01, 0.9, 0.03, 0.03], [0.02, 0.01, 0.02, 0.45, 0.5]], np.float32)
    with ArkWriter(place / "close.ark") as ark:
        row = {"id": "u0", "text": "ab", "emission": ark.write("u0", np.log(p)), "step_s": 0.02}
    manifest.write(str(place / "close.jsonl"), [row])
    (place / "exp" / "decode.toml").write_text("prune_top = 1\n")
    decoded = ds2("decode", "exp", "close.jsonl", "--lm", "lm.arpa", cwd=place)
    assert json.loads(decoded.stdout)["pred_text"] != "ab"
    done = ds2("decode", "--tune", "exp", "close.jsonl", "--lm", "lm.arpa", *GRID, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3].startswith("%WER 0.00 [ 0 / 1, ")


def test_tune_plots_and_finds_a_faster_search(ds2, place):
    pytest.importorskip("matplotlib")
    options = ("--lm", "lm.arpa", "--closed", "--tune-speed", "--plot", "surface.png", *GRID)
    done = ds2("decode", "--tune", "exp", "dev.jsonl", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    data = (place / "surface.png").read_bytes()
    assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
    assert "us/step" in done.stdout
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    assert stored.keys() == {"alpha", "beta", "beam", "beam_gap", "prune_mass", "prune_top", "made_by"}
    assert stored["beam"] < 64
    done = ds2("decode", "exp", "dev.jsonl", "hyp.jsonl", "--lm", "lm.arpa", "--closed", cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"beam = {stored['beam']}\n" in (place / "hyp.jsonl.config.toml").read_text()


def test_a_binary_model_decodes_like_its_arpa_file(ds2, place):
    if not lmplz.find_program("build_binary"):
        pytest.skip("no build_binary (utils/install_kenlm.sh)")
    text = LM.replace("ngram 1=5\n", "ngram 1=5\nngram 2=1\n").replace("\n\\end", "\n\\2-grams:\n-0.1\tbé ab\n\n\\end")
    (place / "lm2.arpa").write_text(text, "utf-8")
    subprocess.run(
        [lmplz.find_program("build_binary"), "lm2.arpa", "lm2.bin"], cwd=place, check=True, capture_output=True
    )
    command = ("decode", "exp", "dev.jsonl", "-", "--nbest", 3, "--lm")
    from_arpa, from_binary = (ds2(*command, name, cwd=place) for name in ("lm2.arpa", "lm2.bin"))
    assert from_binary.returncode == 0, from_binary.stderr
    assert from_binary.stdout == from_arpa.stdout


def test_hotwords_lexicon_and_partials(ds2, jsonl, place):
    (place / "hot.txt").write_text("# names\nbé ab\t3\n", "utf-8")
    done = ds2("decode", "exp", "dev.jsonl", "hyp.jsonl", "--hotwords", "hot.txt", "--partials", 0.04, cwd=place)
    assert done.returncode == 0, done.stderr
    rows = jsonl(place / "hyp.jsonl")
    assert [row["pred_text"] for row in rows] == TEXTS
    assert rows[1]["partials"][-1] == {"end": 0.16, "text": "bé ab"}
    (place / "words.txt").write_text("ab\n", "utf-8")
    done = ds2("decode", "exp", "dev.jsonl", "--lexicon", "words.txt", cwd=place)
    assert {w for line in done.stdout.splitlines() for w in json.loads(line)["pred_text"].split()} == {"ab"}


def test_a_mismatched_model_is_refused_and_a_doubtful_one_causes_a_warning(ds2, place):
    (place / "case.arpa").write_text(LM.replace("ab", "AB").replace("bé", "BÉ"), "utf-8")
    done = ds2("decode", "exp", "dev.jsonl", "out.jsonl", "--lm", "case.arpa", cwd=place)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1 and done.stderr.rstrip().endswith(")")
    assert not (place / "out.jsonl").exists()
    (place / "odd.arpa").write_text(LM.replace("1=5", "1=6").replace("\n\n\\end", "\n-1\txyz\n\n\\end"), "utf-8")
    done = ds2("decode", "exp", "dev.jsonl", "out.jsonl", "--lm", "odd.arpa", cwd=place)
    assert done.returncode == 0
    assert done.stderr.count("warning: odd.arpa: the alphabets differ") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["exp", "dev.jsonl", "--alpha", 1], 2, "--lm FILE"),
        (["exp", "dev.jsonl", "--lm", "none.arpa"], 3, "none.arpa"),
        (["exp", "dev.jsonl", "--lm", "case.arpa"], 3, "the case differs"),
        (["exp", "dev.jsonl", "--beam", 0], 2, "expected 1 to 100000"),
        (["nothing", "dev.jsonl"], 3, "ds2: nothing/best.safetensors: no trained network"),
        (["exp", "gone.jsonl"], 3, "gone.jsonl"),
        (["exp", "dev.jsonl", "--hotwords", "hot.txt"], 3, "ds2: hot.txt:2: 'xyz' cannot be written by this network"),
        (["exp", "dev.jsonl", "--lexicon", "gone.txt"], 3, "gone.txt"),
        (["exp", "dev.jsonl", "--closed"], 2, "--lm FILE"),
        (["exp", "dev.jsonl", "--tune-speed"], 2, "--tune-speed only applies with --tune"),
        (["exp", "dev.jsonl", "--plot", "a.png"], 2, "--plot only applies with --tune"),
        (["exp", "dev.jsonl", "--set", "alphas=[1]"], 2, "--alphas only applies with --tune"),
        (["exp", "dev.jsonl", "--hotword-weight", 3], 2, "--hotwords FILE"),
        (["--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", "--plot", "."], 3, "is a folder, expected a file"),
        (["--tune", "exp", "dev.jsonl"], 2, "--lm FILE"),
        (["--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", "--alpha", 1], 2, "--set 'alphas=[1]' fixes it"),
        (["--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", "--partials", 1], 2, "--partials does not apply"),
        (["--tune", "exp", "split.jsonl", "--lm", "lm.arpa"], 2, "u0 has split 'test'"),
        (["--tune", "exp", "test.jsonl", "--lm", "lm.arpa"], 2, "test set"),
        (["--tune", "exp", "dev.jsonl", "out.jsonl", "--lm", "lm.arpa"], 2, "OUT does not apply"),
        (["--tune", "exp", "untexted.jsonl", "--lm", "lm.arpa"], 3, "untexted.jsonl:1: the field 'text' is missing"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_status(ds2, jsonl, place, arguments, code, message):
    (place / "case.arpa").write_text(LM.replace("ab", "AB").replace("bé", "BÉ"), "utf-8")
    jsonl(place / "untexted.jsonl", [{"id": "a", "emission": "e.ark:3"}])
    (place / "hot.txt").write_text("ab\nxyz\n")
    rows = jsonl(place / "dev.jsonl")
    jsonl(place / "test.jsonl", rows)
    jsonl(place / "split.jsonl", [{**row, "split": "test"} for row in rows])
    done = ds2("decode", *arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_too_many_bad_rows_refuse_the_result(ds2, jsonl, place):
    rows = jsonl(place / "dev.jsonl")
    rows[1]["emission"] = "gone.ark:1"
    jsonl(place / "bad.jsonl", rows)
    assert ds2("decode", "exp", "bad.jsonl", "out.jsonl", "--greedy", cwd=place).returncode == 1
    assert not (place / "out.jsonl").exists()
    assert jsonl(place / "out.jsonl.dropped.jsonl")[0]["reason"] == "missing-archive"
    done = ds2("align", "exp", "bad.jsonl", "out.jsonl", "--ctm", "out.ctm", cwd=place)
    assert done.returncode == 1
    assert not (place / "out.ctm").exists()


def test_a_manifest_without_rows_is_refused(ds2, jsonl, place):
    jsonl(place / "none.jsonl", [])
    for command in (["decode", "exp", "none.jsonl"], ["align", "exp", "none.jsonl"]):
        done = ds2(*command, cwd=place)
        assert (done.returncode, done.stdout) == (3, "")
        assert "none.jsonl: no utterances, expected at least one" in done.stderr


def network_with_features(place, utterances, frames, rnn_size, rnn_layers=1):
    """Write an untrained network to place/exp, and return rows with features of noise."""
    import torch

    from ds2cli.config.model import ModelConfig
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.runtime.file import BEST

    torch.manual_seed(0)
    config = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=rnn_layers, rnn_size=rnn_size)
    data = dump_model(DeepSpeech2(config, len(VOCAB), 5).state_dict(), config, VOCAB, {"hop_ms": 10.0}, {})
    (place / "exp" / BEST).write_bytes(data)
    x, rows = np.random.default_rng(0).normal(size=(frames, 5)).astype(np.float32), []
    with ArkWriter(place / "f.ark", compress=True) as ark:
        for i in range(utterances):
            rows.append({"id": f"u{i:04d}", "feats": ark.write(f"u{i:04d}", x[: frames - i % 7]), "num_frames": frames})
    return rows


@pytest.mark.parametrize("out", ["out/rows.jsonl", "-"])
def test_decode_stores_emissions_like_emit(ds2, place, jsonl, out):
    manifest.write(str(place / "f.jsonl"), network_with_features(place, 30, 40, 8))
    assert ds2("emit", "exp", "f.jsonl", "e.jsonl", "--dir", "e", cwd=place).returncode == 0
    done = ds2("decode", "exp", "f.jsonl", out, "--emissions", "archive", "--nj", "2", cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "rows.jsonl").write_text(done.stdout)
    decoded = list(manifest.read(str(place / (out if out != "-" else "rows.jsonl"))))
    for row, expected in zip(decoded, manifest.read(str(place / "e.jsonl")), strict=True):
        assert (row["num_steps"], row["step_s"]) == (expected["num_steps"], expected["step_s"])
        log_probs = read_matrix(row["emission"], row["id"])
        np.testing.assert_allclose(log_probs, read_matrix(expected["emission"]), atol=1e-5)
    rerun = ds2("decode", "exp", "rows.jsonl" if out == "-" else out, "again.jsonl", cwd=place)
    assert rerun.returncode == 0 and [r["pred_text"] for r in jsonl(place / "again.jsonl")] == [
        r["pred_text"] for r in decoded
    ]


def test_a_pipe_gets_its_rows_after_the_archive_of_emissions_is_complete(place):
    # several chunks, with rows that together exceed what is buffered before it reaches the pipe
    rows = [{**row, "note": "x" * 5000} for row in network_with_features(place, 100, 40, 8)]
    manifest.write(str(place / "f.jsonl"), rows)
    command = [sys.executable, "-m", "ds2cli", "decode", "exp", "f.jsonl", "-", "--greedy", "--emissions", "archive"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE, text=True) as running:
        row = json.loads(running.stdout.readline())
        log_probs = read_matrix(str(place / row["emission"]), row["id"])
        others = running.stdout.read().splitlines()
    assert running.returncode == 0
    assert len(log_probs) == row["num_steps"] and len(others) == 99


def test_align_warns_of_features_of_another_kind(ds2, place):
    rows = [{**row, "text": ""} for row in network_with_features(place, 2, 40, 8)]
    manifest.write(str(place / "f.jsonl"), rows)
    (place / "f.jsonl.config.toml").write_text('kind = "fbank"\n')
    done = ds2("align", "exp", "f.jsonl", "out.jsonl", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "f.jsonl: its features have other settings than the network was trained on: kind" in done.stderr


def test_a_refused_run_stores_no_emissions(ds2, place):
    rows = network_with_features(place, 4, 40, 8)
    rows[2]["feats"] = "gone.ark:3"
    manifest.write(str(place / "f.jsonl"), rows)
    done = ds2("decode", "exp", "f.jsonl", "out.jsonl", "--emissions", "archive", cwd=place)
    assert done.returncode == 1 and "refused" in done.stderr
    assert not (place / "archive" / "out.ark").exists() and not (place / "out.jsonl").exists()


def test_ctrl_c_stops_network_and_search_and_leaves_no_files(place):
    # takes minutes if it is not interrupted
    rows = network_with_features(place, 1000, 3000, 64, rnn_layers=2)
    manifest.write(str(place / "long.jsonl"), rows)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ds2cli", "decode", "exp", "long.jsonl", "out.jsonl", "--lm", "lm.arpa"]
    running = subprocess.Popen(command, cwd=place, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(place.glob(".*.part.out.jsonl")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert "interrupted" in stderr and "Traceback" not in stderr
    left = list(place.glob("*out.jsonl*"))
    assert [path.name for path in left] in ([], [".out.jsonl.decode.unfinished"]) and not list(place.glob(".*part*"))
    assert bool(left) == ("the same command continues" in stderr)
