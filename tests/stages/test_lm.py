import gzip
from types import SimpleNamespace

import pytest

from ds2cli.atomic import together
from ds2cli.config.lm import LmConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import lmplz
from ds2cli.lm.kneser_ney import Discounts
from ds2cli.lm.query import NgramLm
from ds2cli.stages import lm
from ds2cli.text.normalize import TextRules


def test_auto_selects_lmplz_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(lmplz, "find_program", lambda program: None)
    assert lm.check_options(LmConfig(), "x.arpa") == ("own", [0, 0, 0])
    with pytest.raises(UsageError, match="--estimator lmplz needs KenLM's lmplz"):
        lm.check_options(LmConfig(estimator="lmplz"), "x.arpa")
    assert lm.check_options(LmConfig(), "x.bin")[0] == "own"
    monkeypatch.setattr(lmplz, "find_program", lambda program: f"/bin/{program}")
    assert lm.check_options(LmConfig(), "x.arpa.gz")[0] == "lmplz"
    assert lm.check_options(LmConfig(estimator="own"), "-")[0] == "own"
    with pytest.raises(UsageError, match="needs order 2 or higher"):
        lm.check_options(LmConfig(order=1), "x.bin")


@pytest.mark.parametrize(
    "prune, expected",
    [("0", [0, 0, 0]), ("0 0 1", [0, 0, 1]), ("0,1", [0, 1, 1]), ("", [0, 0, 0]), (" 0  2 ", [0, 2, 2])],
)
def test_pruning_thresholds(prune, expected):
    assert lm.check_options(LmConfig(prune=prune), "-")[1] == expected


@pytest.mark.parametrize(
    "prune, message",
    [
        ("1 2", "the first threshold must be 0"),
        ("0 2 1", "must not decrease"),
        ("0 x", "whole numbers"),
        ("0 -1", "must not decrease"),
        ("0 0 0 0", "at most 3 thresholds .*got 4"),
    ],
)
def test_invalid_pruning_thresholds(prune, message):
    with pytest.raises(UsageError, match=message):
        lm.check_options(LmConfig(prune=prune), "-")


def test_output_names_of_unknown_format():
    with pytest.raises(UsageError, match=r"x\.txt: expected an output file ending in \.arpa"):
        lm.check_options(LmConfig(), "x.txt")
    for out, order in (("x.bin", 2), ("x.arpa", 1), ("x.arpa.gz", 1), ("/dev/fd/63", 1), ("-", 1)):
        lm.check_output(out, order)


def test_sentences_of_manifests_and_plain_text(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '\n{"id":"b","text":"Über uns"}\n{"id":"a"}\nnot json\n{"id":"c","text":"7"}\n', "utf-8"
    )
    (tmp_path / "b").write_text("one\r\n\n  \ntwo 2\n...\na € b\n", "utf-8")
    (tmp_path / "empty").write_text("")
    ledger = Ledger()
    sources = [str(tmp_path / name) for name in ("a.jsonl", "b", "empty")]
    assert list(lm.read_sentences(str.split, sources, ledger)) == [["über", "uns"], ["one"]]
    assert (ledger.kept, ledger.dropped, ledger.bad) == (2, 6, 2)
    assert ledger.reasons == {"no-text": 1, "no-words": 1, "not-json": 1, "digits": 2, "symbols": 1}
    places = ["a.jsonl:3", "a.jsonl:4", "a.jsonl:5", "b:4", "b:5", "b:6"]
    assert [row["id"] for row in ledger.rows] == [f"{tmp_path}/{place}" for place in places]


