import pytest

from ds2cli.config.lm import LmConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import lmplz
from ds2cli.lm.kneser_ney import Discounts
from ds2cli.stages import lm


def test_the_estimator_is_lmplz_where_there_is_one(monkeypatch):
    monkeypatch.setattr(lmplz, "find", lambda program: None)
    assert lm.check(LmConfig(), "x.arpa") == ("own", [0, 0, 0])
    with pytest.raises(UsageError, match="--estimator lmplz needs KenLM's lmplz"):
        lm.check(LmConfig(estimator="lmplz"), "x.arpa")
    assert lm.check(LmConfig(), "x.bin")[0] == "own"
    monkeypatch.setattr(lmplz, "find", lambda program: f"/bin/{program}")
    assert lm.check(LmConfig(), "x.arpa.gz")[0] == "lmplz"
    assert lm.check(LmConfig(estimator="own"), "-")[0] == "own"
    with pytest.raises(UsageError, match="--order 2 or more"):
        lm.check(LmConfig(order=1), "x.bin")


@pytest.mark.parametrize(
    "prune, want", [("0", [0, 0, 0]), ("0 0 1", [0, 0, 1]), ("0,1", [0, 1, 1]), ("", [0, 0, 0]), (" 0  2 ", [0, 2, 2])]
)
def test_pruning_thresholds(prune, want):
    assert lm.check(LmConfig(prune=prune), "-")[1] == want


@pytest.mark.parametrize(
    "prune, says",
    [
        ("1 2", "0 first"),
        ("0 2 1", "never less"),
        ("0 x", "whole numbers"),
        ("0 -1", "never less"),
        ("0 0 0 0", "4 numbers"),
    ],
)
def test_pruning_thresholds_that_cannot_be(prune, says):
    with pytest.raises(UsageError, match=says):
        lm.check(LmConfig(prune=prune), "-")


def test_names_that_say_no_format():
    with pytest.raises(UsageError, match=r"x\.txt: expected a name that ends in \.arpa"):
        lm.check(LmConfig(), "x.txt")


def test_sentences_of_both_kinds(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id":"b","text":"Über uns"}\n{"id":"a"}\nnot json\n{"id":"c","text":"7"}\n', "utf-8"
    )
    (tmp_path / "b").write_text("one\r\n\n  \ntwo 2\n...\n", "utf-8")
    (tmp_path / "empty").write_text("")
    ledger = Ledger()
    sources = [str(tmp_path / name) for name in ("a.jsonl", "b", "empty")]
    assert list(lm.sentences(str.split, sources, ledger)) == [["über", "uns"], ["one"]]
    assert (ledger.kept, ledger.dropped, ledger.bad) == (2, 5, 2)
    assert ledger.reasons == {"no-text": 1, "no-words": 1, "not-json": 1, "digits": 2}
    assert ledger.rows[0]["id"] == f"{tmp_path}/a.jsonl:2"


def test_own_and_lmplz_deliver_the_same(tmp_path):
    if not lmplz.find_program("lmplz"):
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")
    lines = [["a", "b"], ["b"], ["a", "b", "c"]] * 2
    config = LmConfig(vocab_size=2, order=2)
    made = {}
    for estimator in ("own", "lmplz"):
        to = tmp_path / f"{estimator}.arpa"
        made[estimator] = lm.estimate(config, estimator, [0, 0], iter(lines), to)
        assert (made[estimator].sentences, made[estimator].words, made[estimator].outside) == (6, 12, 2)
    assert made["own"].counts == made["lmplz"].counts == [5, 4]
    own, theirs = ((tmp_path / f"{e}.arpa").read_text().splitlines() for e in ("own", "lmplz"))
    assert [line.split("\t")[1:2] for line in own] == [line.split("\t")[1:2] for line in theirs]


@pytest.mark.parametrize("estimator", ["own", "lmplz"])
def test_no_text_is_an_error(tmp_path, estimator):
    with pytest.raises(DataError, match="no words"):
        lm.estimate(LmConfig(), estimator, [0, 0, 0], iter([]), tmp_path / "x.arpa")


def test_a_dev_text_without_words_is_an_error(tmp_path):
    lm.estimate(LmConfig(), "own", [0, 0, 0], iter([["a"]]), tmp_path / "x.arpa")
    (tmp_path / "dev").write_text("1\n2\n")
    with pytest.raises(DataError, match="dev: no usable line in 2"):
        lm.measure(LmConfig(dev=str(tmp_path / "dev")), tmp_path / "x.arpa", str.split)


@pytest.mark.parametrize("memory", ["lots", "-1G", "2 G", ""])
def test_memory_that_is_no_size(memory):
    with pytest.raises(UsageError, match="expected a size, as 500M"):
        lm.check(LmConfig(memory=memory), "-")
    lm.check(LmConfig(memory="1.5G"), "-")


def test_tokens_need_a_network():
    with pytest.raises(UsageError, match="--vocab EXP"):
        lm.check(LmConfig(unit="token"), "-")


@pytest.mark.parametrize("estimator", ["own", "lmplz"])
def test_small_text_is_refused_without_the_fallback(tmp_path, estimator):
    if estimator == "lmplz" and not lmplz.find_program("lmplz"):
        pytest.skip("no lmplz (utils/install_kenlm.sh builds it)")
    config = LmConfig(discount_fallback=False)
    with pytest.raises(DataError, match="too little text for Kneser-Ney: no 1-gram has adjusted count"):
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


def test_what_a_network_cannot_spell_is_found(tmp_path):
    lm.estimate(LmConfig(), "own", [0, 0, 0], iter([["ab", "xy"]]), tmp_path / "x.arpa")
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\nb\n")
    dev, (one,) = lm.measure(LmConfig(vocab=str(tmp_path / "tokens.txt")), tmp_path / "x.arpa", str.split)
    assert dev is None
    assert "as 'xy'; the network has no 'x', 'y'" in one.message


def test_what_is_said_of_discounts():
    computed, replaced = Discounts((0.5, 1.0, 1.25)), Discounts((0.5, 1.0, 1.5), "no 1-gram has adjusted count 3")
    assert list(lm.explained([computed])) == ["discounts 1-grams 0.500 1.000 1.250"]
    assert list(lm.explained([replaced, computed, replaced])) == [
        "discounts 2-grams 0.500 1.000 1.250",
        "too little text for the discounts of 1-grams, 3-grams, 0.5 1 1.5 used instead "
        "(no 1-gram has adjusted count 3)",
    ]
