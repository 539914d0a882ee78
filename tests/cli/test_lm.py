import gzip
import tomllib

import pytest

from ds2cli.lm import arpa, lmplz

TEXT = "so am i\nso are you\nare you so\n"
ESTIMATORS = ["own", pytest.param("lmplz", marks=pytest.mark.skipif(not lmplz.find("lmplz"), reason="no lmplz"))]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_manifest_plain_text_and_gzip_are_one_text(ds2, jsonl, tmp_path, estimator):
    rows = jsonl(tmp_path / "a.jsonl", [{"id": "u1", "text": "So am I."}, {"id": "u2", "text": "so are you"}])
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8", newline="") as f:
        f.write("Are you… so?\r\n\r\n")
    parts, whole = tmp_path / "parts.arpa", tmp_path / "whole.arpa.gz"
    done = ds2("lm", rows, tmp_path / "b.txt.gz", parts, "--estimator", estimator)
    assert done.returncode == 0, done.stderr
    assert ds2("lm", "-", whole, "--estimator", estimator, stdin=TEXT).returncode == 0
    assert parts.read_bytes() == gzip.decompress(whole.read_bytes())
    assert arpa.read(str(parts)).counts == [8, 10, 9]
    made_by = tomllib.loads((tmp_path / "parts.arpa.config.toml").read_text())["made_by"]
    assert (made_by["estimator"], made_by["ngrams"], made_by["kept"]) == (estimator, [8, 10, 9], 3)
    assert "3 in = 3 kept + 0 dropped" in done.stderr
    assert done.stderr.count("0.5 1 1.5 used instead") == 1


def test_a_manifest_on_standard_input_and_the_model_on_standard_output(ds2, tmp_path):
    done = ds2("lm", "-", "-", "--estimator", "own", "--order", "2", stdin='{"id":"a","text":"hello"}\n')
    assert done.returncode == 0
    (tmp_path / "x.arpa").write_text(done.stdout)
    assert arpa.read(str(tmp_path / "x.arpa")).words == ["<unk>", "<s>", "</s>", "hello"]


def test_lines_that_cannot_be_cleaned_are_counted_and_written(ds2, tmp_path):
    text = tmp_path / "t.txt"
    text.write_bytes(b"good line\nin 1984\n5 \xe2\x82\xac\n---\n\nanother\n")
    out = tmp_path / "x.arpa"
    done = ds2("lm", text, out, "--estimator", "own")
    assert done.returncode == 0
    assert "5 in = 2 kept + 3 dropped (2 digits, 1 no-words)" in done.stderr
    assert f"{text}:2" in (tmp_path / "x.arpa.dropped.jsonl").read_text()


def test_latin_1_is_refused(ds2, tmp_path):
    text = tmp_path / "t.txt"
    text.write_bytes("déjà vu\nfine\n".encode("latin-1"))
    done = ds2("lm", text, tmp_path / "x.arpa", "--estimator", "own")
    assert done.returncode == 1
    assert "50.0 %" in done.stderr
    assert not (tmp_path / "x.arpa").exists()


def test_dev_text_is_measured(ds2, tmp_path):
    (tmp_path / "dev.txt").write_text("so are they\n")
    done = ds2("lm", "-", tmp_path / "x.arpa", "--estimator", "own", "--dev", tmp_path / "dev.txt", stdin=TEXT)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert "perplexity" in first
    assert "unknown 33.33 % of 3 running words (1), 33.33 % of 3 different ones (1)" in second


def test_characters(ds2, tmp_path):
    out = tmp_path / "x.arpa"
    assert (
        ds2("lm", "-", out, "--estimator", "own", "--unit", "char", "--order", "5", stdin="oh so\né\n").returncode == 0
    )
    assert set(arpa.read(str(out)).words) == {"<unk>", "<s>", "</s>", "o", "h", "<space>", "s", "é"}


def test_vocabulary_limit(ds2, tmp_path):
    out = tmp_path / "x.arpa"
    assert ds2("lm", "-", out, "--estimator", "own", "--vocab-size", "2", stdin=TEXT).returncode == 0
    assert arpa.read(str(out)).words == ["<unk>", "<s>", "</s>", "so", "are"]


@pytest.mark.parametrize(
    "args, stdin, code, says",
    [
        (["-", "x.arpa"], "\r\n \n1984\n", 3, "the text has no words"),
        (["missing.txt", "x.arpa"], "", 3, "missing.txt: no such file"),
        (["x.arpa"], "", 2, "at least one TEXT and the OUT"),
        (["-", "x.arpa", "--dev", "missing"], "a b\n", 3, "missing: no such file"),
    ],
)
def test_mistakes_are_one_line(ds2, tmp_path, args, stdin, code, says):
    done = ds2("lm", *args, stdin=stdin, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"x.arpa.dropped.jsonl"}


@pytest.mark.peer
@pytest.mark.skipif(not lmplz.find("build_binary"), reason="no build_binary")
def test_a_binary_is_what_kenlm_reads(ds2, tmp_path, capfd):
    kenlm = pytest.importorskip("kenlm")
    out = tmp_path / "x.bin"
    done = ds2("lm", "-", out, "--estimator", "own", stdin=TEXT)
    assert done.returncode == 0, done.stderr
    assert kenlm.Model(str(out)).score("so are you") < 0
