"""The lines of the report, verbatim."""

from __future__ import annotations

from ds2cli.metrics.report import Report, Utterance, rate_line, utterance_lines
from ds2cli.metrics.wer import Counts


def report_of(*utterances, **options):
    report = Report(**options)
    report.add_all([Utterance(*u) if isinstance(u, tuple) else u for u in utterances])
    return report


def scored(**options):
    return report_of(
        ("a", "the cat sat", "the big cat", "s1"),
        ("b", "on the mat", "on the mat", "s2"),
        ("c", "hello", None, "s2"),
        **options,
    )


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
        "Counted with alignment kaldi, characters with spaces, normalizer none."
        " 95 % confidence interval of the WER: 0.00 to 96.97.",
        "%WER 66.67 [ 2 / 3, 1 ins, 1 del, 0 sub ] s1",
        "%CER 36.36 [ 4 / 11, 0 ins, 0 del, 4 sub ] s1",
        "%WER 25.00 [ 1 / 4, 0 ins, 1 del, 0 sub ] s2",
        "%CER 33.33 [ 5 / 15, 0 ins, 5 del, 0 sub ] s2",
    ]


def test_an_empty_hypothesis_is_not_missing():
    report = report_of(("a", "hello", ""), ("b", "hello", None), units=("word",))
    assert list(report.summary())[:-1] == [
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
    """In one chunk and in two."""
    assert "x ref   a" in list(report_of(("x", "a", "b"), ("y", "a", "c"), units=("word",), worst=1).lines())
    report = Report(units=("word",), worst=1)
    report.add_all([Utterance("x", "a", "b")])
    report.add_all([Utterance("y", "a", "c")])
    assert "x ref   a" in list(report.lines())


def test_an_empty_set():
    assert next(Report().lines()) == "%WER 0.00 [ 0 / 0, 0 ins, 0 del, 0 sub ]"
    assert utterance_lines("a", [])[-1] == "a #csid 0 0 0 0"


def test_causes_are_printed_below_their_words():
    errors = [
        {"ref": "b", "hyp": "x", "kind": "sub", "cause": "lm"},
        {"ref": "d", "hyp": None, "kind": "del", "cause": "acoustic"},
    ]
    report = report_of(Utterance("u", "a b c d", "a x c", errors=errors), units=("word",), worst=1, why=True)
    lines = list(report.lines())
    assert lines[4:7] == [
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
        report = report_of(Utterance("u", "a b", "x y", nbest=["x y", "y x", "a b"]), ("v", "a b", "a b"), why=why)
        assert list(report.lines())[4:-1] == expected


def test_without_n_best_lists_there_is_no_oracle_rate():
    report = report_of(Utterance("u", "a", "a", nbest=["a"]), ("v", "a", None))
    assert len(list(report.lines())) == 5


def test_the_worst_utterances_are_listed_from_the_worst_without_those_that_are_right():
    for worst, expected in ((2, ["z", "w"]), (9, ["z", "w", "y"])):
        hyps = (("x", "a b c"), ("y", "a x c"), ("z", "x y z"), ("w", "a y y"))
        report = report_of(*((name, "a b c", hyp) for name, hyp in hyps), units=("word",), worst=worst)
        assert [line.split()[0] for line in report.lines() if " ref " in line] == expected


def test_the_most_frequent_errors_are_counted_and_come_first():
    report = Report(units=("word",), confusions=2)
    for hyps in ("xyy", "zz", "z"):
        report.add_all([Utterance("u", "a", hyp) for hyp in hyps])
    assert list(report.lines())[-3:] == ["", "    3  a -> z", "    2  a -> y"]


def test_errors_and_the_oracle_rate_are_those_of_characters_if_only_these_are_counted():
    report = report_of(Utterance("u", "ab", "a b", nbest=["a b", "ab"]), units=("char",), confusions=1)
    assert list(report.lines()) == [
        "%CER 50.00 [ 1 / 2, 1 ins, 0 del, 0 sub ]",
        "%SER 100.00 [ 1 / 1 ]",
        "Scored 1 sentences, 0 not present in hyp.",
        "%CER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ] best of 2",
        "Counted with alignment kaldi, characters with spaces, normalizer none.",
        "",
        "    1  *** -> ' '",
    ]
