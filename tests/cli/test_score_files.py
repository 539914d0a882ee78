"""What `ds2 score` writes besides rows, and the settings that decide what is counted."""

from __future__ import annotations

import hashlib
import json

import pytest

from ds2cli.stages.sclite import find_program

ROWS = [
    {"id": "a-1", "text": "the cat sat", "pred_text": "the cat sat", "speaker": "a", "duration": 1.5},
    {"id": "b-1", "text": "on the mat", "pred_text": "on mat", "speaker": "b", "duration": 7.0},
    {"id": "b-2", "text": "hello", "speaker": "b", "duration": 0.5},
]
WORDS = [{"word": "on", "start": 0.1, "end": 0.3, "conf": 0.9}, {"word": "mat", "start": 0.5, "end": 0.7, "conf": 0.4}]


@pytest.fixture
def rows(jsonl, tmp_path):
    return jsonl(tmp_path / "in.jsonl", ROWS)


def test_the_json_has_texts_alignments_rates_and_a_certificate(ds2, rows, tmp_path):
    done = ds2("score", rows, "--json", tmp_path / "s.json", "--by", "speaker", "--confusions", 1, "--context", 1)
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / "s.json").read_text())
    assert score["utterances"][1] == {
        "id": "b-1", "text": "on the mat", "pred_text": "on mat", "speaker": "b", "duration": 7.0,
        "word": "CDC", "char": "CCCDDDDCCC",
    }  # fmt: skip
    assert "pred_text" not in score["utterances"][2]
    assert (score["rates"]["word"]["errors"], score["rates"]["word"]["total"]) == (2, 7)
    low, high = score["rates"]["word"]["interval_95"]
    assert low == 0 and high > 28.57
    assert list(score["groups"]) == ["speaker=a", "speaker=b"]
    assert score["confusions"] == [{"ref": "hello", "hyp": None, "count": 1, "example": "[hello -> ***]"}]
    certificate = score["certificate"]
    refs = "".join(f"{row['id']}\t{row['text']}\n" for row in ROWS)
    hyps = "a-1\tthe cat sat\nb-1\ton mat\nb-2\n"
    assert certificate["references"] == hashlib.sha256(refs.encode()).hexdigest()
    assert certificate["hypotheses"] == hashlib.sha256(hyps.encode()).hexdigest()
    assert (certificate["normalizer"], certificate["alignment"], certificate["utterances"]) == ("none", "kaldi", 3)
    assert certificate["command"].startswith("ds2 score ")
    again = ds2("score", tmp_path / "s.json")
    assert again.stdout.splitlines()[:3] == done.stdout.splitlines()[:3]


def test_the_certificate_is_saved_beside_out(ds2, rows, tmp_path):
    assert ds2("score", rows, tmp_path / "out.jsonl", "--normalizer", "basic").returncode == 0
    assert "[made_by.certificate]" in (tmp_path / "out.jsonl.config.toml").read_text()
    assert 'normalizer = "basic' in (tmp_path / "out.jsonl.config.toml").read_text()


def test_a_score_without_utterances_writes_no_json(ds2, jsonl, tmp_path):
    done = ds2("score", jsonl(tmp_path / "none.jsonl", []), "--json", tmp_path / "s.json")
    assert done.returncode == 3 and not (tmp_path / "s.json").exists()


def test_a_refused_score_writes_no_files(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [ROWS[0], {"id": "b"}])
    done = ds2("score", rows, "--json", tmp_path / "s.json", "--trn", tmp_path / "t", "--kaldi", tmp_path / "k")
    assert done.returncode == 1 and done.stdout.startswith("%WER 0.00")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("mode", "code", "words", "message"),
    [
        ("all", 0, 7, "utterances without pred_text: 1 of 3: all their words count as deleted"),
        ("present", 0, 6, "utterances without pred_text: 1 of 3: left out (--mode present)"),
        ("strict", 3, 0, "utterance 'b-2' has no pred_text, which --mode strict refuses (--mode all)"),
    ],
)
def test_utterances_without_a_hypothesis(ds2, rows, mode, code, words, message):
    done = ds2("score", rows, "--mode", mode)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    if words:
        assert f" / {words}, " in done.stdout.splitlines()[0]
        assert f"Scored {3 if mode == 'all' else 2} sentences, 1 not present in hyp." in done.stdout


