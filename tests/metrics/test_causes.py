"""The table of causes, verbatim."""

from __future__ import annotations

from ds2cli.metrics.causes import Causes


def error(ref, hyp, cause):
    return {"ref": ref, "hyp": hyp, "kind": "ins" if ref is None else "del" if hyp is None else "sub", "cause": cause}


def test_the_table():
    causes = Causes()
    causes.add([error("été", "ete", "acoustic"), error("a", "b", "acoustic")])
    causes.add([error("été", "ete", "acoustic"), error(None, "x", "unspellable")])
    causes.add([])
    assert list(causes.lines()) == [
        "cause        errors   share     sub     ins     del  commonest",
        "acoustic          3   75.0%       3       0       0  été -> ete (2), a -> b",
        "unspellable       1   25.0%       0       1       0  *** -> x",
    ]


def test_no_errors_no_table():
    assert list(Causes().lines()) == []


def test_the_three_most_frequent_examples_are_shown():
    causes = Causes()
    causes.add([error(ref, "x", "lm") for ref in "abbcccd"])
    assert list(causes.lines())[1].endswith("  c -> x (3), b -> x (2), a -> x")


def test_equally_frequent_causes_are_in_alphabetical_order():
    causes = Causes()
    causes.add([error("a", None, "search"), error("a", None, "oov"), error("a", None, "lm"), error("b", "c", "search")])
    assert [line.split()[0] for line in causes.lines()] == ["cause", "search", "lm", "oov"]
