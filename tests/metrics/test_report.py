"""The lines of the report, verbatim."""

from __future__ import annotations

from ds2cli.metrics.report import Report, rate_line, utterance_lines
from ds2cli.metrics.wer import Counts


def scored(**options):
    report = Report(**options)
    report.add("a", "the cat sat", "the big cat", "s1")
    report.add("b", "on the mat", "on the mat", "s2")
    report.add("c", "hello", None, "s2")
    return report


def test_kaldis_line():
    assert rate_line("WER", Counts(hits=17788, subs=2020, ins=358, dels=330)) == (
        "%WER 13.45 [ 2708 / 20138, 358 ins, 330 del, 2020 sub ]"
    )


def test_the_summary():
    assert list(scored().lines()) == [
        "%WER 42.86 [ 3 / 7, 1 ins, 2 del, 0 sub ]",
        "%CER 34.62 [ 9 / 26, 0 ins, 5 del, 4 sub ]",
        "%SER 66.67 [ 2 / 3 ]",
        "Scored 3 sentences, 1 not present in hyp.",
        "%WER 66.67 [ 2 / 3, 1 ins, 1 del, 0 sub ] s1",
        "%CER 36.36 [ 4 / 11, 0 ins, 0 del, 4 sub ] s1",
        "%WER 25.00 [ 1 / 4, 0 ins, 1 del, 0 sub ] s2",
        "%CER 33.33 [ 5 / 15, 0 ins, 5 del, 0 sub ] s2",
    ]


def test_an_empty_hypothesis_is_not_missing():
    report = Report(units=("word",))
    report.add("a", "hello", "")
    report.add("b", "hello", None)
    assert list(report.summary()) == [
        "%WER 100.00 [ 2 / 2, 0 ins, 2 del, 0 sub ]",
        "%SER 100.00 [ 2 / 2 ]",
        "Scored 2 sentences, 1 not present in hyp.",
    ]


def test_the_worst_utterance_and_the_most_frequent_errors():
    lines = list(scored(units=("word",), worst=1, confusions=2).lines())
    assert lines[-8:] == [
        "",
        "    1  hello -> ***",
        "    1  sat -> ***",
        "",
        "a ref   the  ***  cat  sat",
        "a hyp   the  big  cat  ***",
        "a op    C    I    C    D",
        "a #csid 2 0 1 1",
    ]


def test_the_earlier_of_two_equally_bad_utterances_is_kept():
    report = Report(units=("word",), worst=1)
    report.add("x", "a", "b")
    report.add("y", "a", "c")
    assert "x ref   a" in list(report.lines())


def test_an_empty_set():
    assert next(Report().lines()) == "%WER 0.00 [ 0 / 0, 0 ins, 0 del, 0 sub ]"
    assert utterance_lines("a", [])[-1] == "a #csid 0 0 0 0"


def test_causes_are_printed_below_their_words():
    report = Report(units=("word",), worst=1, why=True)
    errors = [
        {"ref": "b", "hyp": "x", "kind": "sub", "cause": "lm"},
        {"ref": "d", "hyp": None, "kind": "del", "cause": "acoustic"},
    ]
    report.add("u", "a b c d", "a x c", errors=errors)
    lines = list(report.lines())
    assert lines[3:6] == [
        "",
        "cause     errors   share     sub     ins     del  commonest",
        "acoustic       1   50.0%       0       0       1  d -> ***",
    ]
    assert lines[-3:] == ["u op    C  S   C  D", "u why      lm     acoustic", "u #csid 2 1 0 1"]


def test_the_oracle_rate_is_one_line_or_one_per_n():
    for why, expected in (
        (False, ["%WER 0.00 [ 0 / 4, 0 ins, 0 del, 0 sub ] best of 3"]),
        (
            True,
            [
                "%WER 50.00 [ 2 / 4, 0 ins, 0 del, 2 sub ] best of 1",
                "%WER 50.00 [ 2 / 4, 0 ins, 0 del, 2 sub ] best of 2",
                "%WER 0.00 [ 0 / 4, 0 ins, 0 del, 0 sub ] best of 3",
            ],
        ),
    ):
        report = Report(why=why)
        report.add("u", "a b", "x y", nbest=["x y", "y x", "a b"])
        report.add("v", "a b", "a b")
        lines = list(report.lines())
        assert lines[4:] == expected


def test_without_n_best_lists_there_is_no_oracle_rate():
    report = Report()
    report.add("u", "a", "a", nbest=["a"])
    report.add("v", "a", None)
    assert len(list(report.lines())) == 4


def test_the_worst_utterances_are_listed_from_the_worst_without_those_that_are_right():
    for worst, expected in ((2, ["z", "w"]), (9, ["z", "w", "y"])):
        report = Report(units=("word",), worst=worst)
        for name, hyp in (("x", "a b c"), ("y", "a x c"), ("z", "x y z"), ("w", "a y y")):
            report.add(name, "a b c", hyp)
        assert [line.split()[0] for line in report.lines() if " ref " in line] == expected


def test_the_most_frequent_errors_are_counted_and_come_first():
    report = Report(units=("word",), confusions=2)
    for hyp in ("x", "y", "y", "z", "z", "z"):
        report.add("u", "a", hyp)
    assert list(report.lines())[-3:] == ["", "    3  a -> z", "    2  a -> y"]


def test_errors_and_the_oracle_rate_are_those_of_characters_if_only_these_are_counted():
    report = Report(units=("char",), confusions=1)
    report.add("u", "ab", "a b", nbest=["a b", "ab"])
    assert list(report.lines()) == [
        "%CER 50.00 [ 1 / 2, 1 ins, 0 del, 0 sub ]",
        "%SER 100.00 [ 1 / 1 ]",
        "Scored 1 sentences, 0 not present in hyp.",
        "%CER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ] best of 2",
        "",
        "    1  *** -> ' '",
    ]
