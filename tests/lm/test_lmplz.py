import os

import pytest

from ds2cli.errors import DataError, Ds2Error, UsageError
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


def test_programs_that_the_repository_built_are_found_last(tmp_path, monkeypatch):
    monkeypatch.setattr(lmplz, "__file__", str(tmp_path / "ds2cli" / "lm" / "lmplz.py"))
    monkeypatch.delenv("KENLM_BIN", raising=False)
    folders = [tmp_path / "tools" / "kenlm" / "bin", tmp_path / "mine"]
    for folder in folders:
        folder.mkdir(parents=True)
        program(folder, "my-lmplz", "exit 0")
    assert lmplz.find_program("my-lmplz") == str(folders[0] / "my-lmplz")
    monkeypatch.setenv("KENLM_BIN", str(folders[1]))
    assert lmplz.find_program("my-lmplz") == str(folders[1] / "my-lmplz")


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
    script = [f'echo "$*" >> {tmp_path}/runs', 'case "$*" in *--discount_fallback*) ;; *)']
    script += [f'echo "{refusal}" >&2; exit 134;; esac']
    script += ["echo 'Substituting fallback discounts for order 1: D1=0.5 D2=1 D3+=1.5' >&2"]
    script += [f"echo '{line}' >&2" for line in log]
    program(tmp_path, "lmplz", "\n".join(script))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "text").write_text("a\n")
    discounts = lmplz.estimate(tmp_path / "text", tmp_path / "x.arpa", 2, [0, 0])
    assert discounts == [
        Discounts((0.5, 1.0, 1.25)), Discounts(FALLBACK_DISCOUNTS, "no 2-gram has adjusted count 3"),
    ]  # fmt: skip
    runs = (tmp_path / "runs").read_text().splitlines()
    assert runs[1] == f"{runs[0]} --discount_fallback 0.5 1.0 1.5"
    with pytest.raises(DataError, match="no 2-gram has adjusted count 3"):
        lmplz.estimate(tmp_path / "text", tmp_path / "x.arpa", 2, [0, 0], fallback=False)
    assert len((tmp_path / "runs").read_text().splitlines()) == 3


def test_lmplz_gets_all_settings(tmp_path, monkeypatch):
    program(tmp_path, "lmplz", f'echo "$*" > {tmp_path}/arguments')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    text, model, words = tmp_path / "text", tmp_path / "x.arpa", tmp_path / "x.vocabulary"
    text.write_text("a\n")
    assert lmplz.estimate(text, model, 3, [0, 1, 2], ["a", "é"], memory="50M") == []
    assert set((tmp_path / "arguments").read_text().strip().split(" --")) == {
        "--order 3", "memory 50M", f"temp_prefix {tmp_path}/", f"text {text}", f"arpa {model}", "prune 0 1 2",
        f"limit_vocab_file {words}",
    }  # fmt: skip
    assert words.read_text("utf-8") == "a\né"
    lmplz.estimate(text, model, 1, [0])
    assert "limit_vocab" not in (tmp_path / "arguments").read_text()


THREW = "util/file.cc:76 in int util::OpenReadOrThrow threw ErrnoException because `-1'."


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (f"{THREW}\nNo space left on device; Byte: 0\nERROR\n", "No space left on device"),
        ("=== 1/5 Counting ===\nUnigram tokens 3\n----5---10\n****\nERROR\n", "Unigram tokens 3"),
        ("", "no message"),
    ],
)
def test_the_line_of_a_log_that_states_the_error(tmp_path, monkeypatch, log, message):
    (tmp_path / "log").write_text(log)
    program(tmp_path, "build_binary", f"cat {tmp_path}/log >&2; exit 7")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Ds2Error) as e:
        lmplz.build_binary(tmp_path / "x.arpa", tmp_path / "x.bin")
    assert str(e.value) == f"build_binary failed with status 7: {message}"


def test_a_discount_out_of_range_is_named(tmp_path, monkeypatch):
    log = "BadDiscountException ERROR: 3-gram discount out of range for adjusted count 2: -0.5.  This means"
    program(tmp_path, "lmplz", f"echo '{log}' >&2; exit 134")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DataError, match=r"discounts: D2 of 3-grams would be -0\.5 "):
        lmplz.estimate(tmp_path / "text", tmp_path / "x.arpa", 3, [0, 0, 0], fallback=False)


def test_build_binary_writes_a_probing_model(tmp_path, monkeypatch):
    program(tmp_path, "build_binary", f'echo "$*" > {tmp_path}/arguments')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    lmplz.build_binary(tmp_path / "x.arpa", tmp_path / "x.bin")
    expected = f"-T {tmp_path}/ probing {tmp_path}/x.arpa {tmp_path}/x.bin\n"
    assert (tmp_path / "arguments").read_text() == expected
