"""Models without <unk>."""

import pytest

from ds2cli.config.decode import DecodeConfig
from ds2cli.config.lm import InfoConfig
from ds2cli.lm import arpa
from ds2cli.lm.closed import check_unknown_words, is_closed
from ds2cli.lm.query import NgramLm
from ds2cli.recognizer.decoder import build_beam_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import lm_info
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))


@pytest.fixture
def write_lm(tmp_path):
    def write(words, unknown="", name="lm.arpa"):
        lines = [unknown, "0\t<s>", "-1\t</s>", *(f"-0.5\t{word}" for word in words.split())]
        lines = [line for line in lines if line]
        path = tmp_path / name
        path.write_text(f"\\data\\\nngram 1={len(lines)}\n\n\\1-grams:\n" + "\n".join(lines) + "\n\n\\end\\\n")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("unknown", "closed"),
    [("", True), ("-99\t<unk>", True), ("-1e3\t<unk>", True), ("-2\t<unk>", False), ("-30\t<UNK>", False)],
)
@pytest.mark.parametrize("binary", [False, True])
def test_a_model_without_a_probability_of_unknown_words_is_closed(write_lm, unknown, closed, binary):
    path = write_lm("ab ba", unknown)
    if binary:
        NgramLm.load(path).model.write(f"{path}.bin")
        path = f"{path}.bin"
    lm = NgramLm.load(path)
    assert is_closed(lm) == closed
    assert len(check_unknown_words(lm, VOCAB.symbols)) == closed
    shown = dict(lm_info.describe(lm_info.load(InfoConfig(), path)))["<unk>"]
    assert shown.startswith("missing, so that words which are not listed are as good as impossible") == closed


@pytest.mark.parametrize(("symbols", "findings"), [("a b <space>", 0), ("a <space>", 1)])
def test_a_character_model_is_closed_only_if_it_lacks_symbols(write_lm, symbols, findings):
    assert len(check_unknown_words(NgramLm.load(write_lm(symbols)), VOCAB.symbols)) == findings


def test_decoding_with_a_closed_model_is_announced_unless_it_is_wanted(write_lm, tmp_path):
    VOCAB.save(tmp_path / "tokens.txt")
    experiment = Experiment(str(tmp_path))
    path = write_lm("ab ba bab")
    for closed, expected in ((False, 1), (True, 0)):
        warned = []
        build_beam_search(resolve_settings(DecodeConfig(lm=path, closed=closed), "."), experiment, warned.append)
        assert len(warned) == expected
    build_beam_search(resolve_settings(DecodeConfig(lm=path), "."), experiment, warned.append)
    message = (
        f"{path}: the model has no <unk>: only its 3 words are ever written (ngram-count -unk or ds2 lm TEXT… OUT "
    )
    assert warned[0].startswith(message) and "--closed" in warned[0]


def test_a_model_of_ds2_lm_is_not_closed(estimate_lm, tmp_path):
    (tmp_path / "x.arpa").write_text("".join(arpa.lines(estimate_lm("ab ba\nab\n", 2))))
    assert not is_closed(NgramLm.load(str(tmp_path / "x.arpa")))
