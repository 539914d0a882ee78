import gzip

import pytest

from ds2cli.config.lm import InfoConfig, LmConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import lmplz
from ds2cli.stages import lm, lm_info

LINES = ["so am i", "so are you", "are you so"]


@pytest.fixture
def model(tmp_path):
    lm.estimate(LmConfig(), "own", [0, 0, 0], (line.split() for line in LINES), tmp_path / "x.arpa")
    return str(tmp_path / "x.arpa")


def test_description(model):
    facts = dict(lm_info.describe(lm_info.load(InfoConfig(), model)))
    assert facts["file"] == f"{model}, ARPA, 0.0 MB"
    assert facts["order"] == "3"
    assert facts["n-grams"] == "8 1-grams, 10 2-grams, 9 3-grams"
    assert sorted(facts["words"].split()) == sorted(["5,", "most", "likely:", "so", "am", "i", "are", "you"])
    assert "estimator" not in facts and "created by" not in facts


def test_the_most_likely_words_and_the_size(tmp_path):
    words = {letter * 2: -1.0 - 0.1 * i for i, letter in enumerate("mcakbdlefghji")}
    lines = "".join(f"{logp:.1f}\t{word}\n" for word, logp in sorted(words.items()))
    header = "\\data\\\nngram 1=16\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-0.5\t</s>\n"
    (tmp_path / "x.arpa").write_text("# a comment\n" * 4200 + f"{header}{lines}\n\\end\\\n")
    facts = dict(lm_info.describe(lm_info.load(InfoConfig(), str(tmp_path / "x.arpa"))))
    assert facts["words"] == "13, most likely: mm cc aa kk bb dd ll ee ff gg"
    assert facts["<unk>"] == "probability 0.01"
    assert facts["file"].endswith(", ARPA, 0.1 MB")


def test_the_saved_unit_comes_before_the_one_that_the_words_suggest(tmp_path):
    lm.estimate(LmConfig(order=2), "own", [0, 0], iter([["a", "b"]]), tmp_path / "x.arpa")
    assert lm_info.load(InfoConfig(), str(tmp_path / "x.arpa")).unit == "char"
    (tmp_path / "x.arpa.config.toml").write_text('unit = "word"\n')
    assert lm_info.load(InfoConfig(), str(tmp_path / "x.arpa")).unit == "word"


def test_settings_saved_next_to_the_model(model, tmp_path):
    (tmp_path / "x.arpa.config.toml").write_text(
        'unit = "word"\nprune = "0 0 1"\nvocab_size = 5\n[made_by]\nds2cli = "9"\ncommand = "ds2 lm a b"\n'
        'estimator = "own"\ndiscounts = [[0.5, 1.0, 1.5], [0.6, 1.0, 1.5]]\nfallback_orders = [1]\n'
    )
    facts = dict(lm_info.describe(lm_info.load(InfoConfig(), model)))
    assert facts["estimator"] == "own, pruning 0 0 1, vocabulary of the 5 most frequent words"
    assert facts["discounts 1"] == "0.500 1.000 1.500 (fallback, too little text to compute them)"
    assert facts["discounts 2"] == "0.600 1.000 1.500"
    assert facts["created by"] == "ds2 lm a b (ds2cli 9)"


def test_other_file_formats(model, tmp_path):
    packed = tmp_path / "x.arpa.gz"
    packed.write_bytes(gzip.compress((tmp_path / "x.arpa").read_bytes()))
    assert ", ARPA, compressed, " in dict(lm_info.describe(lm_info.load(InfoConfig(), str(packed))))["file"]
    (tmp_path / "no.arpa").write_text("hello")
    with pytest.raises(DataError, match=r"no.arpa:1: not an ARPA file"):
        lm_info.load(InfoConfig(), str(tmp_path / "no.arpa"))


