"""Joining the decodings of several systems, and combining them utterance by utterance."""

from __future__ import annotations

import pytest

from ds2cli import manifest
from ds2cli.config.rover import RoverConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.metrics.rover import VoteRule
from ds2cli.stages import rover


def combine(*systems, config=None):
    """The combined rows, with the ledger and the counts."""
    ledger, counts = Ledger(), rover.RoverCounts()
    names = "ABCDEF"[: len(systems)]
    rows = rover.run(config or RoverConfig(), names, systems, [Ledger() for _ in systems], ledger, counts)
    return list(rows), ledger, counts


def rows_of(**texts):
    return [{"id": name, "text": "ref", "pred_text": text} for name, text in texts.items()]


def test_rows_keep_their_fields_and_lose_those_of_one_hypothesis():
    decoded = {
        "pred_score": -1.0,
        "nbest": [{"text": "x"}],
        "pred_conf": 0.1,
        "hits": 1,
        "subs": 0,
        "ins": 0,
        "dels": 0,
    }
    first = [{"id": "a", "text": "x y", "speaker": "s", "pred_text": "x z", **decoded}]
    second = [{"id": "a", "text": "x y", "pred_text": "x y", "mine": 1}]
    (row,), _, counts = combine(first, second, second)
    assert row == {"id": "a", "text": "x y", "speaker": "s", "pred_text": "x y"}
    assert (counts.places.total, counts.places.unanimous, counts.missing) == (2, 1, [0, 0, 0])


def test_systems_are_joined_by_id():
    found = list(manifest.join_all([rows_of(a="1", c="1"), rows_of(b="2", c="2"), rows_of(c="3", d="3"), []]))
    assert [[row and row["pred_text"] for row in rows] for rows in found] == [
        ["1", None, None, None],
        [None, "2", None, None],
        ["1", "2", "3", None],
        [None, None, "3", None],
    ]


def test_a_system_that_lacks_an_utterance_votes_for_the_empty_word():
    rows, ledger, counts = combine(
        rows_of(a="x y", b="x y"), rows_of(a="x"), [{"id": "a", "text": "ref"}, *rows_of(b="", c="x")]
    )
    # a: y has one of three votes, b: both words have; c: only the third system has it
    assert [(row["id"], row["pred_text"]) for row in rows] == [("a", "x"), ("b", ""), ("c", "")]
    assert counts.missing == [1, 2, 1]
    assert not ledger.rows


def test_decodings_of_other_utterances_are_refused():
    with pytest.raises(Ds2Error, match="refused: no utterance of A has a hypothesis of another system"):
        combine(rows_of(a="x"), rows_of(b="x"))
    with pytest.raises(Ds2Error, match="refused: no utterance of C "):
        combine(rows_of(a="x"), rows_of(a="x"), rows_of(b="x"))
    assert len(combine(rows_of(a="x", b="x"), rows_of(b="x", c="x"), rows_of(a="x", c="x"))[0]) == 3
    rows, ledger, _ = combine(
        [{"id": "a"}, {"id": "b", "pred_text": "x"}], [{"id": "a"}, {"id": "b", "pred_text": "x"}]
    )
    assert [row["id"] for row in rows] == ["b"]
    assert ledger.rows[0]["reason"] == "no-pred-text"


def test_different_references_are_an_error():
    other = [{"id": "a", "text": "other", "pred_text": "x"}]
    with pytest.raises(DataError, match=r"'a' has different texts in A and C: .* found 'ref' and 'other'"):
        combine(rows_of(a="x"), [{"id": "a", "pred_text": "x"}], other)


def with_words(text, confs=(), **fields):
    words = [
        {"word": word, "start": float(i), "end": i + 0.5, "conf": conf}
        for i, (word, conf) in enumerate(zip(text.split(), confs, strict=True))
    ]
    return [{"id": "a", "pred_text": text, "pred_words": words, **fields}]


