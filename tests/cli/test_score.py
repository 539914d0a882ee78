"""`ds2 score` on the command line."""

from __future__ import annotations

import json

import pytest

ROWS = [
    {"id": "a", "text": "the cat sat", "pred_text": "the cat sat"},
    {"id": "b", "text": "on the mat", "pred_text": "on mat"},
    {"id": "c", "text": "hello"},
]


def test_score_at_the_end_of_a_pipe_prints_the_rate(ds2, jsonl, tmp_path):
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    done = ds2("score", "-", "--worst", 1, stdin=text)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "%WER 28.57 [ 2 / 7, 0 ins, 2 del, 0 sub ]"
    assert lines[2:4] == ["%SER 66.67 [ 2 / 3 ]", "Scored 3 sentences, 1 not present in hyp."]
    assert "b hyp   on  ***  mat" in lines
    assert "utterances without pred_text: 1 of 3" in done.stderr


def test_rows_go_to_a_file_and_the_report_to_standard_output(ds2, jsonl, tmp_path):
    out = tmp_path / "scored.jsonl"
    done = ds2("score", jsonl(tmp_path / "in.jsonl", ROWS), out)
    assert done.stdout.startswith("%WER 28.57")
    assert [row["dels"] for row in jsonl(out)] == [0, 1, 1]
    done = ds2("score", tmp_path / "in.jsonl", "-")
    assert len(done.stdout.splitlines()) == 3
    assert "%WER 28.57" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--max-wer", 20], 1, "the word error rate is 28.57 %, above the limit of 20 %"),
        (["--unit", "char", "--max-cer", 1], 1, "the char error rate"),
        (["--unit", "char", "--max-wer", 1], 2, "does not count words"),
        (["--unit", "word", "--max-cer", 1], 2, "does not count chars"),
        (["--max-wer", 0], 1, "above the limit of 0 %"),
        (["--max-wer", 30, "--max-cer", 0], 1, "the char error rate"),
    ],
)
def test_thresholds_set_the_exit_status(ds2, jsonl, tmp_path, options, code, message):
    done = ds2("score", jsonl(tmp_path / "in.jsonl", ROWS), *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("limit", "code"), [(50, 0), (49.9, 1)])
def test_an_error_rate_at_the_limit_is_accepted(ds2, jsonl, tmp_path, limit, code):
    rows = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "one two", "pred_text": "one too"}])
    assert ds2("score", rows, "--max-wer", limit).returncode == code


def test_an_empty_manifest_and_rows_without_a_text(ds2, jsonl, tmp_path):
    done = ds2("score", jsonl(tmp_path / "none.jsonl", []))
    assert (done.returncode, done.stdout) == (3, "")
    assert "none.jsonl: no utterances, expected at least one" in done.stderr
    assert "ds2: <stdin>: no utterances, expected" in ds2("score", stdin="").stderr
    done = ds2("score", jsonl(tmp_path / "bad.jsonl", [{"id": "a", "pred_text": "x"}]))
    assert done.returncode == 1
    assert "no-text" in done.stderr


def test_references_missing_from_the_input_count_as_deleted(ds2, jsonl, tmp_path):
    ref = jsonl(tmp_path / "ref.jsonl", [{"id": r["id"], "text": r["text"]} for r in ROWS])
    hyp = jsonl(tmp_path / "hyp.jsonl", [{"id": "a", "pred_text": "the cat sat"}])
    done = ds2("score", hyp, "--ref", ref)
    assert done.stdout.startswith("%WER 57.14 [ 4 / 7, 0 ins, 4 del, 0 sub ]")
    hyp = jsonl(tmp_path / "hyp.jsonl", [{"id": "x", "pred_text": "the cat sat"}])
    assert ds2("score", hyp, "--ref", ref).returncode == 3


def test_n_best_lists_add_the_oracle_rate(ds2, jsonl, tmp_path):
    rows = [{**ROWS[0], "nbest": [{"text": "a cat sat"}, {"text": "the cat sat", "score": -3.0}]}, ROWS[1]]
    done = ds2("score", jsonl(tmp_path / "in.jsonl", rows))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[4:-1] == ["%WER 16.67 [ 1 / 6, 0 ins, 1 del, 0 sub ] best of 2"]


def test_dropped_rows_are_listed_in_the_file_given(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [ROWS[0], {"id": "b", "pred_text": "x"}])
    done = ds2("score", rows, "--dropped", tmp_path / "d.jsonl", "--max-bad", 50)
    assert done.returncode == 0, done.stderr
    assert f"score: 2 in = 1 kept + 1 dropped (1 no-text), see {tmp_path}/d.jsonl" in done.stderr
    assert [(row["id"], row["reason"]) for row in jsonl(tmp_path / "d.jsonl")] == [("b", "no-text")]


def test_differences_of_writing_are_told_and_the_named_option_helps(ds2, jsonl, tmp_path):
    rows = [
        {"id": "a", "text": "été\n", "pred_text": "e\u0301te\u0301"},
        {"id": "b", "text": "Room 12", "pred_text": "room twelve"},
    ]
    path = jsonl(tmp_path / "in.jsonl", rows)
    done = ds2("score", path, "--worst", 2)
    assert (
        done.returncode == 0 and done.stdout.startswith("%WER 100.00") and "a hyp   e<U+0301>te<U+0301>" in done.stdout
    )
    form, broken = (line for line in done.stderr.splitlines() if line.startswith("warning"))
    assert (
        form.startswith("warning: 2 of 3 word errors, in 2 utterances, are differences of writing")
        and "(--normalizer prepare " in form
    )
    assert "1 of 4 texts have line breaks or control characters" in broken
    done = ds2("score", path, "--normalizer", "prepare")
    assert done.stdout.startswith("%WER 0.00 [ 0 / 3,") and "warning" not in done.stderr
    assert ds2("score", path, "--lang", "tr").returncode == 0
