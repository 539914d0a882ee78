"""`ds2 decode` and `ds2 align` as a person runs them, on emissions whose text is known."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tbé\n\n\\end\\\n"
TEXTS = ["ab", "bé ab", "", "ab ab"]


@pytest.fixture
def place(tmp_path):
    """An experiment with its symbols only, and dev.jsonl of emissions that say TEXTS, with some doubt."""
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


def test_tune_keeps_weights_that_decode_uses(ds2, place):
    grid = ("--set", "alphas=[0.1, 0.5]", "--set", "betas=[0, 1]", "--set", "unknowns=[-2]")
    done = ds2("decode", "--tune", "exp", "dev.jsonl", "--lm", "lm.arpa", *grid, cwd=place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["%WER on dev.jsonl with unknown -2", "alpha \\ beta  0      1"]
    assert lines[-1] == "%WER 0.00 [ 0 / 5, 0 ins, 0 del, 0 sub ] alpha 0.1 beta 0 unknown -2 *"
    done = ds2("decode", "exp", "dev.jsonl", "--lm", "lm.arpa", cwd=place)
    assert "alpha 0.1, beta 0, unknown -2" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["exp", "dev.jsonl", "--alpha", 1], 2, "--lm FILE"),
        (["exp", "dev.jsonl", "--lm", "none.arpa"], 3, "none.arpa"),
        (["exp", "dev.jsonl", "--lm", "case.arpa"], 3, "the case differs"),
        (["exp", "dev.jsonl", "--beam", 0], 2, "expected 1 to 100000"),
        (["nothing", "dev.jsonl"], 3, "ds2: nothing/best.safetensors: no trained network"),
        (["exp", "gone.jsonl"], 3, "gone.jsonl"),
        (["--tune", "exp", "dev.jsonl"], 2, "--lm FILE"),
        (["--tune", "exp", "test.jsonl", "--lm", "lm.arpa"], 2, "test set"),
        (["--tune", "exp", "dev.jsonl", "out.jsonl", "--lm", "lm.arpa"], 2, "no OUT"),
        (["--tune", "exp", "mute.jsonl", "--lm", "lm.arpa"], 3, "mute.jsonl:1: the field 'text' is missing"),
    ],
)
def test_mistakes_are_one_line_and_a_status(ds2, jsonl, place, arguments, code, says):
    (place / "case.arpa").write_text(LM.replace("ab", "AB").replace("bé", "BÉ"), "utf-8")
    jsonl(place / "mute.jsonl", [{"id": "a", "emission": "e.ark:3"}])
    (place / "test.jsonl").write_text((place / "dev.jsonl").read_text())
    done = ds2("decode", *arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
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


def test_no_rows_in_no_rows_out(ds2, jsonl, place):
    jsonl(place / "none.jsonl", [])
    for command in (["decode", "exp", "none.jsonl"], ["align", "exp", "none.jsonl"]):
        done = ds2(*command, cwd=place)
        assert (done.returncode, done.stdout) == (0, "")
