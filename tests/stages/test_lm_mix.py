import gzip
import math

import pytest

from ds2cli.config.lm import LmConfig, MixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import perplexity
from ds2cli.lm.query import NgramLm
from ds2cli.stages import lm, lm_mix

FIRST, SECOND = ["so am i", "so are you", "are you so"], ["you press one", "press two", "i press one so"]
DEV = ["so you press two", "are you one", "never"]


@pytest.fixture
def sources(tmp_path):
    out = []
    for name, lines in (("a", FIRST), ("b", SECOND)):
        lm.estimate(LmConfig(order=2), "own", [0, 0], (line.split() for line in lines), tmp_path / f"{name}.arpa")
        out.append(str(tmp_path / f"{name}.arpa"))
    (tmp_path / "dev").write_text("\n".join([*DEV, "1984"]))
    return out


def test_mixture_with_tuned_weights(sources, tmp_path):
    ledger, arpa_file = Ledger(), tmp_path / "x.arpa"
    mixed = lm_mix.run(MixConfig(dev=str(tmp_path / "dev")), sources, [], ledger, arpa_file)
    first, second, mixture = mixed.rows
    assert [s.name for s in mixed.rows] == [*sources, "mixture"]
    assert first.weight + second.weight == pytest.approx(1)
    assert mixture.perplexity < min(first.perplexity, second.perplexity)
    assert (first.oov_percent, second.oov_percent, mixture.oov_percent) == (50.0, 25.0, 12.5)
    assert (ledger.kept, ledger.dropped, ledger.bad) == (3, 1, 0)
    written = NgramLm.load(str(arpa_file))
    assert written.counts == mixed.counts
    assert perplexity.measure(written, [d.split() for d in DEV]).including_oov == pytest.approx(
        mixture.perplexity, rel=1e-5
    )
    # other weights are worse
    for w in (0.2, 0.8):
        other = lm_mix.run(MixConfig(dev=str(tmp_path / "dev")), sources, [w, 1 - w], Ledger(), arpa_file)
        assert other.rows[2].perplexity > mixture.perplexity


def test_given_weights_without_dev_text(sources, tmp_path):
    packed = tmp_path / "c.arpa.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.arpa").read_bytes()))
    mixed = lm_mix.run(MixConfig(weights="1 0"), [str(packed), sources[1]], [1.0, 0.0], Ledger(), tmp_path / "x.arpa")
    assert math.isnan(mixed.rows[0].perplexity)
    first_lm, all_ = NgramLm.load(sources[0]), NgramLm.load(str(tmp_path / "x.arpa"))
    assert all_.sentence_log10("so are you") == pytest.approx(first_lm.sentence_log10("so are you"), abs=1e-5)


@pytest.mark.parametrize("weights", ["0.5", "1 1", "a b", "-1 2", "0.2 0.2 0.6", "nan 1", "0.5 0.48", "0.5 0.52"])
def test_invalid_weights(weights):
    with pytest.raises(UsageError, match="expected 2 numbers, one per model, that sum to 1"):
        lm_mix.parse_weights(MixConfig(weights=weights), ["a", "b"])


def test_valid_weights():
    assert lm_mix.parse_weights(MixConfig(weights="0.333, 0.667"), ["a", "b"]) == pytest.approx([0.333, 0.667])
    assert lm_mix.parse_weights(MixConfig(weights="0.4975 0.4975"), ["a", "b"]) == [0.5, 0.5]
    assert lm_mix.parse_weights(MixConfig(weights="1 0"), ["a", "b"]) == [1.0, 0.0]
    assert lm_mix.parse_weights(MixConfig(dev="dev"), ["a", "b"]) == []
    with pytest.raises(UsageError, match="--dev or --weights"):
        lm_mix.parse_weights(MixConfig(), ["a", "b"])
    with pytest.raises(UsageError, match="at least two models"):
        lm_mix.parse_weights(MixConfig(), ["a"])


def test_models_of_different_units(sources, tmp_path):
    letters = tmp_path / "letters.arpa"
    lm.estimate(LmConfig(order=2), "own", [0, 0], iter([["a", "<space>", "b"]]), letters)
    config = MixConfig(dev=str(tmp_path / "dev"))
    with pytest.raises(DataError, match=r"expected one unit, got .*a.arpa \(words\), .*letters.arpa \(characters\)"):
        lm_mix.run(config, [sources[0], str(letters)], [], Ledger(), tmp_path / "x.arpa")


def test_models_of_tokens(tmp_path):
    (tmp_path / "tokens.txt").write_text("<blank>\n<space>\na\nb\n")
    letters = tmp_path / "letters.arpa"
    lm.estimate(LmConfig(order=2), "own", [0, 0], iter([["a", "b<space>", "b"]]), letters)
    (tmp_path / "dev").write_text("ab a\n")
    config = MixConfig(dev=str(tmp_path / "dev"))
    with pytest.raises(UsageError, match="are a network's symbols"):
        lm_mix.run(config, [str(letters)] * 2, [], Ledger(), tmp_path / "x.arpa")
    config = MixConfig(dev=str(tmp_path / "dev"), vocab=str(tmp_path / "tokens.txt"))
    mixed = lm_mix.run(config, [str(letters)] * 2, [], Ledger(), tmp_path / "x.arpa")
    assert [s.weight for s in mixed.rows] == pytest.approx([0.5, 0.5, 1.0])


def test_a_dev_text_without_words(sources, tmp_path):
    (tmp_path / "dev").write_text("1984\n")
    with pytest.raises(DataError, match=r"dev: no usable lines: .* all 1 lines were dropped"):
        lm_mix.run(MixConfig(dev=str(tmp_path / "dev")), sources, [], Ledger(), tmp_path / "x.arpa")


@pytest.mark.parametrize("weights", ["", "0.5 0.5"])
@pytest.mark.parametrize("unknown, is_closed", [("", True), ("-99\t<unk>\n", True), ("-2\t<unk>\n", False)])
def test_models_without_unk_are_listed(sources, tmp_path, weights, unknown, is_closed):
    model = (
        f"\\data\\\nngram 1={3 + bool(unknown)}\nngram 2=1\n\n\\1-grams:\n{unknown}-1\t</s>\n0\t<s>\t0\n-0.5\tso\t0\n\n"
    )
    (tmp_path / "c.arpa").write_text(f"{model}\\2-grams:\n-0.1\t<s> so\n\n\\end\\\n")
    config = MixConfig(dev=None if weights else str(tmp_path / "dev"), weights=weights or None)
    mixed_sources = [sources[0], str(tmp_path / "c.arpa")]
    given = lm_mix.parse_weights(config, mixed_sources)
    mixed = lm_mix.run(config, mixed_sources, given, Ledger(), tmp_path / "x.arpa")
    assert mixed.closed == (mixed_sources[1:] if is_closed else [])


def test_the_other_spelling_of_unk_is_unk(sources, tmp_path):
    (tmp_path / "c.arpa").write_text((tmp_path / "a.arpa").read_text().replace("<unk>", "<UNK>"))
    config = MixConfig(weights="0.5 0.5")
    for number, first in enumerate((sources[0], str(tmp_path / "c.arpa"))):
        mixed = lm_mix.run(config, [first, sources[1]], [0.5, 0.5], Ledger(), tmp_path / f"{number}.arpa")
        assert mixed.closed == []
    assert (tmp_path / "0.arpa").read_bytes() == (tmp_path / "1.arpa").read_bytes()
