"""References and hypotheses of any format."""

import gzip
import io
import json
import random
import sys

import pytest

from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.transcripts.detect import detect
from ds2cli.transcripts.scored import open_scored

HYP = {"u1": "a b", "u2": "", "u3": "c"}
REF = {"u1": "a x", "u2": "d", "u3": "c", "u4": "e f"}
"""u4 has no hypothesis."""

SCORED = [{"id": id_, "text": text, **({"pred_text": HYP[id_]} if id_ in HYP else {})} for id_, text in REF.items()]


def as_rows(texts, field):
    return "".join(json.dumps({"id": id_, field: text}) + "\n" for id_, text in texts.items())


def as_trn(texts, _):
    return "".join(f"{text} ({id_})\n" for id_, text in reversed(texts.items()))


def as_kaldi(texts, _):
    return "".join(f"{id_} {text}\n" for id_, text in reversed(texts.items()))


def as_score(texts, field):
    rows = as_rows(texts, field).rstrip("\n").replace("\n", ",\n")
    return '{"utterances":[\n' + rows + '\n],\n"wer":{"errors":3}\n}\n'


def as_ctm(texts, _):
    words = [(id_, word) for id_, text in texts.items() for word in text.split() or ["@"]]
    return "".join(f"{id_} 1 {k}.5 0.25 {word}\n" for k, (id_, word) in enumerate(words))


WRITERS = {"rows": as_rows, "trn": as_trn, "kaldi": as_kaldi, "score": as_score}


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return str(path)

    return write


def scored(*args, format="auto"):
    ledger = Ledger()
    rows = list(open_scored(*args, format, ledger))
    assert not ledger.rows
    return rows


@pytest.mark.parametrize("ref_kind", WRITERS)
@pytest.mark.parametrize("kind", WRITERS)
def test_any_hypothesis_with_any_reference(file, kind, ref_kind):
    hyp = file("hyp", WRITERS[kind](HYP, "pred_text"))
    ref = file("ref.gz", WRITERS[ref_kind](REF, "text"))
    assert (detect(hyp), detect(ref)) == (kind, ref_kind)
    assert scored(hyp, ref) == SCORED


def test_a_format_can_be_given(file):
    # texts that look like something else
    hyp, ref = file("h", "u1 1 0.5 0.5 yes\n"), file("r", "u1 (x)\n")
    assert (detect(hyp), detect(ref)) == ("ctm", "trn")
    assert scored(hyp, ref, format="kaldi") == [{"id": "u1", "text": "(x)", "pred_text": "1 0.5 0.5 yes"}]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.trn", "u1 x\n", "trn"),
        ("a.ctm.gz", "", "ctm"),
        ("a.stm", "x", "stm"),
        ("text", "{ a / b } (s-1)\n", "kaldi"),
        ("text.gz", "", "kaldi"),
        ("a.jsonl", "x (s-1)\n", "rows"),
        ("a", "", "rows"),
        ("a", "[\n", "rows"),
        ("a", "{\n", "rows"),
        ("a", '{"id": "u1"}\n', "rows"),
        ("a", '{"utterances":[\n', "score"),
        ("a", ";; c\n\n{ um / @ } yes (s-1)\n", "trn"),
        ("a", "(s-1)\n", "trn"),
        ("a", ";; c\nf A 11.34 0.2 YES -6.763\n", "ctm"),
        ("a", "f 1 0 .25 yes\n", "ctm"),
        ("a", ';; LABEL "O"\nf 1 spk 0.10 2.03 uh huh\n', "stm"),
        ("a", "f 1 spk 0 2.5 <o,f0,male>\n", "stm"),
        ("a", "u1 one 1 2 three\n", "kaldi"),
        ("a", "u1 4 5 6 7\n", "kaldi"),
        ("a", "u1\n", "kaldi"),
    ],
)
def test_detection(file, name, text, kind):
    assert detect(file(name, text)) == kind


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(file, monkeypatch, kind, pack):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(WRITERS[kind](HYP, "pred_text").encode()))))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert scored("-", file("ref", as_rows(REF, "text"))) == SCORED


def test_rows_alone_have_both_texts(file):
    rows = as_rows(REF, "text")
    assert scored(file("a", rows), None) == [{"id": id_, "text": text} for id_, text in REF.items()]
    score = as_score(REF, "text")
    assert scored(file("a", score), None) == [{"id": id_, "text": text} for id_, text in REF.items()]


def test_fields_of_both_are_kept_but_one_hypothesis_only(file):
    hyp = file("h", '{"id": "u1", "pred_text": "b", "nbest": [], "text": "old"}\n')
    ref = file("r", '{"id": "u1", "text": "a", "speaker": "ann", "pred_text": "other"}\n')
    (row,) = scored(hyp, ref)
    assert row == {"id": "u1", "pred_text": "b", "nbest": [], "text": "a", "speaker": "ann"}


def test_a_ctm_of_utterances_with_texts(file):
    hyp = {**HYP, "u2": "@"}
    rows = scored(file("h.ctm", as_ctm(hyp, "")), file("r", as_kaldi(REF, "")))
    assert [(row["text"], row.get("pred_text")) for row in rows] == [(REF[id_], hyp.get(id_)) for id_ in REF]