def test_words_get_average_times_and_confidences():
    (row,), _, _ = combine(with_words("x y", [0.2, 0.4]), with_words("x", [0.6]), with_words("y", [0.9]))
    assert row["pred_text"] == "x y"
    assert row["pred_words"] == [
        {"word": "x", "start": 0.0, "end": 0.5, "conf": 0.4, "votes": 2},
        {"word": "y", "start": 0.5, "end": 1.0, "conf": 0.65, "votes": 2},
    ]
    assert row["pred_conf"] == 0.525
    # an empty hypothesis lacks no confidence, a bare one does
    (row,), _, _ = combine(with_words("x", [0.2]), [{"id": "a", "pred_text": ""}])
    assert row["pred_words"][0]["conf"] == 0.2
    (row,), _, _ = combine(with_words("", []), with_words("", []))
    assert (row["pred_words"], "pred_conf" in row) == ([], False)
    (row,), _, _ = combine(with_words("x", [0.2]), [{"id": "a", "pred_text": "x"}])
    assert "pred_words" not in row


def test_methods_with_confidences():
    systems = [with_words("x", [0.3]), with_words("x", [0.3]), with_words("y", [0.9])]
    for method, text in (("votes", "x"), ("average", "y"), ("maximum", "y"), ("share", "x")):
        (row,), _, _ = combine(*systems, config=RoverConfig(method=method, alpha=0.5))
        assert row["pred_text"] == text, method
    (row,), ledger, _ = combine(
        [{"id": "a", "pred_text": "x"}, {"id": "b", "pred_text": ""}],
        [{"id": "a", "pred_text": "x"}, {"id": "b", "pred_text": ""}],
        config=RoverConfig(method="average"),
    )
    assert (row["id"], row["pred_text"]) == ("b", "")
    assert ledger.rows[0]["reason"] == "no-conf"
    assert ledger.rows[0]["detail"].startswith("A: expected pred_words with a conf from 0 to 1 for each word")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        # other words than pred_text: the text was changed after decoding
        ([{"word": "z", "start": 0, "end": 1, "conf": 0.5}], "no-conf"),
        ([{"word": "x", "start": 0, "end": 1, "conf": 1.5}], "no-conf"),
        ([{"word": "x", "start": 0, "end": 1, "conf": float("nan")}], "no-conf"),
        ([{"word": "x", "start": 0, "end": 1, "conf": True}], "no-conf"),
        ([{"start": 0}], "no-conf"),
        ([{"word": "x", "start": 0, "end": None, "conf": 0.5}], "no-times"),
        ([{"word": "x", "start": "0", "end": 1, "conf": 0.5}], "no-times"),
    ],
)
def test_words_that_do_not_serve_the_rule(words, reason):
    row = {"id": "a", "pred_text": "x", "pred_words": words}
    with pytest.raises(BadUtterance, match=reason):
        rover.read_hypothesis(row, "A", VoteRule("average", by_time=True))
    assert rover.read_hypothesis(row, "A", VoteRule()).words == ["x"]


def test_a_row_that_one_system_has_wrong_drops_the_utterance_once(jsonl, tmp_path):
    """In = kept + dropped, also if several systems have it wrong."""
    good = rows_of(a="x", b="x", c="x", d="x")
    bad = [{**row, "pred_text": 5} if row["id"] in "bd" else row for row in good]
    files = [jsonl(tmp_path / f"{i}.jsonl", rows) for i, rows in enumerate([good, bad, [*bad[:2], *good[2:]]])]
    ledgers, ledger, counts = [Ledger() for _ in files], Ledger(), rover.RoverCounts()
    systems = [manifest.read(file, ledger=own) for file, own in zip(files, ledgers, strict=True)]
    rows = list(rover.run(RoverConfig(), files, systems, ledgers, ledger, counts))
    assert [row["id"] for row in rows] == ["a", "c"]
    assert [(row["id"], row["reason"], row["bad"]) for row in ledger.rows] == [
        ("b", "wrong-type", True),
        ("d", "wrong-type", True),
    ]
    assert counts.missing == [0, 0, 0]


def test_utterances_are_read_as_they_are_needed(monkeypatch):
    """Memory is bounded: at most a chunk is read ahead."""
    monkeypatch.setattr(rover, "CHUNK", 2)
    read = []

    def system(name):
        for i in range(100):
            read.append((name, i))
            yield {"id": f"u{i:03}", "pred_text": "x"}

    rows = rover.run(
        RoverConfig(), "AB", [system("A"), system("B")], [Ledger(), Ledger()], Ledger(), rover.RoverCounts()
    )
    assert next(rows)["id"] == "u000"
    assert len(read) <= 6
    assert len(list(rows)) == 99
