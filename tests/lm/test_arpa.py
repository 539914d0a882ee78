import gzip
import re
import subprocess
import time

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.ngram_arpa import format_section, parse_number
from ds2cli.lm import arpa
from ds2cli.lm.query import NgramLm

GOOD = """\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-99\t<s>\t-0.5
-1.25\t</s>
-2e-1\tüber\t-0.25
-0.5\t語

\\2-grams:
-0.125\t<s> über

\\end\\
"""


@pytest.fixture
def arpa_file(tmp_path):
    def write(text, name="x.arpa"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("name", ["x.arpa", "x.arpa.gz"])
@pytest.mark.parametrize(
    "change", [("", ""), ("\n", "\r\n"), ("\t", " "), ("\n\\2", "\n\n\n\\2"), ("\\data", "# comment\n\n\\data")]
)
def test_read(arpa_file, name, change):
    model = arpa.read(arpa_file(GOOD.replace(*change) if change[0] else GOOD, name))
    assert model.words == ["<s>", "</s>", "über", "語"]
    assert model.counts == [4, 1]
    np.testing.assert_allclose(model.sections[0].log10_prob, [-99, -1.25, -0.2, -0.5])
    np.testing.assert_allclose(model.sections[0].log10_backoff, [-0.5, 0, -0.25, 0])
    assert model.sections[1].ids.tolist() == [[0, 2]]


@pytest.mark.parametrize(
    "old, new, message",
    [
        (GOOD, "", r"x.arpa:1: not an ARPA file: expected a line \\data"),
        (GOOD, "hello\n", r"x.arpa:1: not an ARPA file"),
        (GOOD, "mmap lm http://kheafield.com/code format version 5\n\0", r"a KenLM binary: expected ARPA"),
        ("ngram 1=4\n", "", r"x.arpa:2: expected `ngram 1=COUNT`"),
        ("ngram 1=4", "ngram 1=0", r"with a count above 0"),
        pytest.param(
            "ngram 1=4", "ngram 1=" + "4" * 5000, r"x.arpa:1: expected lines `ngram 1=COUNT`", id="5000 digits"
        ),
        pytest.param("\\2-grams:", f"\\{'2' * 5000}-grams:", r"x.arpa:11: expected \\2-grams:", id="5000-grams"),
        ("ngram 1=4", "ngram 1=999999", r"999999\d n-grams announced|1000000 n-grams announced"),
        ("ngram 1=4", "ngram 1=3", r"x.arpa:9: expected \\2-grams:, got '-0.5.t語'"),
        ("-0.5\t語", "-0.5", r"x.arpa:9: expected 1 word"),
        ("-0.5\t語", "minus\t語", r"x.arpa:9: expected a finite number, got 'minus"),
        ("-0.5\t語", "-inf\t語", r"x.arpa:9: expected a finite number"),
        ("-0.5\t語", "0.5\t語", r"x.arpa:9: expected a log10 probability of 0 or less"),
        ("-0.5\t語", "-0.5\tüber", r"x.arpa:9: this n-gram is listed twice"),
        ("über\t-0.25", "über\tx", r"x.arpa:8: expected a finite number, got '-2e-1.*x'"),
        ("-0.125\t<s> über", "-0.125\t<s> uber", r"x.arpa:12: a word is not among the 1-grams"),
        ("-0.125\t<s> über", "-0.125\t<s>", r"x.arpa:12: expected 2 word"),
        ("\\2-grams:", "\\3-grams:", r"x.arpa:11: expected \\2-grams:"),
        ("\n\\end\\\n", "", r"x.arpa:13: expected \\end\\, got '' \(is the file complete"),
    ],
)
def test_malformed_files_are_errors_with_the_line(arpa_file, old, new, message):
    assert old in GOOD
    with pytest.raises(DataError, match=message):
        arpa.read(arpa_file(GOOD.replace(old, new)))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_windows_writes_is_the_same_model(tmp_path, codec, line_end):
    (tmp_path / "x.arpa").write_bytes(GOOD.replace("\n", line_end).encode(codec))
    model = arpa.read(str(tmp_path / "x.arpa"))
    assert (model.words, model.counts) == (["<s>", "</s>", "über", "語"], [4, 1])


def test_latin_1_words_are_refused(tmp_path):
    text = GOOD.replace("語", "dort")
    (tmp_path / "x.arpa").write_bytes(text.encode("latin-1"))
    message = r"x\.arpa:8: not UTF-8, perhaps Windows-1252 for 'über' \((iconv .*)\)$"
    with pytest.raises(DataError, match=message) as e:
        arpa.read(str(tmp_path / "x.arpa"))
    subprocess.run(["bash", "-c", re.search(message, str(e.value))[1]], check=True)
    assert arpa.read(str(tmp_path / "x.utf8.arpa")).words == ["<s>", "</s>", "über", "dort"]


def test_unreadable_files_are_errors(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        arpa.read(str(tmp_path / "missing.arpa"))
    compressed = gzip.compress(GOOD.encode())
    (tmp_path / "cut.arpa.gz").write_bytes(compressed[: len(compressed) // 2])
    with pytest.raises(DataError, match="broken gzip file"):
        arpa.read(str(tmp_path / "cut.arpa.gz"))


@pytest.mark.parametrize("chunk", [arpa._CHUNK, 2])
def test_round_trip(arpa_file, estimate_lm, monkeypatch, chunk):
    monkeypatch.setattr(arpa, "_CHUNK", chunk)
    model = estimate_lm("é b\nb c é\nb\n" * 3 + "a " * 300 + "x" * 300 + "\n", 3, [0, 0, 0])
    back = arpa.read(arpa_file("".join(arpa.lines(model))))
    assert back.words == model.words
    for a, b in zip(model.sections, back.sections, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_allclose(a.log10_prob, b.log10_prob, rtol=0, atol=1e-7)
        np.testing.assert_allclose(a.log10_backoff, b.log10_backoff, rtol=0, atol=1e-7)


def test_the_text_of_a_model():
    """Seven decimals without trailing zeros, no negative zeros, and no back-off weights for the longest n-grams."""
    probs, backoffs = [-1.5, -1e-9, -0.30103, -0.1234567], [0.0, -0.25, 0.0, -0.5]
    unigrams = arpa.Section(np.arange(4, dtype=np.int32)[:, None], np.float32(probs), np.float32(backoffs))
    bigrams = arpa.Section(np.array([[1, 3]], dtype=np.int32), np.float32([-0.125]), np.float32([0.0]))
    model = arpa.Arpa(["<unk>", "<s>", "</s>", "é"], [unigrams, bigrams])
    header = "\\data\\\nngram 1=4\nngram 2=1\n"
    first = "-1.5\t<unk>\t0\n0\t<s>\t-0.25\n-0.30103\t</s>\t0\n-0.1234567\té\t-0.5\n"
    second = "-0.125\t<s> é\n"
    assert "".join(arpa.lines(model)) == f"{header}\n\\1-grams:\n{first}\n\\2-grams:\n{second}\n\\end\\\n"


def test_counts_are_read_from_the_header(arpa_file):
    assert arpa.read_counts(arpa_file(GOOD)) == [4, 1]


@pytest.mark.parametrize(
    "text", ["0", "-1", "+2.5", "-0.30103", "1e-3", "-1.5E+2", "-98.99999", ".5", "5.", "123456789012345678901"]
)
def test_parse_number(text):
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    assert np.float32(parse_number(data, 0, len(data))) == np.float32(float(text))


@pytest.mark.parametrize("text", ["", "-", ".", "1.2.3", "1e", "e5", "nan", "0x1", "1-2"])
def test_malformed_numbers_are_nan(text):
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    assert np.isnan(parse_number(data, 0, len(data)))


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, -0.30103, -1e-8, -99.0, -12.5, 0.25, -123456.125])
def test_numbers_are_written_without_trailing_zeros(value):
    out = np.empty(80, dtype=np.uint8)
    letters, starts = np.frombuffer(b"a", dtype=np.uint8), np.array([0, 1])
    ids, empty = np.zeros((1, 1), dtype=np.int32), np.empty(0, dtype=np.float32)
    size = format_section(letters, starts, ids, np.array([value], dtype=np.float32), empty, out)
    text = out[:size].tobytes().decode()
    assert float(text.split("\t")[0]) == pytest.approx(value, abs=5e-8, rel=1e-7)
    assert len(text) < 18


@pytest.mark.long
def test_loading_is_fast(librispeech, estimate_lm, arpa_file):
    path = arpa_file(
        "".join(arpa.lines(estimate_lm("\n".join(" ".join(s) for s in librispeech[0][:12000]), 3, [0, 0, 1])))
    )
    NgramLm.load(path)  # compiles
    start = time.process_time()
    lm = NgramLm.load(path)
    assert len(lm.words) > 20_000
    assert time.process_time() - start < 2.0
