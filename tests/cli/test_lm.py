import gzip
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from ds2cli.lm import arpa, lmplz
from ds2cli.lm.query import NgramLm

TEXT = "so am i\nso are you\nare you so\n"
ESTIMATORS = [
    "own",
    pytest.param("lmplz", marks=pytest.mark.skipif(not lmplz.find_program("lmplz"), reason="no lmplz")),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_manifest_plain_text_and_gzip_give_the_same_model(ds2, jsonl, tmp_path, estimator):
    rows = jsonl(tmp_path / "a.jsonl", [{"id": "u1", "text": "So am I."}, {"id": "u2", "text": "so are you"}])
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8", newline="") as f:
        f.write("Are you… so?\r\n\r\n")
    joined, direct = tmp_path / "joined.arpa", tmp_path / "direct.arpa.gz"
    done = ds2("lm", rows, tmp_path / "b.txt.gz", joined, "--estimator", estimator)
    assert done.returncode == 0, done.stderr
    assert ds2("lm", "-", direct, "--estimator", estimator, stdin=TEXT).returncode == 0
    assert joined.read_bytes() == gzip.decompress(direct.read_bytes())
    assert arpa.read(str(joined)).counts == [8, 10, 9]
    made_by = tomllib.loads((tmp_path / "joined.arpa.config.toml").read_text())["made_by"]
    assert (made_by["estimator"], made_by["ngrams"], made_by["kept"]) == (estimator, [8, 10, 9], 3)
    assert "3 in = 3 kept + 0 dropped" in done.stderr
    assert done.stderr.count("using 0.5 1 1.5") == 1
    counts = "lm: 8 1-grams, 10 2-grams, 9 3-grams, estimated from 9 words in 3 lines"
    assert f"{counts} (estimator {estimator})" in done.stderr


def test_a_manifest_on_standard_input_and_the_model_on_standard_output(ds2, tmp_path):
    (tmp_path / "dev").write_text("hello\n")
    options = ["--estimator", "own", "--order", "2", "--dev", tmp_path / "dev"]
    done = ds2("lm", "-", "-", *options, stdin='{"id":"a","text":"hello"}\n')
    assert done.returncode == 0
    assert "perplexity" in done.stderr and "perplexity" not in done.stdout and "OOV" not in done.stdout
    (tmp_path / "x.arpa").write_text(done.stdout)
    assert arpa.read(str(tmp_path / "x.arpa")).words == ["<unk>", "<s>", "</s>", "hello"]


def test_dropped_lines_are_counted_and_written(ds2, tmp_path):
    text = tmp_path / "t.txt"
    text.write_bytes(b"good line\nin 1984\n5 \xe2\x82\xac\n---\n\nanother\n")
    out = tmp_path / "x.arpa"
    done = ds2("lm", text, out, "--estimator", "own")
    assert done.returncode == 0
    assert "5 in = 2 kept + 3 dropped (2 digits, 1 no-words)" in done.stderr
    assert f"{text}:2" in (tmp_path / "x.arpa.dropped.jsonl").read_text()


def test_dropped_lines_are_listed_even_if_no_line_is_left(ds2, tmp_path):
    done = ds2("lm", "-", "x.arpa", "--estimator", "own", stdin="in 1984\n", cwd=tmp_path)
    assert done.returncode == 3 and "1 in = 0 kept + 1 dropped (1 digits)" in done.stderr
    assert '"<stdin>:1"' in (tmp_path / "x.arpa.dropped.jsonl").read_text()


def test_latin_1_is_refused(ds2, tmp_path):
    text = tmp_path / "t.txt"
    text.write_bytes("déjà vu\nfine\n".encode("latin-1"))
    done = ds2("lm", text, tmp_path / "x.arpa", "--estimator", "own")
    assert done.returncode == 1
    assert "50.0 %" in done.stderr
    assert not (tmp_path / "x.arpa").exists()


def test_evaluation_on_dev_text(ds2, tmp_path):
    (tmp_path / "dev.txt").write_text("so are they so\n")
    done = ds2("lm", "-", tmp_path / "x.arpa", "--estimator", "own", "--dev", tmp_path / "dev.txt", stdin=TEXT)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    scores = NgramLm.load(str(tmp_path / "x.arpa")).word_log10(["so", "are", "they", "so"]).tolist()
    with_oov, without = re.search(r"perplexity ([\d.]+) including OOV words, ([\d.]+) excluding them", first).groups()
    assert float(with_oov) == pytest.approx(10 ** (-sum(scores) / 5), abs=0.006)
    assert float(without) == pytest.approx(10 ** (-(sum(scores) - scores[2]) / 4), abs=0.006)
    assert "OOV words 25.00 % of the running words (1 of 4), 33.33 % of the distinct ones (1 of 3)" in second


def test_characters(ds2, tmp_path):
    out = tmp_path / "x.arpa"
    options = ["--estimator", "own", "--unit", "char", "--order", "5"]
    done = ds2("lm", "-", out, *options, stdin="oh so\né\n")
    assert done.returncode == 0
    assert "estimated from 6 characters in 2 lines" in done.stderr
    assert set(arpa.read(str(out)).words) == {"<unk>", "<s>", "</s>", "o", "h", "<space>", "s", "é"}


def test_vocabulary_limit(ds2, tmp_path):
    out = tmp_path / "x.arpa"
    assert ds2("lm", "-", out, "--estimator", "own", "--vocab-size", "2", stdin=TEXT).returncode == 0
    assert arpa.read(str(out)).words == ["<unk>", "<s>", "</s>", "so", "are"]


@pytest.mark.parametrize(
    "args, stdin, code, message",
    [
        (["-", "x.arpa"], "\r\n \n1984\n", 3, "the text has no words"),
        (["missing.txt", "x.arpa"], "", 3, "missing.txt: no such file"),
        (["x.arpa"], "", 2, "at least one TEXT, then OUT"),
        (["-", "x.arpa", "--dev", "missing"], "a b\n", 3, "missing: no such file"),
    ],
)
def test_user_errors_are_one_line(ds2, tmp_path, args, stdin, code, message):
    done = ds2("lm", *args, stdin=stdin, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"x.arpa.dropped.jsonl"}


@pytest.mark.peer
def test_kenlm_reads_the_binary(ds2, tmp_path, capfd):
    kenlm = pytest.importorskip("kenlm")
    out = tmp_path / "x.bin"
    done = ds2("lm", "-", out, "--estimator", "own", stdin=TEXT)
    assert done.returncode == 0, done.stderr
    assert kenlm.Model(str(out)).score("so are you") < 0


TOKENS = "<blank>\n<space>\n" + "\n".join("aeimorsuy") + "\n"


def test_the_word_estimate_is_optional(ds2, tmp_path):
    outputs = [tmp_path / f"{i}.arpa" for i in (1, 2, 3)]
    for out, words in zip(outputs, (["lm"], ["lm", "estimate"], ["lm", "--order", "3"]), strict=True):
        assert ds2(*words, "-", out, "--estimator", "own", stdin=TEXT).returncode == 0
    assert len({out.read_bytes() for out in outputs}) == 1


def test_help(ds2):
    text = ds2("lm", "--help").stdout
    assert "ds2 lm TEXT… OUT" in text
    assert all(f"\n  {name} " in text for name in ("estimate", "mix", "info"))
    assert "--discount-fallback" in ds2("lm", "estimate", "--help").stdout


def test_a_text_file_named_like_a_command(ds2, tmp_path):
    (tmp_path / "info").write_text(TEXT)
    done = ds2("lm", "./info", "x.arpa", "--estimator", "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ds2("lm", "estimate", "info", "y.arpa", "--estimator", "own", cwd=tmp_path).returncode == 0
    assert (tmp_path / "x.arpa").read_bytes() == (tmp_path / "y.arpa").read_bytes()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_vocabulary_limit_pruning_and_memory(ds2, tmp_path, estimator):
    out = tmp_path / "x.arpa"
    options = ["--vocab-size", "3", "--prune", "0 0 2", "--discount-fallback"]
    options += ["--memory", "50M"] if estimator == "lmplz" else []
    done = ds2("lm", "-", out, "--estimator", estimator, *options, stdin=TEXT * 2)
    assert done.returncode == 0, done.stderr
    assert "the 3 most frequent words cover 77.78 % of the text" in done.stderr
    model = arpa.read(str(out))
    assert set(model.words) == {"<unk>", "<s>", "</s>", "so", "are", "you"}
    assert model.counts == [6, 7, 0]
    assert ds2("lm", "-", out, "--estimator", estimator, "--memory", "much", stdin=TEXT).returncode == 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_small_text_is_refused_without_fallback(ds2, tmp_path, estimator):
    done = ds2("lm", "-", tmp_path / "x.arpa", "--estimator", estimator, "--no-discount-fallback", stdin=TEXT)
    assert done.returncode == 3
    assert "too little text for Kneser-Ney discounts: no 2-gram has adjusted count 3" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "x.arpa").exists()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tokens_of_a_network(ds2, tmp_path, estimator):
    (tmp_path / "tokens.txt").write_text(TOKENS)
    out = tmp_path / "x.arpa"
    options = ["--unit", "token", "--vocab", tmp_path / "tokens.txt", "--estimator", estimator]
    done = ds2("lm", "-", out, *options, stdin=f"{TEXT}café\n")
    assert done.returncode == 0, done.stderr
    assert set(arpa.read(str(out)).words) == {"<unk>", "<s>", "</s>", "<space>", *"aeimorsuy"}
    assert "4 in = 3 kept + 1 dropped (1 unspellable)" in done.stderr
    assert '"<stdin>:4"' in (tmp_path / "x.arpa.dropped.jsonl").read_text()
    assert ds2("lm", "-", out, "--unit", "token", stdin=TEXT).returncode == 2


def test_words_that_the_network_cannot_write_are_a_warning(ds2, tmp_path):
    (tmp_path / "tokens.txt").write_text(TOKENS.replace("y\n", ""))
    done = ds2("lm", "-", tmp_path / "x.arpa", "--vocab", tmp_path / "tokens.txt", stdin=TEXT)
    assert done.returncode == 0
    assert "warning: " in done.stderr and "the network has no 'y'" in done.stderr


def test_bad_lines_up_to_the_limit_and_words_that_the_network_cannot_write(ds2, jsonl, tmp_path):
    (tmp_path / "tokens.txt").write_text(TOKENS)
    jsonl(tmp_path / "a.jsonl", [{"id": "u1", "text": "so xx"}, {"id": "u2"}])
    command = ("lm", "a.jsonl", "x.arpa", "--estimator", "own", "--vocab", "tokens.txt", "--dropped", "d.jsonl")
    done = ds2(*command, "--max-bad", 49, cwd=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "x.arpa").exists()
    done = ds2(*command, "--max-bad", 50, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: x.arpa: the alphabets differ" in done.stderr
    assert [row["id"] for row in jsonl(tmp_path / "d.jsonl")] == ["a.jsonl:2"]
    made_by = tomllib.loads((tmp_path / "x.arpa.config.toml").read_text())["made_by"]
    assert (made_by["kept"], made_by["dropped"]) == (1, 1)


@pytest.fixture
def two_models(ds2, shared_folder, tmp_path):
    """A folder with two models and a dev text with words of both."""

    def fill(folder):
        (folder / "dev").write_text("so you press one\nare they so\n")
        for name, text in (("a", TEXT), ("b", "press one\nyou press two\npress so\n")):
            assert ds2("lm", "-", folder / f"{name}.arpa", "--estimator", "own", stdin=text).returncode == 0

    return Path(shutil.copytree(shared_folder("two-models", fill), tmp_path, dirs_exist_ok=True))


def test_mix(ds2, two_models):
    done = ds2("lm", "mix", "a.arpa", "b.arpa", "x.arpa.gz", "--dev", "dev", cwd=two_models)
    assert done.returncode == 0, done.stderr
    title, columns, *rows = done.stdout.splitlines()
    assert (title, columns.split()) == ("dev:", ["weight", "perplexity", "OOV", "%", "model"])
    first, second, both = ([float(x) for x in row.split()[:3]] for row in rows)
    assert first[0] + second[0] == pytest.approx(1, abs=1e-4)
    assert both[1] < min(first[1], second[1])
    assert both[2] <= min(first[2], second[2])
    made_by = tomllib.loads((two_models / "x.arpa.gz.config.toml").read_text())["made_by"]
    weights = made_by["weights"]
    assert made_by["ngrams"] == arpa.read(str(two_models / "x.arpa.gz")).counts
    assert f"lm mix: {made_by['ngrams'][0]} 1-grams, " in done.stderr
    assert weights == {"a.arpa": pytest.approx(first[0], abs=1e-4), "b.arpa": pytest.approx(second[0], abs=1e-4)}
    output = ds2("lm", "info", "x.arpa.gz", "dev", cwd=two_models).stdout
    assert f"mixed from  {weights['a.arpa']:.4f} a.arpa" in output
    assert f"{both[1]:.2f}" in output.splitlines()[-2]


def test_mix_with_given_weights_to_standard_output(ds2, two_models):
    done = ds2("lm", "mix", "a.arpa", "b.arpa", "-", "--weights", "0.5 0.5", cwd=two_models)
    assert done.returncode == 0, done.stderr
    (two_models / "x.arpa").write_text(done.stdout)
    assert {"am", "press"} < set(arpa.read(str(two_models / "x.arpa")).words)


def test_bad_lines_of_the_text_to_evaluate_on(ds2, jsonl, two_models):
    jsonl(two_models / "dev.jsonl", [{"id": "u1", "text": "so you press one"}, {"id": "u2"}])
    mix = ("lm", "mix", "a.arpa", "b.arpa", "--dev", "dev.jsonl")
    assert ds2(*mix, "x.arpa", cwd=two_models).returncode == 1
    assert not (two_models / "x.arpa").exists()
    done = ds2(*mix, "-", "--max-bad", 50, cwd=two_models)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("\\data\\") and "perplexity" not in done.stdout
    assert "weight  perplexity" in done.stderr and "2 in = 1 kept + 1 dropped (1 no-text)" in done.stderr
    info = ("lm", "info", "a.arpa", "dev.jsonl", "--most", 1)
    assert ds2(*info, cwd=two_models).returncode == 1
    done = ds2(*info, "--max-bad", 50, cwd=two_models)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "dev.jsonl: most frequent OOV words (2 in total): press (1)"


@pytest.mark.parametrize(
    "args, code, message",
    [
        (["a.arpa", "x.arpa", "--dev", "dev"], 2, "at least two models"),
        (["a.arpa", "b.arpa", "x.arpa"], 2, "--dev or --weights"),
        (["a.arpa", "b.arpa", "x.arpa", "--weights", "1"], 2, "expected 2 numbers"),
        (["a.arpa", "b.arpa", "x.txt", "--dev", "dev"], 2, "ending in .arpa"),
        (["a.arpa", "dev", "x.arpa", "--dev", "dev"], 3, "dev:1: not an ARPA file"),
        (["a.arpa", "b.arpa", "x.arpa", "--dev", "missing"], 3, "missing: no such file"),
    ],
)
def test_user_errors_of_mix_are_one_line(ds2, two_models, args, code, message):
    done = ds2("lm", "mix", *args, cwd=two_models)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not (two_models / "x.arpa").exists()


def test_info(ds2, two_models):
    done = ds2("lm", "info", "a.arpa", "dev", "-", cwd=two_models, stdin="are you so\n1\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    facts = dict(line.strip().split("  ", 1) for line in lines[: lines.index("")])
    assert facts["order"] == "3"
    assert facts["n-grams"] == "8 1-grams, 10 2-grams, 9 3-grams"
    assert sorted(facts["words"].split()) == sorted(["5,", "most", "likely:", "so", "am", "i", "are", "you"])
    assert facts["estimator"] == "own, pruning 0"
    assert facts["discounts 3"] == "0.500 1.000 1.500 (fallback, too little text to compute them)"
    assert "lm - " in facts["created by"]
    dev_row, stdin_row, oov = lines[lines.index("") + 2 :]
    assert dev_row.split()[:2] == ["2", "7"] and dev_row.split()[4:6] == ["42.86", "50.00"]
    assert float(dev_row.split()[2]) > float(dev_row.split()[3])
    assert stdin_row.split()[:2] == ["1", "3"] and stdin_row.split()[4] == "0.00"
    assert oov == "dev: most frequent OOV words (3 in total): press (1), one (1), they (1)"
    assert "4 in = 3 kept + 1 dropped (1 digits)" in done.stderr


def test_info_refuses_a_model_that_does_not_fit_the_network(ds2, two_models):
    (two_models / "tokens.txt").write_text(TOKENS.upper().replace("<BLANK>", "<blank>").replace("<SPACE>", "<space>"))
    done = ds2("lm", "info", "a.arpa", "--vocab", "tokens.txt", cwd=two_models)
    assert done.returncode == 1
    assert "ds2: a.arpa: the case differs: the network cannot write 100.0 %" in done.stderr.splitlines()[-1]
    (two_models / "tokens.txt").write_text(TOKENS)
    texts = ("dev", "-", "--vocab", "tokens.txt")
    done = ds2("lm", "info", "a.arpa", *texts, cwd=two_models, stdin="are you so\n")
    assert done.returncode == 0
    assert "warning: a.arpa: 30.0 % of the references' 10 running words are out of vocabulary" in done.stderr


def test_info_of_a_file_that_is_not_a_model(ds2, two_models):
    done = ds2("lm", "info", "dev", cwd=two_models)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "ds2: dev:1: not an ARPA file: expected a line \\data\\, got 'so you press one' (ds2 lm TEXT… OUT writes one)"
    ]
