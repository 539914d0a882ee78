"""`ds2 score --why` on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.cli.score import _open_explainer, _warn_explainer
from ds2cli.config.score import ScoreConfig
from ds2cli.stages.explain_errors import Explainer
from ds2cli.text.vocab import BLANK, Vocab

ROOT = Path(__file__).parents[2]
VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tbé\n\n\\end\\\n"
PAIRS = [("ab", "ab"), ("bé ab", "ab"), ("", "bé"), ("ab éa", "ab éb")]


@pytest.fixture
def place(tmp_path):
    """An experiment with its vocabulary only, and dev.jsonl: references, and emissions of what the network hears."""
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "lm.arpa").write_text(LM, "utf-8")
    rows = []
    with ArkWriter(tmp_path / "e.ark") as ark:
        for i, (text, heard) in enumerate(PAIRS):
            path = [s for c in heard for s in (VOCAB.symbols.index(c), 0)] or [0]
            p = np.full((len(path), len(VOCAB)), 0.02)
            p[np.arange(len(path)), path] = 0.92
            ref = ark.write(f"u{i}", np.log(p).astype(np.float32))
            rows.append({"id": f"u{i}", "text": text, "emission": ref, "step_s": 0.02})
    manifest.write(str(tmp_path / "dev.jsonl"), rows)
    return tmp_path


def test_the_causes_of_decoded_rows(ds2, jsonl, place):
    done = ds2("decode", "exp", "dev.jsonl", "hyp.jsonl", "--lm", "lm.arpa", "--alpha", 0.5, "--nbest", 3, cwd=place)
    assert done.returncode == 0, done.stderr
    done = ds2("score", "hyp.jsonl", "why.jsonl", "--why", "exp", "--worst", 1, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "why: lm.arpa, alpha 0.5, beta 1, unknown -4, unknown_letter -1 (hyp.jsonl.config.toml)" in done.stderr
    assert "warning" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("%WER 60.00 [ 3 / 5,")
    assert [line.split()[-1] for line in lines if "best of" in line] == ["1", "2", "3"]
    table = [line.split()[:2] for line in lines[lines.index("") + 1 :] if line][:3]
    assert table == [["cause", "errors"], ["acoustic", "2"], ["oov", "1"]]
    assert any(line.startswith("u1 why") for line in lines)
    errors = {
        row["id"]: [(e["ref"], e["hyp"], e["cause"]) for e in row["errors"]] for row in jsonl(place / "why.jsonl")
    }
    assert (errors["u0"], errors["u1"]) == ([], [("bé", None, "acoustic")])
    assert [cause for *_, cause in errors["u2"] + errors["u3"]] == ["acoustic", "oov"]
    assert "alpha = 0.5" in (place / "why.jsonl.config.toml").read_text()


def test_rows_from_a_pipe_use_the_defaults_of_decode_and_warn_of_mismatched_scores(ds2, jsonl, place):
    rows = ds2("decode", "exp", "dev.jsonl", "--lm", "lm.arpa", cwd=place).stdout
    done = ds2("score", "-", "--why", "exp", "--lm", "lm.arpa", stdin=rows, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "lm.arpa, alpha 0.8, beta 1, unknown -4, unknown_letter -1 (as ds2 decode would" in done.stderr
    assert "have a pred_score" not in done.stderr
    done = ds2("score", "-", "--why", "exp", stdin=rows, cwd=place)
    assert done.returncode == 0
    assert "of 3 utterances have a pred_score that these settings do not reproduce" in done.stderr


def test_rows_redirected_into_another_folder_keep_their_emissions(jsonl, place):
    (place / "other").mkdir()
    rows = jsonl(place / "dev.jsonl")
    jsonl(place / "dev.jsonl", [{**row, "emission": row["emission"].rpartition("/")[2]} for row in rows])
    command = f"""
      ds2() {{ '{sys.executable}' -m ds2cli "$@"; }}
      ds2 decode exp dev.jsonl --lm lm.arpa > other/hyp.jsonl
      ds2 score other/hyp.jsonl other/why.jsonl --why exp --lm lm.arpa
      ds2 score - --why exp --lm lm.arpa < other/hyp.jsonl
      ds2 decode exp dev.jsonl - --lm lm.arpa | ds2 score - other/piped.jsonl --why exp --lm lm.arpa"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-euc", command], cwd=place, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("acoustic") == 3
    assert "unexplained" not in done.stdout + done.stderr
    assert jsonl(place / "other/why.jsonl")[0]["emission"] == "../e.ark:3"
    assert jsonl(place / "other/why.jsonl") == jsonl(place / "other/piped.jsonl")


def test_rows_without_an_emission_are_still_scored(ds2, jsonl, place):
    rows = [{"id": "a", "text": "ab é", "pred_text": "ab"}, {"id": "b", "text": "ab", "pred_text": "ab"}]
    jsonl(place / "bare.jsonl", [*rows, {"id": "c", "text": "b"}])
    done = ds2("score", "bare.jsonl", "--why", "exp", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("%WER 50.00 [ 2 / 4,")
    assert "unexplained       2  100.0%" in done.stdout
    assert "utterances with unexplained errors: 2 (1 no-feats, 1 no-pred-text), such as c: " in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--lm", "lm.arpa"], 2, "--lm only applies with --why"),
        (["--unknown-letter", 0], 2, "--unknown-letter only applies with --why"),
        (["--why", "exp", "--alpha", 1], 2, "--lm FILE"),
        (["--why", "exp", "--lm", "none.arpa"], 3, "none.arpa"),
        (["--why", "exp", "--lm", "lm.arpa", "--unit", "char"], 2, "--unit word"),
        (["--why", "nothing"], 3, "no trained network"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_status(ds2, jsonl, place, options, code, message):
    jsonl(place / "hyp.jsonl", [{"id": "a", "text": "ab", "pred_text": "b"}])
    done = ds2("score", "hyp.jsonl", *options, cwd=place)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_each_search_setting_given_is_used(place, monkeypatch):
    monkeypatch.chdir(place)
    given = {"lm": "lm.arpa", "alpha": 0.25, "beta": 2.0, "unknown": -1.0, "unknown_letter": -2.0}
    config, explainer = _open_explainer(ScoreConfig(why="exp", nj=3, **given), "-")
    assert {name: getattr(config, name) for name in given} == given
    options = explainer.score.search.options
    assert (options.alpha, options.beta, options.unknown, options.unknown_letter) == (0.25, 2.0, -1.0, -2.0)
    assert explainer.nj == 3


@pytest.mark.parametrize(("mismatched", "warned"), [(1, False), (2, True)])
def test_a_quarter_of_the_scores_may_differ_without_a_warning(capsys, mismatched, warned):
    _warn_explainer(Explainer(None, None, scored=4, mismatched=mismatched))
    assert ("of 4 utterances have a pred_score that" in capsys.readouterr().err) == warned
