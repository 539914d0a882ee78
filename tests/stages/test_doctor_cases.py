from __future__ import annotations

import numpy as np
import pytest

from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.nn.ctc.verdict import Verdict
from ds2cli.stages.doctor_cases import MAX_FRAMES, generate_cases, select_cases
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, *"abc"))


def rows(*utterances):
    return [{"id": f"u{i}", "num_frames": frames, "text": text} for i, (frames, text) in enumerate(utterances)]


def by_reason(cases):
    return {reason: case for case in cases for reason in case.reason.split(", ")}


def test_the_hardest_utterance_of_each_kind_is_selected():
    ledger = Ledger()
    manifest = rows(
        (900, "ab"), (300, "abcabcabc"), (300, "aaaaa"), (9, "ab"), (3, "a"), (3, "abc"), (30, ""), (9, "x")
    )
    found = by_reason(select_cases(manifest, VOCAB, 3, 16, ledger))
    names = {reason: case.name for reason, case in found.items() if reason != "long"}
    assert names == {
        "longest": "u0", "longest label": "u1", "most repeats": "u2", "fewest spare steps": "u4", "shortest": "u4",
        "label-too-long": "u5", "empty label": "u6", "not-finite": "u4", "synthetic": "u4",
    }  # fmt: skip
    assert found["long"].name == "u3" and found["longest"].steps == 300
    assert found["label-too-long"].verdict is Verdict.TOO_SHORT and found["label-too-long"].spare == -2
    assert found["not-finite"].verdict is Verdict.NOT_FINITE and not len(found["empty label"].labels)
    assert ledger.reasons == {"unspellable": 1} and ledger.kept == 7


def test_missing_edge_cases_are_derived_from_the_utterances():
    cases = select_cases(rows((90, "abb")), VOCAB, 1, 8, Ledger())
    assert [(c.reason, c.steps, len(c.labels)) for c in cases] == [
        ("longest, longest label, most repeats, fewest spare steps, shortest", 90, 3),
        ("label-too-long, synthetic", 3, 3),
        ("empty label, synthetic", 90, 0),
        ("not-finite, synthetic", 90, 3),
    ]


@pytest.mark.parametrize("invalid", [(9, "abcabcabcabc"), (0, "")], ids=["too short", "no steps"])
def test_edge_cases_are_derived_from_utterances_that_fit(invalid):
    found = by_reason(select_cases(rows((90, "abb"), invalid), VOCAB, 1, 8, Ledger()))
    cases = found.values()
    assert all((c.spare < 0) == (c.verdict is Verdict.TOO_SHORT) for c in cases)
    assert any(c.verdict is Verdict.OK and not len(c.labels) for c in cases)
    assert found["not-finite"].verdict is Verdict.NOT_FINITE and found["not-finite"].steps == 90


def test_the_selection_is_limited_and_deterministic():
    many_rows = rows(*((50 + i, "abcab"[: i % 6]) for i in range(60)))
    cases = select_cases(many_rows, VOCAB, 2, 10, Ledger())
    assert len(cases) == 10
    # after the hardest ones
    assert {c.name for c in cases if c.reason == "long"} == {"u55", "u57", "u58"}
    repeated = select_cases(many_rows, VOCAB, 2, 10, Ledger())
    assert [(c.name, c.reason) for c in cases] == [(c.name, c.reason) for c in repeated]


def test_a_manifest_without_a_fitting_label_is_refused():
    with pytest.raises(DataError, match=r"no label fits the frames of its utterance, 1 in = 1 kept.*--stride 9"):
        select_cases(rows((9, "abc")), VOCAB, 9, 8, Ledger())


def test_when_all_rows_were_dropped_the_hint_depends_on_the_reason():
    ledger = Ledger()
    ledger.drop("u", "no-num-frames")
    with pytest.raises(DataError, match=r"1 no-num-frames\) \(ds2 featurize writes num_frames\)$"):
        select_cases([], VOCAB, 3, 8, ledger)
    with pytest.raises(DataError, match=r"1 unspellable\) \(check --vocab\)$"):
        select_cases(rows((9, "x")), VOCAB, 3, 8, Ledger())
    with pytest.raises(DataError, match=r"0 in = 0 kept \+ 0 dropped$"):
        select_cases([], VOCAB, 3, 8, Ledger())


def test_an_utterance_too_long_for_the_reference_is_dropped():
    ledger = Ledger()
    cases = select_cases(rows((MAX_FRAMES, "abb"), (MAX_FRAMES + 1, "a")), VOCAB, 1, 8, ledger)
    assert ledger.reasons == {"too-long": 1} and max(case.steps for case in cases) == MAX_FRAMES


@pytest.mark.parametrize("symbols", [2, 3, 29])
def test_a_generated_batch_has_every_kind_of_case(symbols):
    cases = generate_cases(symbols, 16, 0)
    assert len(cases) == 16 and {"longest", "most repeats", "fewest spare steps", "shortest"} <= by_reason(cases).keys()
    assert all((c.spare < 0) == (c.verdict is Verdict.TOO_SHORT) for c in cases)
    assert max(int(np.max(c.labels, initial=0)) for c in cases) < symbols
    again, other = ([(c.name, c.labels.tolist()) for c in generate_cases(symbols, 16, seed)] for seed in (0, 1))
    assert [(c.name, c.labels.tolist()) for c in cases] == again != other


def test_of_the_labels_that_do_not_fit_the_one_that_lacks_the_most_steps_is_selected():
    found = by_reason(select_cases(rows((90, "abb"), (2, "abc"), (2, "abcabc"), (1, "ab")), VOCAB, 1, 8, Ledger()))
    assert found["label-too-long"].name == "u2"
