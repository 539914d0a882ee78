"""`ds2 decode --tune`: options that do not apply, and what is printed and stored."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.cli.lib.tune import tune
from ds2cli.config.decode import LIMITS, DecodeConfig
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.metrics import heatmap
from ds2cli.recognizer import decoder
from ds2cli.stages import tune_guard
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
LM = "\\data\\\nngram 1=5\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\tab\n-0.9\tbé\n\n\\end\\\n"
GRID = {"alphas": (0.0, 0.8), "betas": (1.0,), "unknowns": (0.0,), "unknown_letters": (0.0,)}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with an experiment, and dev.jsonl with two utterances of the text `aé ab ab`.

    Their emissions say so, but `ab ab ab` is possible too, and the language model, which has no `aé`, prefers it.
    In all.jsonl a third utterance with such an emission really is `ab ab ab`.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    (tmp_path / "lm.arpa").write_text(LM, "utf-8")
    p = np.full((8, len(VOCAB)), 0.01)
    p[np.arange(8), [VOCAB.symbols.index(c) for c in "aé ab ab"]] = 0.96
    p[1] = [0.01, 0.01, 0.03, 0.35, 0.6]
    with ArkWriter(tmp_path / "e.ark") as ark:
        refs = [ark.write(name, np.log(p).astype(np.float32)) for name in ("u0", "u1", "u2")]
    texts = ["aé ab ab", "aé ab ab", "ab ab ab"]
    pairs = enumerate(zip(texts, refs, strict=True))
    rows = [{"id": f"u{i}", "text": text, "emission": ref} for i, (text, ref) in pairs]
    manifest.write("dev.jsonl", rows[:2])
    manifest.write("all.jsonl", rows)
    return tmp_path


def config(**settings):
    return DecodeConfig(tune=True, **{"lm": "lm.arpa", **GRID, **settings})


def test_all_that_is_printed_and_stored(place, capsys):
    tune(config(), "exp", "dev.jsonl", "-")
    printed = capsys.readouterr()
    # the default weight, 0.8, is too large; from 0.2 on the word that the model does not have is lost
    assert printed.out.splitlines() == [
        "%WER on dev.jsonl",
        "alpha \\ beta  1",
        "0             0.00*",
        "0.4           33.33",
        "0.8           33.33",
        "1.2           33.33",
        "%WER on dev.jsonl",
        "unknown \\ unknown_letter  0",
        "0                         0.00*",
        "%WER 0.00 [ 0 / 6, 0 ins, 0 del, 0 sub ] alpha 0 beta 1 unknown 0 unknown_letter 0 *",
        "%WER 0.00 to 0.00 in 95 % of 1000 resamplings of the utterances",
        "%WER 33.33 [ 2 / 6, 0 ins, 0 del, 2 sub ] untuned, worse in 100.0 % of them",
    ]
    assert "2 in = 2 kept + 0 dropped" in printed.err
    assert "the words found are all right, or all wrong: no confidence_scale was fitted" in printed.err
    assert "warning: lm.arpa: 33.3 % of the references' 6 running words are out of vocabulary" in printed.err
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    made_by = stored.pop("made_by")
    assert stored == {"alpha": 0.0, "beta": 1.0, "unknown": 0.0, "unknown_letter": 0.0}
    assert (made_by["lm"], made_by["made_on"], made_by["interval"]) == ("lm.arpa", "dev.jsonl", [0.0, 0.0])
    assert made_by["result"] == "%WER 0.00 [ 0 / 6, 0 ins, 0 del, 0 sub ]"
    assert (place / "exp" / "decode.png").exists() == heatmap.can_draw()


def test_the_scale_of_confidences_is_fitted_and_stored(place, capsys):
    tune(config(alphas=(0.8,)), "exp", "dev.jsonl", "-")
    tuned, untuned = capsys.readouterr().out.splitlines()[-2:]
    assert tuned.startswith("confidence: mean ") and untuned.endswith(" untuned")
    for line in (tuned, untuned):
        assert "66.7 % of 6 words are correct, ECE " in line
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())["confidence_scale"]
    assert tuned.endswith(f" confidence_scale {stored:.4g} *") and 0.01 <= stored <= 10
    assert decoder.resolve_settings(DecodeConfig(lm="lm.arpa"), "exp").confidence_scale == stored


def test_the_weights_of_a_network_that_has_learned_nothing_stay_the_defaults(place, capsys, jsonl):
    with ArkWriter(place / "b.ark") as ark:
        blank = np.full((8, len(VOCAB)), 0.02)
        blank[:, 0] = 0.9
        refs = [ark.write(name, np.log(blank).astype(np.float32)) for name in ("u0", "u1")]
    jsonl("blank.jsonl", [{"id": f"u{i}", "text": "aé ab ab", "emission": ref} for i, ref in enumerate(refs)])
    tune(config(alphas=(0.4, 0.8), betas=(1.0, 2.0), tune_speed=True), "exp", "blank.jsonl", "-")
    printed = capsys.readouterr()
    assert printed.out == "" and "tune: 1 trials in" in printed.err
    (warning,) = [line for line in printed.err.splitlines() if "without a language model" in line]
    assert "100.0 % of the characters are wrong" in warning and "the defaults were stored" in warning
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    result = stored.pop("made_by")["result"]
    assert stored == {"alpha": 0.8, "beta": 1.0, "unknown": 0.0, "unknown_letter": 0.0}
    assert result.startswith("%WER 100.00") and not (place / "exp" / "decode.png").exists()
    tune(config(max_cer=1000.0), "exp", "blank.jsonl", "-")
    assert "without a language model" not in capsys.readouterr().err


def test_weights_far_from_the_grid_are_stored_only_with_evidence(place, capsys, monkeypatch):
    far = tune_guard.find_far
    monkeypatch.setattr(tune_guard, "find_far", lambda axes, weights: [a for a in axes if a.name == "alpha"])
    # alpha 0 instead of 0.8 is better in all resamplings
    tune(config(), "exp", "dev.jsonl", "-")
    assert "stored the tuned weights" in capsys.readouterr().err
    monkeypatch.setattr(tune_guard, "BEYOND_CHANCE", 101.0)
    tune(config(), "exp", "dev.jsonl", "-")
    assert "the gain may be chance (fewer errors than the defaults in 100.0 % of the resam" in capsys.readouterr().err
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    assert stored["alpha"] == 0.8 and stored["made_by"]["result"] == "%WER 33.33 [ 2 / 6, 0 ins, 0 del, 2 sub ]"
    monkeypatch.setattr(tune_guard, "find_far", far)
    tune(config(), "exp", "dev.jsonl", "-")
    assert tomllib.loads((place / "exp" / "decode.toml").read_text())["alpha"] == 0.0


def test_a_character_model_is_tuned_by_the_character_error_rate(place, capsys):
    letters = "".join(f"-0.6\t{letter}\n" for letter in ("<space>", "a", "b", "é"))
    header = "\\data\\\nngram 1=7\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n"
    (place / "chars.arpa").write_text(f"{header}{letters}\n\\end\\\n", "utf-8")
    tune(config(lm="chars.arpa"), "exp", "dev.jsonl", "-")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "%CER on dev.jsonl" and sum(line.startswith("%CER on") for line in lines) == 1
    assert lines[-3] == "%CER 0.00 [ 0 / 16, 0 ins, 0 del, 0 sub ] alpha 0.8 beta 1 *"


def test_the_limits_given_are_tightened(place, capsys):
    tune(config(tune_speed=True, beam=8, beam_gap=6.0, prune_top=3, prune_mass=0.95), "exp", "dev.jsonl", "-")
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("pruning limits: the fastest without additional errors")
    columns, given, *tried = lines[begin + 1 :]
    assert columns.split() == ["%WER", "us/step"]
    assert given.startswith("as given    beam 8 beam_gap 6 prune_top 3 prune_mass 0.95  0.00  ")
    assert [line.split()[:3] for line in tried] == [
        ["beam", "4*", "0.00"], ["beam_gap", "4*", "0.00"], ["prune_mass", "0.9*", "0.00"],
    ]  # fmt: skip
    stored = tomllib.loads((place / "exp" / "decode.toml").read_text())
    limits = {name: stored[name] for name in ("beam", "beam_gap", "prune_top", "prune_mass")}
    assert limits == {"beam": 4, "beam_gap": 4.0, "prune_top": 3, "prune_mass": 0.9}


def test_the_limits_of_an_earlier_run_are_not_those_of_this_one(place, monkeypatch):
    (place / "exp" / "decode.toml").write_text("beam = 2\nprune_top = 1\n")
    used, build = [], decoder.build_beam_search
    monkeypatch.setattr(decoder, "build_beam_search", lambda config, *rest: used.append(config) or build(config, *rest))
    tune(config(beam=9), "exp", "dev.jsonl", "-")
    assert [(c.beam, c.prune_top) for c in used] == [(9, LIMITS["prune_top"])]


def test_too_many_bad_utterances_store_nothing(place, jsonl):
    rows = jsonl("dev.jsonl")
    jsonl("bad.jsonl", [*rows, {**rows[0], "id": "u9", "emission": "gone.ark:3"}])
    with pytest.raises(Ds2Error, match=r"tune: refused: 1 of 3 utterances are bad \(33.3 %, allowed 33 %"):
        tune(config(max_bad=33.0), "exp", "bad.jsonl", "-")
    assert not (place / "exp" / "decode.toml").exists()
    tune(config(max_bad=34.0), "exp", "bad.jsonl", "-")
    assert (place / "exp" / "decode.toml").exists()


def test_the_seed_chooses_the_resamplings(place, capsys):
    printed = []
    for seed in (0, 0, 1):
        tune(config(seed=seed), "exp", "all.jsonl", "-")
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"greedy": True}, "--greedy does not apply"),
        ({"emissions": "e"}, "--emissions does not apply"),
        ({"nbest": 1}, "--nbest does not apply"),
        ({"timestamps": True}, "--timestamps does not apply"),
        ({"confidence_scale": 0.5}, "--confidence-scale does not apply"),
        ({"partials": 0.5}, "--partials does not apply"),
        ({"alpha": 0.0}, r"--alpha does not apply \(--set 'alphas=\[0\]' fixes it\)"),
        ({"beta": 0.0}, r"--beta does not apply \(--set 'betas=\[0\]' fixes it\)"),
        ({"unknown": -2.5}, r"--unknown does not apply \(--set 'unknowns=\[-2.5\]' fixes it\)"),
        ({"unknown_letter": 0.0}, r"--unknown-letter does not apply \(--set 'unknown_letters=\[0\]' fixes it\)"),
    ],
    ids=str,
)
def test_settings_that_do_not_apply(place, setting, message):
    with pytest.raises(UsageError, match=message):
        tune(config(**setting), "exp", "dev.jsonl", "-")


def test_an_experiment_that_is_no_folder_is_refused(place):
    with pytest.raises(UsageError, match=r"--tune writes .*, but exp/tokens.txt is not a folder"):
        tune(config(), "exp/tokens.txt", "dev.jsonl", "-")


def test_without_matplotlib_only_the_plot_is_left_out(place, monkeypatch, capsys):
    monkeypatch.setattr(heatmap, "can_draw", lambda: False)
    with pytest.raises(UsageError, match=r"--plot a.png: matplotlib is not installed"):
        tune(config(plot="a.png"), "exp", "dev.jsonl", "-")
    assert not (place / "exp" / "decode.toml").exists()
    tune(config(), "exp", "dev.jsonl", "-")
    assert (place / "exp" / "decode.toml").exists()
    assert "tune: exp/decode.png was not plotted: matplotlib is not installed" in capsys.readouterr().err
