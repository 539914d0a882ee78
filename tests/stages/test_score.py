"""Scoring of rows, and joining them with references."""

from __future__ import annotations

import random

import pytest

from ds2cli.config.score import ScoreConfig
from ds2cli.metrics import report as report_module
from ds2cli.metrics.normalizers import create_normalizer
from ds2cli.stages import score


def test_rows_gain_counts_and_a_missing_text_is_all_deletions():
    config = ScoreConfig()
    report = score.create_report(config)
    rows = [
        {"id": "a", "text": "x y z", "pred_text": "x q", "extra": 1},
        {"id": "b", "text": "été ж"},
        {"id": "c", "text": "", "pred_text": "x"},
    ]
    results = list(score.run(config, rows, report))
    assert [(r["hits"], r["subs"], r["ins"], r["dels"]) for r in results] == [(1, 1, 0, 1), (0, 0, 0, 2), (0, 0, 1, 0)]
    assert results[0]["extra"] == 1
    assert next(report.lines()) == "%WER 100.00 [ 5 / 5, 1 ins, 3 del, 1 sub ]"
    assert report.missing == 1


def test_characters_can_be_the_unit():
    config = ScoreConfig(unit="char", by="lang")
    report = score.create_report(config)
    (row,) = score.run(config, [{"id": "a", "text": "ab", "pred_text": "b", "lang": "en"}], report)
    assert (row["hits"], row["dels"]) == (1, 1)
    assert list(report.lines())[-1] == "%CER 50.00 [ 1 / 2, 0 ins, 1 del, 0 sub ] lang=en"


def test_the_settings_reach_the_report():
    report = score.create_report(ScoreConfig(unit="word", worst=3, confusions=4, why="exp"))
    assert (report.units, report.worst, report.confusions, report.why) == (("word",), 3, 4, True)
    report = score.create_report(ScoreConfig())
    assert (report.units, report.worst, report.confusions, report.why) == (("word", "char"), 0, 0, False)


def test_normalized_texts_are_scored_and_written():
    config, unreadable = ScoreConfig(normalizer="prepare"), []
    rows = [
        {"id": "a", "text": "It’s 20 Past.", "pred_text": "it's twenty past", "nbest": [{"text": "IT'S 20"}, {"x": 1}]},
        {"id": "b", "text": "IŞIK", "pred_text": "ışık", "lang": "tr"},
        {"id": "c", "text": "Give 50 %!"},
    ]
    report = score.create_report(config)
    form = score.create_form_errors(report)
    clean = score.normalize_texts(rows, create_normalizer("prepare", "en"), config.lang, unreadable)
    results = list(score.run(config, clean, report, form))
    assert [(r["text"], r.get("pred_text")) for r in results] == [
        ("it's twenty past", "it's twenty past"), ("ışık", "ışık"), ("give 50 %", None),
    ]  # fmt: skip
    assert results[0]["nbest"] == [{"text": "it's twenty"}, {"x": 1}] and unreadable == ["c"]
    assert report.counts("word").errors == report.counts("word").dels == 3 and form.describe() == ""


def test_errors_of_form_are_counted_in_the_first_unit_of_the_report():
    rows = [{"id": "a", "text": "AB c", "pred_text": "ab c"}, {"id": "b", "text": "X"}]
    for unit, errors in (("both", 1), ("word", 1), ("char", 2)):
        config = ScoreConfig(unit=unit)
        report = score.create_report(config)
        form = score.create_form_errors(report)
        list(score.run(config, rows, report, form))
        assert (form.errors, form.of_form, form.texts) == (errors, errors, 2)


def test_errors_of_form_follow_the_language_also_of_texts_as_they_are():
    rows = [{"id": "a", "text": "IŞIK", "pred_text": "ışık"}]
    for lang, of_form in (("tr", 1), ("en", 0)):
        config = ScoreConfig(lang=lang)
        report = score.create_report(config)
        form = score.create_form_errors(report)
        list(score.run(config, rows, report, form))
        assert (form.errors, form.of_form) == (1, of_form)


@pytest.mark.parametrize("unit", ["both", "mixed"])
@pytest.mark.parametrize("rule", ["kaldi", "sclite"])
def test_nothing_depends_on_how_rows_are_cut_into_chunks(monkeypatch, unit, rule):
    draw = random.Random(0)
    texts = [" ".join(draw.choices(["a", "bb", "Ab", "中文", "é"], k=draw.randrange(7))) for _ in range(90)]
    rows = [
        {"id": f"{k:02d}", "text": text, "pred_text": other, "nbest": [{"text": other}, {"text": text}][: k % 3]}
        for k, (text, other) in enumerate(zip(texts, reversed(texts), strict=True))
    ]
    config = ScoreConfig(unit=unit, alignment=rule, worst=5, confusions=9, context=2, by="length")
    results = []
    for chunk, characters, pairs in ((4096, 10**6, 4096), (1, 10**6, 1), (7, 10**6, 2), (50, 30, 3)):
        monkeypatch.setattr(score, "CHUNK", chunk)
        monkeypatch.setattr(score, "MAX_CHARACTERS", characters)
        monkeypatch.setattr(report_module, "PAIRS", pairs)
        report = score.create_report(config)
        form = score.create_form_errors(report)
        certificate = score.create_certificate(config, create_normalizer("none"), "0", "")
        scored = list(score.run(config, rows, report, form, (), certificate))
        results.append((scored, list(report.lines()), report.as_fields(), form.describe(), certificate.as_fields()))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("options", [{"unit": "mixed"}, {"unit": "word", "alignment": "sclite"}, {"unit": "char"}])
def test_errors_of_recognition_are_no_errors_of_form_in_any_unit(options):
    rows = [
        {"id": "a", "text": "打开 the é light", "pred_text": "打 开 a é lights b c"},
        {"id": "b", "text": "é b b d a d", "pred_text": "é c a c b b"},
    ]
    config = ScoreConfig(**options)
    report = score.create_report(config)
    form = score.create_form_errors(report)
    list(score.run(config, rows, report, form))
    assert form.errors == report.counts(report.units[0]).errors > 0 and form.of_form == 0
