import json

from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance


def test_in_is_kept_plus_dropped():
    ledger = Ledger()
    list(ledger.keep("abc"))
    ledger.drop("d", "no-text")
    ledger.drop("e", "tone", bad=False)
    ledger.drop_error("f", BadUtterance("no-text", "none"))
    assert ledger.summary() == "6 in = 3 kept + 3 dropped (2 no-text, 1 tone)"
    assert ledger.bad_percent == 40.0


def test_nothing_in_is_not_bad():
    assert Ledger().bad_percent == 0.0


def test_lines_are_json_even_for_broken_names():
    ledger = Ledger()
    ledger.drop("caf\udce9", "not-utf8", "é")
    (line,) = ledger.lines()
    assert json.loads(line)["reason"] == "not-utf8"
