from __future__ import annotations

import numpy as np
import pytest

from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.nn.ctc.verdict import Verdict
from ds2cli.stages.doctor_cases import cases_from_rows, random_cases
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, *"abc"))


def rows(*utterances):
    return [{"id": f"u{i}", "num_frames": frames, "text": text} for i, (frames, text) in enumerate(utterances)]


def by_reason(cases):
    return {why: case for case in cases for why in case.why.split(", ")}


def test_each_kind_of_trouble_is_found():
    ledger = Ledger()
    given = rows((900, "ab"), (300, "abcabcabc"), (300, "aaaaa"), (9, "ab"), (3, "a"), (3, "abc"), (30, ""), (9, "x"))
    found = by_reason(cases_from_rows(given, VOCAB, 3, 16, ledger))
    names = {why: case.name for why, case in found.items() if why != "long"}
    assert names == {
        "longest": "u0", "longest label": "u1", "most repeats": "u2", "tightest": "u4", "shortest": "u4",
        "label-too-long": "u5", "empty label": "u6", "not-finite": "u4", "made": "u4",
    }  # fmt: skip
    assert found["long"].name == "u3" and found["longest"].steps == 300
    assert found["label-too-long"].verdict is Verdict.TOO_SHORT and found["label-too-long"].spare == -2
    assert found["not-finite"].verdict is Verdict.NOT_FINITE and not len(found["empty label"].labels)
    assert ledger.reasons == {"unspellable": 1} and ledger.kept == 7


def test_what_a_manifest_lacks_is_made_of_what_it_has():
    cases = cases_from_rows(rows((90, "abb")), VOCAB, 1, 8, Ledger())
    assert [(c.why, c.steps, len(c.labels)) for c in cases] == [
        ("longest, longest label, most repeats, tightest, shortest", 90, 3),
        ("label-too-long, made", 3, 3),
        ("empty label, made", 90, 0),
        ("not-finite, made", 90, 3),
    ]


@pytest.mark.parametrize("odd", [(9, "abcabcabcabc"), (0, "")], ids=["too short", "no steps"])
def test_what_is_made_is_made_of_what_fits(odd):
    found = by_reason(cases_from_rows(rows((90, "abb"), odd), VOCAB, 1, 8, Ledger()))
    cases = found.values()
    assert all((c.spare < 0) == (c.verdict is Verdict.TOO_SHORT) for c in cases)
    assert any(c.verdict is Verdict.FINE and not len(c.labels) for c in cases)
    assert found["not-finite"].verdict is Verdict.NOT_FINITE and found["not-finite"].steps == 90


def test_no_more_utterances_than_asked_for_and_always_the_same():
    many = rows(*((50 + i, "abcab"[: i % 6]) for i in range(60)))
    cases = cases_from_rows(many, VOCAB, 2, 10, Ledger())
    assert 8 <= len(cases) <= 10
    again = cases_from_rows(many, VOCAB, 2, 10, Ledger())
    assert [(c.name, c.why) for c in cases] == [(c.name, c.why) for c in again]


def test_a_manifest_without_a_label_that_fits_is_refused():
    with pytest.raises(DataError, match=r"no utterance's label fits its frames, 1 in = 1 kept.*--stride 9"):
        cases_from_rows(rows((9, "abc")), VOCAB, 9, 8, Ledger())


def test_where_all_were_dropped_the_stride_is_not_asked_about():
    ledger = Ledger()
    ledger.drop("u", "no-num-frames")
    with pytest.raises(DataError, match=r"1 no-num-frames\) \(ds2 featurize writes num_frames\)$"):
        cases_from_rows([], VOCAB, 3, 8, ledger)
    with pytest.raises(DataError, match=r"1 unspellable\) \(is --vocab right\?\)$"):
        cases_from_rows(rows((9, "x")), VOCAB, 3, 8, Ledger())
    with pytest.raises(DataError, match=r"0 in = 0 kept \+ 0 dropped$"):
        cases_from_rows([], VOCAB, 3, 8, Ledger())


def test_an_utterance_too_long_for_the_formulas_is_dropped():
    ledger = Ledger()
    cases = cases_from_rows(rows((90, "abb"), (9_000_000_000, "a")), VOCAB, 1, 8, ledger)
    assert ledger.reasons == {"too-long": 1} and max(case.steps for case in cases) == 90


@pytest.mark.parametrize("symbols", [2, 3, 29])
def test_a_batch_that_is_made_up_has_all_of_it(symbols):
    cases = random_cases(symbols, 16, 0)
    assert len(cases) <= 16 and {"longest", "most repeats", "tightest", "shortest"} <= by_reason(cases).keys()
    assert all((c.spare < 0) == (c.verdict is Verdict.TOO_SHORT) for c in cases)
    assert max(int(np.max(c.labels, initial=0)) for c in cases) < symbols
