"""The scorer benchmark: its message without a text, and tiny tables in which all scorers find the same errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).with_name("bench_score.py")
SENTENCES = ("the cat sat on the mat", "turn the volume up please", "a b c d e f g h", "it's the dog's bone", "stop")


def run(*options, **variables):
    done = subprocess.run(
        [sys.executable, BENCH, *map(str, options)], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def read_table(lines):
    """The rows of a Markdown table by their first cell, each as a dict by column."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def test_without_a_text_it_prints_where_it_is_expected(tmp_path):
    expected = tmp_path / "data" / "en_train.txt.gz"
    assert run(DS2_PEERS=str(tmp_path)).stdout == f"skipped: no {expected} (--text FILE, or DS2_PEERS=FOLDER)\n"


@pytest.mark.peer
def test_all_scorers_find_the_same_errors(tmp_path):
    pytest.importorskip("jiwer")
    text = tmp_path / "text.txt"
    text.write_text("\n".join([*SENTENCES, "long " * 40, ""]))
    only = r"ours: words and|jiwer|rapid|kaldialign|OUT$|sclite \("
    out = run("--utts", 80, "--rounds", 0, "--text", text, "--only", only, "--streaming", 400).stdout
    table, _, streaming = out.partition("## Streaming")
    words = sum(len(sentence.split()) for sentence in SENTENCES) * 80 // len(SENTENCES)
    assert f"80 utterances, {words} reference words" in table
    rows = read_table(table.splitlines())
    assert {"ours: words and characters", "ds2 score IN OUT"} <= set(rows) and any("jiwer" in name for name in rows)
    errors = {name: int(row["errors"]) for name, row in rows.items()}
    least = min(errors.values())
    assert 0.05 * words < least < 0.3 * words
    for name, row in rows.items():
        # sclite's costs may find one error more
        assert errors[name] == least or name.startswith("sclite")
        assert float(row["peak MiB"]) > 5 and float(row["best"]) <= float(row["s"])
        if row["hits"]:
            hits, subs, ins, dels = (int(row[column]) for column in ("hits", "subs", "ins", "dels"))
            assert hits + subs + dels == words and subs + ins + dels == errors[name]
    assert re.search(r"- ours: words and characters: [\d.]+ of jiwer \(goal 0.33\), \d+ MiB \(goal 300\): ", table)
    # the larger manifest repeats the texts
    streamed = read_table(streaming.splitlines())
    assert int(streamed["400"]["errors"]) == 5 * least and set(streamed) == {"40", "400"}