def test_units_spaces_and_the_alignment_are_chosen_and_named(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "打开 the light", "pred_text": "打 开 the lights"}])
    first = {
        ("--unit", "word"): "%WER 100.00 [ 3 / 3, 1 ins",
        ("--unit", "mixed"): "%MER 25.00 [ 1 / 4, 0 ins",
        ("--unit", "char"): "%CER 9.09 [ 1 / 11, 1 ins",
        ("--unit", "char", "--no-char-spaces"): "%CER 10.00 [ 1 / 10, 1 ins",
    }
    for options, line in first.items():
        assert ds2("score", rows, *options).stdout.startswith(line.rpartition(",")[0]), options
    done = ds2("score", rows, "--no-char-spaces", "--alignment", "sclite", "--normalizer", "basic")
    assert "Counted with alignment sclite, characters without spaces, normalizer basic (ds2cli" in done.stdout
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\n")
    done = ds2("score", rows, "--unit", "token")
    assert done.returncode == 2 and "--unit token: expected --tokenizer" in done.stderr


def test_rates_by_length_and_duration_come_in_order(ds2, rows):
    lines = ds2("score", rows, "--unit", "word", "--by", "duration").stdout.splitlines()
    assert [line.split()[-1] for line in lines[-2:]] == ["duration=0-2s", "duration=5-10s"]
    assert ds2("score", rows, "--unit", "word", "--by", "length").stdout.endswith("length=1-5\n")


def test_trn_ctm_and_kaldis_layout(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [ROWS[0], {**ROWS[1], "pred_words": WORDS}])
    done = ds2("score", rows, "--trn", tmp_path / "t", "--ctm", tmp_path / "c.ctm", "--kaldi", tmp_path / "k")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.ref.trn").read_text() == "the cat sat (a-1)\non the mat (b-1)\n"
    assert (tmp_path / "t.hyp.trn").read_text() == "the cat sat (a-1)\non mat (b-1)\n"
    assert [line.split()[4] for line in (tmp_path / "c.ctm").read_text().splitlines()] == ["on", "mat"]
    assert "utterances without pred_words (ds2 decode --timestamps): 1: their words are left out" in done.stderr
    best = (tmp_path / "k" / "scoring_kaldi" / "best_wer").read_text()
    assert best == f"%WER 16.67 [ 1 / 6, 0 ins, 1 del, 0 sub ] {rows}\n"
    again = ds2("score", tmp_path / "t.hyp.trn", "--ref", tmp_path / "t.ref.trn", "--unit", "word")
    assert again.stdout.startswith("%WER 16.67 [ 1 / 6,"), again.stderr


@pytest.mark.skipif(find_program("sclite") is None, reason="sclite is not installed (utils/install_sctk.sh)")
def test_sclite_counts_what_is_counted_here(ds2, rows, tmp_path):
    done = ds2("score", rows, "--sclite", tmp_path / "sc", "--alignment", "sclite")
    assert done.returncode == 0, done.stderr
    assert "sclite counts the same: 2 / 7, 0 ins, 2 del, 0 sub" in done.stdout and "Sum/Avg" in done.stdout
    assert (tmp_path / "sc" / "score.hyp.trn.pra").is_file()


def test_confidences_are_compared_with_the_words_that_are_right(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [ROWS[0], {**ROWS[1], "pred_words": WORDS}])
    done = ds2("score", rows, "--calibration", "--json", tmp_path / "s.json")
    assert "100.0 % of 2 words are correct" in done.stdout
    assert "--calibration: utterances without a conf for each word of pred_text" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["calibration"]["words"] == 2
    assert "--calibration: utterances without pred_conf (ds2 decode --timestamps): 2: left out" in done.stderr
    assert done.stdout.splitlines()[-1] == "pred_conf: no utterances"
    done = ds2("score", rows, "--calibration", "--unit", "char")
    assert done.returncode == 2 and "only words have confidences" in done.stderr


def test_confidences_of_utterances_are_compared_with_their_shares_of_right_words(ds2, jsonl, tmp_path):
    """One hypothesis is right, one lacks a word of three, one row has no pred_conf."""
    rows = [{**ROWS[0], "pred_conf": 0.9}, {**ROWS[1], "pred_conf": 0.75}, {**ROWS[0], "id": "c-1"}]
    out = tmp_path / "s.json"
    done = ds2("score", jsonl(tmp_path / "in.jsonl", rows), "--calibration", "--json", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "pred_conf   utterances    mean  correct",
        "0.7 to 0.8           1   0.750    1.000",
        "0.9 to 1             1   0.900    1.000",
        "pred_conf: mean 82.5 %, 100.0 % of a hypothesis' words are correct, ECE 17.5 %; "
        "1 of 2 utterances have no errors, AUC 1.000",
    ]
    assert "--calibration: utterances without pred_conf (ds2 decode --timestamps): 1: left out" in done.stderr
    found = json.loads(out.read_text())["calibration"]["per_utterance"]
    assert (found["utterances"], found["without_errors"], found["mean"]) == (2, 1, 0.825)