def test_sentences_follow_the_rules_of_their_language_and_of_the_options(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id":"a","text":"IRMAK","lang":"tr"}\n{"id":"b","text":"IRMAK [uh] 3"}\n{"id":"c","text":"1st"}\n', "utf-8"
    )
    ledger = Ledger()
    rules = TextRules(lang="fr", numbers="spell", remove_tags=frozenset({"uh"}))
    sentences = lm.read_sentences(str, [str(tmp_path / "a.jsonl")], ledger, rules)
    assert list(sentences) == ["ırmak", "irmak trois"]
    assert (ledger.reasons, ledger.bad) == ({"digits": 1}, 0)
    list(lm.read_sentences(str, [str(tmp_path / "a.jsonl")], ledger := Ledger()))
    assert (ledger.reasons, ledger.bad) == ({"digits": 1, "tags": 1}, 0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_texts_in_other_encodings_packed_or_not(tmp_path, pack, codec):
    (tmp_path / "text").write_bytes(pack("über uns\r\nso\r\n".encode(codec)))
    (tmp_path / "rows").write_bytes(pack('\r\n{"id":"a","text":"Über uns"}\r\n'.encode(codec)))
    ledger = Ledger()
    sources = [str(tmp_path / "text"), str(tmp_path / "rows")]
    assert list(lm.read_sentences(str, sources, ledger)) == ["über uns", "so", "über uns"]
    assert not ledger.rows


def test_a_line_that_is_not_utf8_names_the_conversion_of_its_file(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"so am i\nd\xe9j\xe0 vu\n")
    ledger = Ledger()
    assert list(lm.read_sentences(str, [str(tmp_path / "t.txt")], ledger)) == ["so am i"]
    (row,) = ledger.rows
    assert (row["reason"], row["bad"]) == ("not-utf8", True)
    assert f"perhaps Windows-1252 for 'déjà' (iconv -f windows-1252 -t utf-8 {tmp_path}/t.txt > " in row["detail"]


def test_own_and_lmplz_give_the_same_model(tmp_path):
    if not lmplz.find_program("lmplz"):
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")
    lines = [["a", "b"], ["b"], ["a", "b", "c"]] * 2
    config = LmConfig(vocab_size=2, order=2)
    results = {}
    for estimator in ("own", "lmplz"):
        arpa_file = tmp_path / f"{estimator}.arpa"
        results[estimator] = lm.estimate(config, estimator, [0, 0], iter(lines), arpa_file)
        assert (results[estimator].sentences, results[estimator].words, results[estimator].oov) == (6, 12, 2)
    assert results["own"].counts == results["lmplz"].counts == [5, 4]
    own_lines, lmplz_lines = ((tmp_path / f"{e}.arpa").read_text().splitlines() for e in ("own", "lmplz"))
    assert [line.split("\t")[1:2] for line in own_lines] == [line.split("\t")[1:2] for line in lmplz_lines]


@pytest.mark.parametrize("estimator", ["own", "lmplz"])
def test_no_text_is_an_error(tmp_path, estimator):
    with pytest.raises(DataError, match="no words"):
        lm.estimate(LmConfig(), estimator, [0, 0, 0], iter([]), tmp_path / "x.arpa")


def test_a_compressed_model_is_the_same_at_any_time_and_under_any_name(tmp_path, monkeypatch):
    model = tmp_path / "x.arpa"
    model.write_text("a model")
    for name, now in (("a.arpa.gz", 1e9), ("b.arpa.gz", 2e9)):
        monkeypatch.setattr(gzip, "time", SimpleNamespace(time=lambda now=now: now))
        lm.write_model(model, str(tmp_path / name))
    packed = (tmp_path / "a.arpa.gz").read_bytes()
    assert packed == (tmp_path / "b.arpa.gz").read_bytes() and gzip.decompress(packed) == b"a model"


def test_a_dev_text_without_words_is_an_error(tmp_path):
    lm.estimate(LmConfig(), "own", [0, 0, 0], iter([["a"]]), tmp_path / "x.arpa")
    (tmp_path / "dev").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"dev: no usable lines: .* all 2 lines were dropped"):
        lm.evaluate(LmConfig(dev=str(tmp_path / "dev")), tmp_path / "x.arpa", str.split)
    (tmp_path / "dev").write_text("\n")
    with pytest.raises(DataError, match=r"dev: no usable lines: .* the file is empty"):
        lm.evaluate(LmConfig(dev=str(tmp_path / "dev")), tmp_path / "x.arpa", str.split)


@pytest.mark.parametrize("memory", ["lots", "-1G", "2 G", ""])
def test_invalid_memory_sizes(memory):
    with pytest.raises(UsageError, match="expected a size such as 500M"):
        lm.check_options(LmConfig(memory=memory), "-")


@pytest.mark.parametrize("memory", ["1.5G", "50%", "100b", "64K", "500M", "1T", "1000"])
def test_valid_memory_sizes(memory):
    lm.check_options(LmConfig(memory=memory), "-")


def test_tokens_need_a_network():
    with pytest.raises(UsageError, match="--vocab EXP"):
        lm.check_options(LmConfig(unit="token"), "-")


@pytest.mark.parametrize("estimator", ["own", "lmplz"])
def test_small_text_is_refused_without_fallback(tmp_path, estimator):
    if estimator == "lmplz" and not lmplz.find_program("lmplz"):
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")
    config = LmConfig(discount_fallback=False)
    with pytest.raises(DataError, match="too little text for Kneser-Ney discounts: no 1-gram has adjusted count"):
        lm.estimate(config, estimator, [0, 0, 0], iter([["a", "b"]]), tmp_path / "x.arpa")


def test_own_and_lmplz_prune_the_same(tmp_path):
    if not lmplz.find_program("lmplz"):
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")
    lines = [list("abab"), list("abc"), list("cab"), list("xyx")] * 2 + [list("zab")]
    counts = [
        lm.estimate(LmConfig(memory="50M"), estimator, [0, 1, 2], iter(lines), tmp_path / "x.arpa").counts
        for estimator in ("own", "lmplz")
    ]
    assert counts[0] == counts[1]
    assert counts[0] < lm.estimate(LmConfig(), "own", [0, 0, 0], iter(lines), tmp_path / "x.arpa").counts


