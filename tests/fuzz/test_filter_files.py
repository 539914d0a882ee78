"""Fuzz the file of a fitted filter, and the rows it is applied to."""

import functools
import json
from pathlib import Path

import numpy as np
from fuzzing import check_counts, ds2, fuzz, rows_of
from hypothesis import strategies as st
from inputs import JSON, NUMBERS, TEXTS, damaged

from ds2cli.metrics.logistic import LogisticModel
from ds2cli.recognizer.transcript_filter import TranscriptFilter, save_filter
from ds2cli.text.vocab import BLANK, Vocab


@functools.cache
def fitted():
    """The bytes of EXP/filter.toml."""
    rng = np.random.default_rng(0)
    save_filter("exp", TranscriptFilter(LogisticModel(rng.normal(size=6), np.zeros(6), np.ones(6), 0.1), 0.5), seed=1)
    return Path("exp/filter.toml").read_bytes()


def experiment():
    Path("exp").mkdir()
    Vocab((BLANK, " ", "a", "é")).save("exp/tokens.txt")
    Path("exp/filter.toml").write_bytes(fitted())


ROWS = st.fixed_dictionaries(
    {"text": TEXTS | JSON},
    optional={
        "ctc_cost": st.one_of(st.floats(0, 500), NUMBERS, JSON),
        "num_steps": st.integers(0, 99) | NUMBERS | JSON,
    },
)


@fuzz(st.data())
def test_a_damaged_filter(data):
    experiment()
    Path("exp/filter.toml").write_bytes(data.draw(damaged(fitted())))
    rows = [{"id": f"u{i}", "text": "a é", "ctc_cost": 3.0 * i, "num_steps": 10} for i in range(3)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ds2("filter", "exp", "in.jsonl", "out.jsonl", "--keep-all")
    if run.status == 0:
        check_counts(run, "out.jsonl", 3)
        assert all(0 <= row["filter_score"] <= 1 for row in rows_of("out.jsonl"))


@fuzz(st.lists(ROWS, max_size=5), st.booleans())
def test_any_rows(rows, keep_all):
    experiment()
    Path("in.jsonl").write_text("".join(json.dumps({**row, "id": f"u{i}"}) + "\n" for i, row in enumerate(rows)))
    options = ["--keep-all"] if keep_all else []
    run = ds2("filter", "exp", "in.jsonl", "out.jsonl", "--max-bad", 100, *options)
    check_counts(run, "out.jsonl", len(rows))


@fuzz(st.lists(TEXTS, max_size=4), st.integers(0, 3))
def test_fitting_any_texts(texts, seed):
    """Rows have no emissions, so whatever the texts are, there is nothing to fit to."""
    experiment()
    Path("dev.jsonl").write_text("".join(json.dumps({"id": f"u{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    assert ds2("filter", "--fit", "exp", "dev.jsonl", "--seed", seed, "--max-bad", 100).status != 0
