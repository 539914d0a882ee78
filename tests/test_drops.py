import itertools
import json
import subprocess
import sys

import pytest

from ds2cli import drops
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error


def test_in_is_kept_plus_dropped():
    ledger = Ledger()
    list(ledger.count_kept("abc"))
    ledger.drop("d", "no-text")
    ledger.drop("e", "tone", bad=False)
    ledger.drop_error("f", BadUtterance("no-text", "none"))
    ledger.drop_error("g", BadUtterance("a-rule", "none"), bad=False)
    assert ledger.summary() == "7 in = 3 kept + 4 dropped (1 a-rule, 2 no-text, 1 tone)"
    assert ledger.bad_percent == 40.0


def test_rows_that_were_not_asked_for_are_not_dropped():
    ledger = Ledger(kept=3)
    ledger.unselected.update(duration=2, other=1)
    assert ledger.summary() == "6 in = 3 kept + 0 dropped + 3 not selected (2 duration, 1 other)"
    ledger.drop("a", "no-text")
    assert ledger.summary() == "7 in = 3 kept + 1 dropped (1 no-text) + 3 not selected (2 duration, 1 other)"
    assert (ledger.dropped, ledger.bad_percent) == (1, 25.0)


def test_an_empty_run_is_not_bad():
    assert Ledger().bad_percent == 0.0


def test_lines_are_json_even_for_broken_names():
    ledger = Ledger()
    ledger.drop("caf\udce9", "not-utf8", "é")
    (line,) = ledger.format_lines()
    assert json.loads(line)["reason"] == "not-utf8"


def test_too_many_bad_utterances_are_refused():
    ledger = Ledger()
    ledger.drop("a", "no-text")
    ledger.drop("b", "tone", bad=False)
    ledger.enforce_max_bad("emit", 25.0, kept=3)
    with pytest.raises(Ds2Error, match="emit: refused: 1 of 1 utterances are bad"):
        ledger.enforce_max_bad("emit", 25.0)
    with pytest.raises(Ds2Error, match=r"1 of 2 utterances are bad \(50.0 %, allowed 25 %"):
        ledger.enforce_max_bad("emit", 25.0, kept=1)
    ledger.kept = 3
    ledger.enforce_max_bad("emit", 25.0)
    with pytest.raises(Ds2Error, match="1 of 1 utterances are bad"):
        ledger.enforce_max_bad("emit", 25.0, kept=0)


def test_a_result_without_rows_is_refused_if_rows_are_needed():
    Ledger().enforce_max_bad("emit", 100.0)
    with pytest.raises(DataError, match=r"^a\.jsonl: no utterances, expected at least one"):
        Ledger(needs_rows=True, source="a.jsonl").enforce_max_bad("emit", 1.0)
    ledger = Ledger(needs_rows=True)
    ledger.drop("a", "tone", bad=False)
    ledger.unselected["no-match"] = 3
    with pytest.raises(Ds2Error, match=r"^subset: refused: none of 4 utterances is kept \(3 no-match, 1 tone\)$"):
        ledger.enforce_max_bad("subset", 100.0)
    ledger.enforce_max_bad("subset", 100.0, kept=1)


def test_drops_are_sorted_as_the_input():
    """Whatever the stage reads ahead: bad lines come where they were, drops of the stage at the place of their row."""

    def source(ledger):
        ledger.drop("in:1", "not-json")
        yield "a"
        yield "b"
        ledger.drop("b", "duplicate-id")
        ledger.drop("in:4", "not-json")
        yield "c"
        ledger.drop("in:6", "not-json")

    lists = []
    for ahead in (1, 3):
        ledger = Ledger()
        items = ledger.follow(source(ledger), str)
        while chunk := list(itertools.islice(items, ahead)):
            for item in reversed(chunk):
                ledger.drop(item, "stage")
        assert [row["id"] for row in ledger.stage_drops(0)] == (list("abc") if ahead == 1 else list("cba"))
        ledger.sort()
        lists.append([(row["id"], row["reason"]) for row in ledger.rows])
    assert lists[0] == lists[1] == [
        ("in:1", "not-json"), ("a", "stage"), ("b", "stage"), ("b", "duplicate-id"), ("in:4", "not-json"),
        ("c", "stage"), ("in:6", "not-json"),
    ]  # fmt: skip


@pytest.mark.parametrize("in_memory", [0, 1, 3, 100])
def test_dropped_rows_are_a_list_of_any_length(monkeypatch, in_memory):
    monkeypatch.setattr(drops, "MOST_IN_MEMORY", in_memory)
    ledger, expected = Ledger(), []
    for i in range(10):
        ledger.drop(f"ü{i}", "r", "a \udce9 \u2028 \n", bad=i % 2 == 0)
        expected.append({"id": f"ü{i}", "reason": "r", "detail": "a \udce9 \u2028 \n", "bad": i % 2 == 0})
        assert ledger.rows == expected and len(ledger.rows) == i + 1
    assert (ledger.rows[-1], ledger.rows[3:7], ledger.bad) == (expected[-1], expected[3:7], 5)
    assert ledger.rows != expected[1:] and expected[4] in ledger.rows and bool(ledger.rows)
    with pytest.raises(IndexError):
        ledger.rows[10]
    ledger.rows[:] = ledger.rows[::-1]
    ledger.rows.insert(2, {"id": "x"})
    del ledger.rows[0]
    expected.reverse()
    assert ledger.rows == [expected[1], {"id": "x"}, *expected[2:]] and str(ledger.rows) == str([*ledger.rows])


@pytest.mark.long
def test_many_dropped_rows_take_little_memory():
    code = (
        "from ds2cli.drops import Ledger; ledger = Ledger()\n"
        "for i in range(300_000): ledger.drop(f'utterance-{i}', 'r', f'path/to/a.jsonl:{i}: ' + 99 * 'x')\n"
        "assert sum(map(len, ledger.format_lines())) > 50_000_000\n"
        "print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