def test_a_field_that_no_row_has_refuses_the_result(ds2, jsonl, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [ROWS[0], {"id": "z"}])
    out = ["--by", "mood", tmp_path / "out.jsonl", "--json", tmp_path / "s.json", "--max-bad", 100]
    done = ds2("score", rows, *out)
    assert done.returncode == 1 and "score: --by mood: no utterance has this field" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl.dropped.jsonl"}
    assert ds2("score", rows, "--by", "mood", "--max-bad", 100).returncode == 1


def test_a_third_argument_is_refused_without_compare(ds2, rows, tmp_path):
    done = ds2("score", rows, tmp_path / "out.jsonl", "more.jsonl")
    assert done.returncode == 2 and "--compare compares several results" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_result_in_place_of_out_is_not_overwritten(ds2, rows, jsonl, tmp_path):
    other = jsonl(tmp_path / "other.jsonl", ROWS)
    done = ds2("score", rows, other)
    assert done.returncode == 2 and f"--compare {rows} {other} compares two results" in done.stderr
    assert jsonl(other) == ROWS
    assert [ds2("score", rows, tmp_path / "out.jsonl").returncode for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.jsonl", "x", "--json", "x"], "x is to be written twice"),
        (["in.jsonl", "--json", "in.jsonl"], "in.jsonl is read, and cannot be written"),
        (["in.jsonl", "--ref", "ref", "--ctm", "./ref"], "./ref is read, and cannot be written"),
        (["in.jsonl", "--kaldi", "k", "--unit", "char"], "--kaldi: Kaldi's layout has words"),
        (["in.jsonl", "--unit", "word", "--no-char-spaces"], "--no-char-spaces has no effect with --unit word"),
        (["in.jsonl", "--seed", "3"], "--seed only applies with --compare"),
        (["--compare", "a", "b", "--max-bad", "3"], "--max-bad has no effect with --compare"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(ds2, rows, tmp_path, arguments, message):
    done = ds2("score", *arguments, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("option", [["--worst", 1], ["--max-wer", 5], ["--by", "speaker"], ["--trn", "t"]])
def test_what_a_comparison_does_not_use_is_refused(ds2, rows, option):
    done = ds2("score", "--compare", rows, "other.jsonl", *option)
    assert done.returncode == 2 and f"{option[0]} has no effect with --compare" in done.stderr


def test_causes_are_found_in_kaldis_alignment_only(ds2, rows):
    for options in (["--alignment", "sclite"], ["--unit", "mixed"]):
        done = ds2("score", rows, "--why", "exp", *options)
        assert done.returncode == 2 and "--why: errors are explained by words or" in done.stderr


def test_systems_are_compared(ds2, jsonl, tmp_path):
    texts = [f"one two three {n}" for n in range(40)]
    better, worse = (
        jsonl(
            tmp_path / name,
            [
                {"id": f"{k:02d}", "text": text, "pred_text": text if k % step else text.replace("two", "too")}
                for k, text in enumerate(texts)
            ],
        )
        for name, step in (("better.jsonl", 20), ("worse.jsonl", 2))
    )
    done = ds2("score", "--compare", worse, better, "--json", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    assert "The difference is real: better.jsonl makes fewer errors than worse.jsonl" in done.stdout
    assert len(json.loads((tmp_path / "c.json").read_text())["certificate"]["hypotheses"]) == 2
    assert ds2("score", "--compare", worse).returncode == 2
    other = jsonl(tmp_path / "other.jsonl", [{"id": "00", "text": "another", "pred_text": "one"}])
    done = ds2("score", "--compare", worse, other)
    assert done.returncode == 3 and "'00' has different references" in done.stderr


def test_results_of_different_normalizers_are_refused(ds2, rows, tmp_path):
    for name in ("none", "basic"):
        assert ds2("score", rows, tmp_path / f"{name}.jsonl", "--normalizer", name).returncode == 0
    compare = ("score", "--compare", tmp_path / "none.jsonl", tmp_path / "basic.jsonl")
    done = ds2(*compare)
    assert done.returncode == 3 and "were scored with different normalizers, none and basic" in done.stderr
    assert ds2(*compare, "--force").returncode == 0