def test_models_texts_and_symbols_are_read_from_pipes(model, tmp_path, piped):
    data = (tmp_path / "x.arpa").read_bytes()
    symbols = piped("\n".join(["<blank>", "<space>", *"soamireyu"]).encode(), "symbols")
    paths = [piped(data, "plain"), piped(gzip.compress(data), "packed")]
    loaded = [lm_info.load(InfoConfig(vocab=symbols if path == paths[0] else None), path) for path in paths]
    for path, one in zip(paths, loaded, strict=True):
        facts = dict(lm_info.describe(one))
        assert (facts["file"], facts["n-grams"]) == (f"{path}, ARPA", "8 1-grams, 10 2-grams, 9 3-grams")
    assert len(loaded[0].vocab) == 11
    assert lm_info.evaluate(loaded[0], piped(b"so are they\n", "text"), Ledger())[0].oov == 1


def test_standard_input_is_described(model, tmp_path, monkeypatch):
    with (tmp_path / "x.arpa").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert dict(lm_info.describe(lm_info.load(InfoConfig(), "-")))["file"] == "-, ARPA"


@pytest.mark.parametrize("installed", [True, False])
def test_a_binary(model, tmp_path, monkeypatch, installed):
    if installed and not lmplz.find_program("build_binary"):
        pytest.skip("no build_binary (utils/install_kenlm.sh builds it)")
    if not installed:
        monkeypatch.setattr(lmplz, "find_program", lambda program: None)
    lm.write_model(tmp_path / "x.arpa", str(tmp_path / "y.bin"))
    text, binary = (dict(lm_info.describe(lm_info.load(InfoConfig(), m))) for m in (model, str(tmp_path / "y.bin")))
    assert ", KenLM binary (probing), " in binary["file"]
    for name in ("order", "n-grams", "<unk>"):
        assert binary[name] == text[name]


def test_evaluation_on_a_text(model, tmp_path):
    (tmp_path / "t").write_text("So, are THEY?\n7\nthey\n")
    ledger = Ledger()
    p, lines = lm_info.evaluate(lm_info.load(InfoConfig(), model), str(tmp_path / "t"), ledger)
    assert (p.sentences, p.words, p.oov, p.oov_counts) == (2, 4, 2, {"they": 2})
    assert lines == ["so are they", "they"]
    assert ledger.dropped == 1


@pytest.mark.parametrize("text, found", [("", "the file is empty"), ("1\n2\n", "all 2 lines were dropped")])
def test_a_text_without_usable_lines_is_an_error(model, tmp_path, text, found):
    (tmp_path / "t").write_text(text)
    with pytest.raises(DataError, match=rf"t: no usable lines: .*{found}$"):
        lm_info.evaluate(lm_info.load(InfoConfig(), model), str(tmp_path / "t"), Ledger())


def test_check_fit(model, tmp_path):
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\n" + "\n".join("aeimorsuy") + "\n")
    loaded = lm_info.load(InfoConfig(vocab=str(tmp_path / "tokens.txt")), model)
    assert lm_info.check_fit(loaded, None) == lm_info.check_fit(loaded, LINES) == []
    (finding,) = lm_info.check_fit(loaded, ["you are sorry"])
    assert "'sorry' (1)" in finding.message
    assert lm_info.check_fit(lm_info.load(InfoConfig(), model), ["x"]) == []


def test_a_token_model_needs_its_network_to_evaluate_a_text(tmp_path):
    lm.estimate(LmConfig(order=2), "own", [0, 0], iter([["a", "b<space>", "b"]]), tmp_path / "x.arpa")
    (tmp_path / "t").write_text("ab b\nabc\n")
    with pytest.raises(UsageError, match="--vocab EXP"):
        lm_info.evaluate(lm_info.load(InfoConfig(), str(tmp_path / "x.arpa")), str(tmp_path / "t"), Ledger())
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\nb\n")
    loaded = lm_info.load(InfoConfig(vocab=str(tmp_path / "tokens.txt")), str(tmp_path / "x.arpa"))
    ledger = Ledger()
    p, lines = lm_info.evaluate(loaded, str(tmp_path / "t"), ledger)
    assert (p.words, p.oov_counts, lines) == (4, {"<space>": 1}, ["ab b"])
    assert ledger.reasons == {"unspellable": 1}
