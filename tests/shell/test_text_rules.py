"""Texts with capitals and punctuation through all stages: repair, check, train, language models, decode, score."""

import shutil
import tomllib

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.text.rule_sets import hash_rules

WORDS = {"written": ("Ab", "ba", "B", "abA"), "keep": ("Ab", "[ba]", "B2", "aB—")}
ENDS = {"written": (".", "?", ""), "keep": ("…", "?", "")}
SMALL = [
    *("--set", "model.channels=[32]", "--set", "model.kernels=[5]", "--set", "model.strides=[2]", "--epochs", "24"),
    *("--set", "model.rnn_layers=1", "--set", "model.rnn_size=48", "--batch-s", "4", "--set", "optim.lr=0.01"),
]


def write_corpus(folder, rules):
    """Rows whose texts have other white space than the rules write, and a spectrum for each of their symbols."""
    rng = np.random.default_rng(2)
    shapes = {}
    for name, size in (("train", 120), ("dev", 12)):
        rows = []
        with ArkWriter(folder / f"{name}.ark") as ark:
            for i in range(size):
                words = rng.choice(WORDS[rules], rng.integers(1, 4))
                text = " ".join(words) + rng.choice(ENDS[rules])
                for c in text:
                    shapes.setdefault(c, rng.normal(size=20) * (c != " "))
                frames = [np.repeat([shapes[c], np.zeros(20)], [5, 3], axis=0) for c in text]
                x = (2 * np.concatenate(frames) + 0.1 * rng.normal(size=(8 * len(text), 20)) - 9).astype(np.float32)
                place = ark.write(f"{name}-{i:03d}", x)
                rows.append({"id": f"{name}-{i:03d}", "text": f" {text} ", "feats": place, "num_frames": len(x)})
        manifest.write(str(folder / f"{name}.raw.jsonl"), rows)


@pytest.mark.long
@pytest.mark.parametrize("rules", ["written", pytest.param("keep", marks=pytest.mark.slow)])
def test_a_network_writes_texts_as_its_manifest_has_them(ds2, jsonl, tmp_path, rules):
    write_corpus(tmp_path, rules)

    def run(*args, status=0):
        done = ds2(*args, cwd=tmp_path)
        assert done.returncode == status, done.stderr
        return done

    for name in ("train", "dev"):
        run("data", "fix", f"{name}.raw.jsonl", f"{name}.jsonl", "--text-rules", rules)
    saved = tomllib.loads((tmp_path / "train.jsonl.config.toml").read_text("utf-8"))
    assert saved["text_rules"] == rules and saved["made_by"]["text_rules_hash"] == hash_rules()
    texts = [row["text"] for row in jsonl(tmp_path / "dev.jsonl")]
    assert any(text.endswith("?") for text in texts) and not any(text != text.strip() for text in texts)

    check = ("data", "validate", "train.jsonl", "--needs", "id,text", "--no-files", "--ignore", "duplicate-text")
    run(*check, "--text-rules", rules)
    other = run(*check, status=3)
    assert f"(--text-rules {rules})" in other.stderr and "text-form" in other.stdout + other.stderr

    run("train", "train.jsonl", "exp", "--dev", "dev.jsonl", *SMALL)
    symbols = (tmp_path / "exp/tokens.txt").read_text("utf-8").split("\n")
    assert {"A", "a", "B", "b", "?"} < set(symbols)
    run("decode", "exp", "dev.jsonl", "greedy.jsonl", "--greedy")
    greedy = jsonl(tmp_path / "greedy.jsonl")
    assert sum(row["pred_text"] == row["text"] for row in greedy) > 6

    for unit in ("char", "word"):
        lm = ("lm", "train.jsonl", f"{unit}.arpa", "--unit", unit, "--order", "2", "--estimator", "own")
        made = run(*lm, "--text-rules", rules, "--dev", "dev.jsonl", "--vocab", "exp")
        assert "text-rules" not in made.stderr and "cannot write" not in made.stderr
        info = run("lm", "info", f"{unit}.arpa", "dev.jsonl", "--vocab", "exp", "--text-rules", rules)
        assert " 0.00" in info.stdout
        run("decode", "exp", "dev.jsonl", f"{unit}.jsonl", "--lm", f"{unit}.arpa", "--alpha", "0.3", "--beta", "0.5")
        assert sum(row["pred_text"] == row["text"] for row in jsonl(tmp_path / f"{unit}.jsonl")) > 6
        assert run("score", f"{unit}.jsonl").stdout.startswith("%WER")
    warned = run("lm", "train.jsonl", "other.arpa", "--unit", "char", "--estimator", "own", "--max-bad", "100")
    assert f"train.jsonl: its texts were written with --text-rules {rules}, and are read with letters" in warned.stderr
    for name in ("greedy", "char"):
        run("score", f"{name}.jsonl", "--normalizer", "prepare")
    shutil.rmtree(tmp_path / "exp")