def test_words_that_a_network_cannot_write_are_findings(tmp_path):
    lm.estimate(LmConfig(), "own", [0, 0, 0], iter([["ab", "xy"]]), tmp_path / "x.arpa")
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\nb\n")
    dev, (one,) = lm.evaluate(LmConfig(vocab=str(tmp_path / "tokens.txt")), tmp_path / "x.arpa", str.split)
    assert dev is None
    assert "as 'xy'; the network has no 'x', 'y'" in one.message
    (tmp_path / "dev").write_text("ab ab\nxy\n")
    config = LmConfig(vocab=str(tmp_path / "tokens.txt"), dev=str(tmp_path / "dev"))
    dev, found = lm.evaluate(config, tmp_path / "x.arpa", str.split)
    assert (dev.sentences, dev.words, found) == (2, 3, [one])


def test_descriptions_of_discounts():
    computed, replaced = Discounts((0.5, 1.0, 1.25)), Discounts((0.5, 1.0, 1.5), "no 1-gram has adjusted count 3")
    assert list(lm.describe_discounts([computed])) == ["discounts D1 D2 D3+: 1-grams 0.500 1.000 1.250"]
    assert list(lm.describe_discounts([replaced, computed, replaced])) == [
        "discounts D1 D2 D3+: 2-grams 0.500 1.000 1.250",
        "too little text to compute the discounts of 1-grams, 3-grams "
        "(no 1-gram has adjusted count 3): using 0.5 1 1.5",
    ]


def test_what_lmplz_gets_and_what_is_counted(tmp_path, monkeypatch):
    """A stand-in for lmplz that notes its arguments and writes a model."""
    seen = []

    def run(text, arpa_file, *arguments, **settings):
        seen.append((text.read_text("utf-8"), *arguments, settings))
        arpa_file.write_text("\\data\\\nngram 1=5\nngram 2=4\n\n")
        return [Discounts((0.5, 1.0, 1.5))]

    monkeypatch.setattr(lmplz, "estimate", run)
    lines = [["é", "a"], ["é"], ["c", "é", "a"]]
    limited = LmConfig(vocab_size=2, order=2, memory="50M", discount_fallback=False)
    for config, vocabulary, oov in ((limited, ["é", "a"], 1), (LmConfig(order=2), None, 0)):
        result = lm.estimate(config, "lmplz", [0, 1], iter(lines), tmp_path / "x.arpa")
        settings = {"memory": config.memory, "fallback": config.discount_fallback}
        assert seen.pop() == ("é a\né\nc é a\n", 2, [0, 1], vocabulary, settings)
        assert (result.sentences, result.words, result.oov, result.counts) == (3, 6, oov, [5, 4])
        assert (result.estimator, result.discounts) == ("lmplz", [Discounts((0.5, 1.0, 1.5))])
        assert [file.name for file in tmp_path.iterdir()] == ["x.arpa"]


@pytest.mark.parametrize("name", ["y.arpa", "y.arpa.gz", "y.bin"])
def test_a_model_may_appear_together_with_other_files(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lmplz, "find_program", lambda program: None)
    lm.estimate(LmConfig(order=2), "own", [0, 0], iter([["so", "am", "i"]]), tmp_path / "x.arpa")
    with together():
        lm.write_model(tmp_path / "x.arpa", str(tmp_path / name))
        assert not (tmp_path / name).exists()
    assert NgramLm.load(str(tmp_path / name)).order == 2


def test_build_binary_writes_the_binary_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(lmplz, "find_program", lambda program: f"/bin/{program}")
    monkeypatch.setattr(lmplz, "build_binary", lambda model, binary: binary.write_text(f"of {model.read_text()}"))
    (tmp_path / "x.arpa").write_text("a model")
    (tmp_path / "out").mkdir()
    lm.write_model(tmp_path / "x.arpa", str(tmp_path / "out" / "y.bin"))
    assert (tmp_path / "out" / "y.bin").read_text() == "of a model"


def test_sentences_are_written_by_the_chosen_set_of_rules(tmp_path):
    (tmp_path / "t.txt").write_text("“Well”, uh, 3!\nuh [noise]\n[x]\n", "utf-8")

    def read(name):
        ledger = Ledger()
        rules = TextRules.of(LmConfig(text_rules=name))
        return list(lm.read_sentences(str, [str(tmp_path / "t.txt")], ledger, rules)), ledger.reasons, ledger.bad

    assert read("letters") == ([], {"digits": 1, "tags": 2}, 0)
    assert read("written") == (['"Well", uh, 3!'], {"tags": 2}, 0)
    assert read("conversation") == (["well three"], {"not-speech": 1, "tags": 1}, 0)
    assert read("keep") == (["“Well”, uh, 3!", "uh [noise]", "[x]"], {}, 0)