def test_a_ctm_with_an_stm(file):
    stm = file("r", "f 1 spk 0.0 2.0 <o> { uh / @ } yes\n")
    ledger = Ledger()
    (row,) = open_scored(file("h", "f 1 0.5 0.5 yes\n"), stm, "ctm", ledger)
    assert (row["text"], row["pred_text"]) == ("{ uh / @ } yes", "yes")
    assert len(ledger.notes) == 1 and "r: texts with alternatives { a / b }" in ledger.notes[0]
    assert "--sclite" in ledger.notes[0]


@pytest.mark.parametrize(
    ("words", "noted"),
    [("(uh) a", 1), ("re- a", 1), ("a -re", 1), ("@", 1), ("a } b", 1), ("a-b - c (d e) x@y 1/2", 0)],
)
def test_markup_of_references_is_noted_once(file, words, noted):
    ledger = Ledger()
    list(open_scored(file("h", "x (s-1)\ny (s-2)\n"), file("r", f"{words} (s-1)\n{words} (s-2)\n"), "auto", ledger))
    assert len(ledger.notes) == noted


@pytest.mark.parametrize(
    ("hyp", "ref", "message"),
    [
        (("h.trn", "a (u1)\n"), None, "h.trn: a trn file has no references"),
        (("h.ctm", ""), None, "a CTM file has no references"),
        (("text", "u1 a\n"), None, "Kaldi's text, which has no references"),
        (("h.stm", ""), ("r.stm", ""), "an STM file has only references"),
        (("h.trn", "a (u1)\n"), ("r.stm", ""), "an STM file can only be the reference of a CTM file"),
        (("h.trn", "a (u1)\n"), ("r.ctm", ""), "a CTM file cannot be the reference"),
        (("h.trn", "a (u1)\n"), ("r.trn", "a (u2)\n"), "utterance 'u1' has no reference: expected its id in .*r.trn"),
        (("h.trn", "a (u1)\n"), ("r.trn", "a (u1)\nb\n"), r"r\.trn:2: the line does not end in an id"),
        (("h.trn", "a (u1)\n"), ("r.trn", "a (u1)\nb (u1)\n"), r"r\.trn:2: id 'u1' appears more than once"),
        (("h.trn", "a (u1)\n"), ("r", '{"id": "u1"}\n'), r"r:1: the field 'text' is missing"),
        (("h", '{"utterances":[\n{"id":"u1","text":"a"},\n'), None, "the list of utterances does not end"),
        (("h", '{"utterances":[\n{"id":"b","text":"a"},\n{"id":"a","text":"a"}\n]}'), None, "comes after 'b'"),
        (("h", "[\n{}\n]\n"), None, "ds2 data fix"),
    ],
)
def test_what_does_not_go_together_is_one_line(file, hyp, ref, message):
    with pytest.raises(DataError, match=message):
        list(open_scored(file(*hyp), ref and file(*ref), "auto", Ledger()))


def test_bad_lines_of_hypotheses_are_counted(file):
    ref = file("r", as_kaldi(REF, ""))
    for name, text in (("h", as_trn(HYP, "") + "no id\n"), ("g", as_score(HYP, "pred_text").replace(":[", ":[\n{},"))):
        ledger = Ledger()
        assert list(open_scored(file(name, text), ref, "auto", ledger)) == SCORED
        assert ledger.bad == 1
        with pytest.raises(DataError):
            list(open_scored(file(name, text), ref, "auto", None))


def test_a_missing_file_is_one_line(tmp_path):
    for name in ("x", "x.trn", "text"):
        with pytest.raises(DataError, match="no such file"):
            list(open_scored(str(tmp_path / name), str(tmp_path / "ref.trn"), "auto", Ledger()))


DAMAGE = [
    "\0",
    "\udcff",
    "\n",
    " ",
    "(",
    ")",
    ";;",
    "{",
    "}",
    "\r",
    "nan",
    "-1",
    "1e999",
    "\u2028",
    "<",
    "<ALT_BEGIN>",
    "*",
    '"',
    "\t",
]


def test_damaged_files_are_never_a_traceback(tmp_path):
    rng = random.Random(8)
    files = {kind: write(REF, "text") for kind, write in WRITERS.items()}
    files |= {"ctm": "f 1 0.1 0.2 a 0.5\ng 2 1 0.5 c NA\n", "stm": "f 1 s 0.0 1.0 <o,f> a b\ng 2 t 0 3.5 c\n"}
    read = refused = 0
    for _ in range(600):
        paths = []
        for side in ("hyp", "ref"):
            kind = rng.choice(list(files))
            text = files[kind]
            for _ in range(rng.randint(0, 2)):
                i = rng.randint(0, len(text))
                text = text[:i] + rng.choice(DAMAGE) + text[i + rng.randint(0, 3) :]
            paths.append(tmp_path / side)
            paths[-1].write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            rows = list(open_scored(str(paths[0]), str(paths[1]), "auto", rng.choice([Ledger(), None])))
        except DataError as e:
            refused += 1
            assert "\n" not in str(e)
        else:
            read += 1
            assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
            assert json.dumps(rows, allow_nan=False) and all(isinstance(row["text"], str) for row in rows)
    assert read > 50 and refused > 50
