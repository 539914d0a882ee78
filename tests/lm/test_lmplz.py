import os

import pytest

from ds2cli.errors import Ds2Error, UsageError
from ds2cli.lm import lmplz
from ds2cli.lm.kneser_ney import FALLBACK_DISCOUNTS, Discounts


def program(folder, name, script):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_programs_on_the_path_come_first(tmp_path, monkeypatch):
    program(tmp_path, "lmplz", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert lmplz.find_program("lmplz") == str(tmp_path / "lmplz")


def test_kenlm_bin_names_a_folder(tmp_path, monkeypatch):
    program(tmp_path, "my-lmplz", "exit 0")
    monkeypatch.setenv("KENLM_BIN", str(tmp_path))
    assert lmplz.find_program("my-lmplz") == str(tmp_path / "my-lmplz")


def test_a_missing_program_is_an_error_with_the_fix():
    assert lmplz.find_program("no-such-program") is None
    with pytest.raises(UsageError, match=r"x.bin needs KenLM's no-such-program.*utils/install_kenlm.sh"):
        lmplz.require_program("no-such-program", "x.bin")


def test_a_failure_is_reported_with_lmplz_own_message(tmp_path, monkeypatch):
    program(tmp_path, "lmplz", "echo '=== 1/5 ==='; echo 'disk full' >&2; exit 9")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "text").write_text("a\n")
    with pytest.raises(Ds2Error, match="lmplz failed with status 9: disk full"):
        lmplz.estimate(tmp_path / "text", tmp_path / "x.arpa", 2, [0, 0])


def test_the_fallback_is_reported_for_the_order_that_needed_it(tmp_path, monkeypatch):
    """What lmplz prints; it numbers orders from 0 in this message and from 1 in its table."""
    log = ["Statistics:", "1 7 D1=0.5 D2=1 D3+=1.25", "2 9/12 D1=0.5 D2=1 D3+=1.5"]
    refusal = "what(): BadDiscountException Could not calculate Kneser-Ney discounts for 2-grams with adjusted count 4"
    refusal += " because we didn't observe any 2-grams with adjusted count 3; Is this small or artificial data?"
    script = ['case "$*" in *--discount_fallback*) ;; *)', f'echo "{refusal}" >&2; exit 134;; esac']
    script += ["echo 'Substituting fallback discounts for order 1: D1=0.5 D2=1 D3+=1.5' >&2"]
    script += [f"echo '{line}' >&2" for line in log]
    program(tmp_path, "lmplz", "\n".join(script))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "text").write_text("a\n")
    discounts = lmplz.estimate(tmp_path / "text", tmp_path / "x.arpa", 2, [0, 0])
    assert discounts == [
        Discounts((0.5, 1.0, 1.25)), Discounts(FALLBACK_DISCOUNTS, "no 2-gram has adjusted count 3"),
    ]  # fmt: skip
