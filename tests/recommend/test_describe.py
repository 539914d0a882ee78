"""The report in words: what a line says of known facts."""

from __future__ import annotations

from ds2cli.recommend.describe import fact_lines


def test_the_lines_name_rare_and_suspicious_symbols_and_what_does_not_fit(facts_of):
    rows = [{"duration": 2.0, "text": "so it is", "speaker": "ann", "lang": "en", "sample_rate": 16000}] * 20
    rows += [{"duration": 0.1, "text": "room 7\u200b is free"}, {"duration": 1.0}]
    lines = dict(fact_lines(facts_of(rows)))
    assert lines["audio"] == "0.7 minutes (0.01 h) in 22 utterances" and lines["without text"] == "1 utterances"
    assert lines["speakers"] == "1, 2 utterances without one" and lines["languages"] == "en (20), unknown (2)"
    assert lines["alphabet"].startswith("11 symbols: ␣7") and "U+200B" in lines["alphabet"]
    assert "7 1 (in u00020)" in lines["below 10 times"]
    assert "7 a digit (in u00020), U+200B invisible (in u00020)" in lines["suspicious"]
    # 0.1 s are 8 frames at 1.1 times the speed, the text has 15 characters and a pair of equal ones
    assert lines["too short"].startswith("of 22 utterances, too few steps")
    assert lines["too short"].endswith("1 at a stride of 3, 1 at a stride of 2, 1 at a stride of 1")


def test_a_known_and_an_unknown_number_of_speakers(facts_of):
    row = {"duration": 1.0, "text": "a"}
    assert dict(fact_lines(facts_of([row])))["speakers"].startswith("unknown (ds2 prepare folder --speaker")
    assert dict(fact_lines(facts_of([{**row, "speaker": "ann"}])))["speakers"] == "1"
