"""sclite as a stage."""

import pytest

from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.metrics.wer import Counts
from ds2cli.stages import sclite

needs_sclite = pytest.mark.skipif(sclite.find_program("sclite") is None, reason="needs sclite (utils/install_sctk.sh)")

REF = "a b c (ann-1)\nd (bob-1)\n(bob-2)\nE (ann-2)\n"
HYP = "a x c (ann-1)\n(bob-1)\nq (bob-2)\ne (ann-2)\n"
COUNTS = Counts(hits=2, subs=2, ins=1, dels=1)


def write(tmp_path, ref=REF, hyp=HYP):
    (tmp_path / "x.ref.trn").write_text(ref, "utf-8")
    (tmp_path / "x.hyp.trn").write_text(hyp, "utf-8")
    return str(tmp_path / "out"), str(tmp_path / "x.ref.trn"), str(tmp_path / "x.hyp.trn")


@needs_sclite
def test_counts_and_reports(tmp_path):
    result = sclite.run_sclite(*write(tmp_path))
    # E and e are different words
    assert (result.sentences, result.counts) == (4, COUNTS)
    assert "| ann    |    2      4 | 50.0   50.0 " in result.text and "| Sum/Avg|    4      5 |" in result.text
    assert "x.hyp.trn" in result.text and not result.text.startswith("\n")
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == [f"x.hyp.trn.{report}" for report in sorted(sclite.REPORTS)]
    assert 'S,"b","x"' in (tmp_path / "out" / "x.hyp.trn.sgml").read_text()


@needs_sclite
def test_agreement_is_said(tmp_path):
    result = sclite.run_sclite(*write(tmp_path))
    assert result.describe_agreement(COUNTS) == "sclite counts the same: 4 / 5, 1 ins, 1 del, 2 sub"
    other = Counts(hits=2, subs=3, ins=0, dels=0)
    assert result.describe_agreement(other) == (
        "sclite counts 4 / 5, 1 ins, 1 del, 2 sub; ds2 score counts 3 / 5, 0 ins, 0 del, 3 sub"
    )


@needs_sclite
@pytest.mark.parametrize(
    ("ref", "hyp", "errors"),
    [
        ("{ um / uh / @ } yes (s-1)\n", "yes (s-1)\n", 0),
        ("{ um / uh / @ } yes (s-1)\n", "uh yes (s-1)\n", 0),
        ("(uh) yes (s-1)\n", "yes (s-1)\n", 0),
        ("re- yes (s-1)\n", "retry yes (s-1)\n", 0),
        ("(uh) yes (s-1)\n", "no (s-1)\n", 1),
    ],
)
def test_markup_counts_by_nists_rules(tmp_path, ref, hyp, errors):
    assert sclite.run_sclite(*write(tmp_path, ref, hyp), markup=True).counts.errors == errors


@needs_sclite
def test_ids_without_speakers(tmp_path):
    result = sclite.run_sclite(*write(tmp_path, "a (u1)\nb (u-2)\n", "a (u1)\nb (u-2)\n"))
    assert result.counts == Counts(hits=2) and "| (u1)   |" in result.text


@needs_sclite
def test_counts_of_perfect_results_are_found(tmp_path):
    assert sclite.run_sclite(*write(tmp_path, "a (s-1)\n", "a (s-1)\n")).counts == Counts(hits=1)
    assert sclite.run_sclite(*write(tmp_path, "(s-1)\n", "(s-1)\n")).counts == Counts()


@needs_sclite
def test_an_error_of_sclite_is_one_line(tmp_path):
    with pytest.raises(Ds2Error, match="sclite failed with status 1: Error: Not enough Reference files loaded") as e:
        sclite.run_sclite(*write(tmp_path, hyp=HYP + "more (ann-3)\n"))
    assert "\n" not in str(e.value) and not (tmp_path / "out").exists()


@needs_sclite
def test_no_utterances(tmp_path):
    with pytest.raises(DataError, match=r"x\.hyp\.trn: no utterances"):
        sclite.run_sclite(*write(tmp_path, hyp=";; nothing\n"))


def test_without_sclite_the_error_has_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sclite, "_FOLDERS", (str(tmp_path),))
    with pytest.raises(
        UsageError, match=r"--sclite needs SCTK's sclite, which was not found \(apt-get install sctk, or "
    ):
        sclite.run_sclite(*write(tmp_path))
    program = tmp_path / "sclite"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert sclite.find_program("sclite") == str(program)
