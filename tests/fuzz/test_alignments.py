"""Fuzz `ds2 align`: hostile texts and books, with any costs of gaps, and emissions of any length."""

import json
from pathlib import Path

import numpy as np
from fuzzing import check_counts, ds2, fuzz, rows_of
from hypothesis import strategies as st
from inputs import TEXTS, UNICODE, damaged

from ds2cli.archive import ArkWriter
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é", "中"))
WORDS = st.lists(st.sampled_from(["a", "ab", "é", "中", "1984", "bab", "x", "aa"]), max_size=12).map(" ".join)
COSTS = st.sampled_from([0, 0.1, 1, 6, 12, 10000])


def write_rows(texts, steps, seed):
    """Rows with these texts and random emissions of these lengths, some with impossible steps."""
    rng = np.random.default_rng(seed)
    rows = []
    with ArkWriter("x.ark") as ark:
        for i, (text, T) in enumerate(zip(texts, steps, strict=False)):
            log_probs = np.log(rng.dirichlet(np.full(len(VOCAB), 0.3), T) + 1e-9).astype(np.float32)
            log_probs[rng.random(log_probs.shape) < 0.02] = -np.inf
            rows.append({"id": f"u{i}", "text": text, "emission": ark.write(f"u{i}", log_probs), "step_s": 0.03})
    VOCAB.save("tokens.txt")
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def check_times(row, steps, max_word):
    spans = [(w["start"], w["end"]) for w in row["words"]] + [(g["start"], g["end"]) for g in row.get("gaps", [])]
    assert all(0 <= start <= end <= 0.03 * steps + 1e-3 for start, end in spans)
    starts = [w["start"] for w in row["words"]]
    assert starts == sorted(starts)
    assert all(w["end"] - w["start"] <= max_word + 2e-3 for w in row["words"])


@fuzz(
    st.lists(st.one_of(WORDS, UNICODE), min_size=1, max_size=4),
    st.lists(st.integers(0, 60), min_size=4, max_size=4),
    st.integers(0, 99),
    st.booleans(),
    COSTS,
    COSTS,
    st.sampled_from([0.1, 0.3, 3]),
)
def test_texts_with_and_without_gaps(texts, steps, seed, gaps, gap_cost, skip_cost, max_word):
    rows = write_rows(texts, steps, seed)
    options = ["--gaps", "--gap-cost", gap_cost, "--skip-cost", skip_cost] if gaps else ["--chars"]
    run = ds2("align", ".", "in.jsonl", "out.jsonl", "--max-bad", 100, "--max-word", max_word, *options)
    check_counts(run, "out.jsonl", len(rows))
    if run.status:
        return
    by_id = {row["id"]: (row["text"], T) for row, T in zip(rows, steps, strict=False)}
    for row in rows_of("out.jsonl"):
        text, T = by_id[row["id"]]
        check_times(row, T, max_word)
        found = "".join(w["word"] for w in row["words"]) + "".join(g["text"] for g in row.get("gaps", []))
        assert sorted(found.replace(" ", "")) == sorted("".join(text.split())), str(run)


@fuzz(
    st.data(),
    st.one_of(WORDS, TEXTS),
    st.lists(st.integers(0, 60), min_size=1, max_size=3),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from(["en", "zh", "tr", "xx-9", ""]),
)
def test_books(data, text, steps, seed, is_damaged, lang):
    write_rows([""] * len(steps), steps, seed)
    content = text.encode("utf-8", "replace")
    Path("book.txt").write_bytes(data.draw(damaged(content)) if is_damaged else content)
    options = ["--book", "book.txt", "--lang", lang, "--max-bad", 100, "--max-unaligned", 100]
    run = ds2("align", ".", "in.jsonl", "out.jsonl", *options)
    check_counts(run, "out.jsonl", None if run.status else len(steps))
    for row in rows_of("out.jsonl") if not run.status else ():
        check_times(row, steps[int(row["id"][1:])], 3)
