"""`ds2 filter --fit` and `ds2 filter`: options that do not apply, what is printed and stored, a trained network."""

from __future__ import annotations

import random
import tomllib

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.cli.lib.fit_filter import fit_filter
from ds2cli.config.filter import FilterConfig
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.metrics.alignment import align_words
from ds2cli.metrics.planted_errors import ErrorPlanter
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", *"abcdefgh"))


def write_rows(name, number, seed):
    """Rows of random words with emissions that say so."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 6))) for _ in range(40)]
    rows = []
    with ArkWriter(f"{name}.ark") as ark:
        for i in range(number):
            text = " ".join(rng.choice(words, rng.integers(3, 8)))
            p = np.full((2 * len(text), len(VOCAB)), 0.02)
            p[np.arange(len(p)), [s for c in text for s in (VOCAB.symbols.index(c), 0)]] = 1 - 0.02 * (len(VOCAB) - 1)
            p = p + 0.02 * rng.random(p.shape)
            p /= p.sum(axis=1, keepdims=True)
            rows.append({"id": f"u{i:02d}", "text": text, "emission": ark.write(f"u{i:02d}", np.log(p, dtype="f4"))})
    manifest.write(f"{name}.jsonl", rows)
    return rows


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with exp/ (the symbols only) and dev.jsonl."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    VOCAB.save(tmp_path / "exp" / "tokens.txt")
    write_rows("dev", 20, 0)
    return tmp_path


def config(**settings):
    return FilterConfig(fit=True, **settings)


def test_all_that_is_printed_and_stored(place, capsys):
    fit_filter(config(), "exp", "dev.jsonl", "-")
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[1].split() == ["texts", "%WER", "%", "kept"] and lines[2].split() == ["true", "20", "0.0", "100.0"]
    for title in ("texts by the planted error", "features, AUC of all ", "what a good text is", "operating points"):
        assert sum(line.startswith(title) for line in lines) == 1
    used = [line.split() for line in lines if "*" in line]
    assert len(used) == 2 and float(used[1][-1]) < 5
    everything = lines[lines.index("operating points") + 2].split()
    assert everything[1] == "100.0" and everything[3:] == ["100.0", "17.00"]
    assert lines[-1].startswith("%WER ") and lines[-1].endswith("resamplings of the utterances), 17.00 of all texts")
    assert "20 in = 20 kept + 0 dropped" in printed.err and "stored in exp/filter.toml for ds2 filter" in printed.err
    stored = tomllib.loads((place / "exp" / "filter.toml").read_text())
    assert f"{stored['threshold']:.6f}*" == used[1][0]
    made_by = stored["made_by"]
    assert (made_by["made_on"], made_by["utterances"], made_by["seed"]) == ("dev.jsonl", 20, 0)
    assert (made_by["raw_wer"], made_by["keep_wer"], len(made_by["network"])) == (17.0, 5.0, 16)
    fit_filter(config(), "exp", "dev.jsonl", "-")
    assert capsys.readouterr().out == printed.out
    fit_filter(config(seed=1), "exp", "dev.jsonl", "-")
    assert capsys.readouterr().out != printed.out


def test_fit_and_apply(ds2, place, jsonl):
    done = ds2("filter", "--fit", "exp", "dev.jsonl", cwd=place)
    assert done.returncode == 0, done.stderr
    right = write_rows("test", 20, 5)
    texts = [row["text"] for row in right]
    jsonl("mixed.jsonl", [{**row, "text": texts[i - 1] if i < 8 else row["text"]} for i, row in enumerate(right)])
    done = ds2("filter", "exp", "mixed.jsonl", "good.jsonl", cwd=place)
    assert done.returncode == 0, done.stderr
    kept, dropped = jsonl("good.jsonl"), jsonl("good.jsonl.dropped.jsonl")
    assert [row["id"] for row in kept] == [f"u{i:02d}" for i in range(8, 20)]
    assert {row["reason"] for row in dropped} <= {"filtered", "label-too-long"} and not any(r["bad"] for r in dropped)
    assert "20 in = 12 kept + 8 dropped" in done.stderr
    saved = tomllib.loads((place / "good.jsonl.config.toml").read_text())
    assert saved["threshold"] == tomllib.loads((place / "exp" / "filter.toml").read_text())["threshold"]
    # the costs are in the rows now
    again = ds2("filter", "exp", stdin=(place / "good.jsonl").read_text(), cwd=place)
    assert [line.split('"filter_score":')[1] for line in again.stdout.splitlines()] == [
        line.split('"filter_score":')[1] for line in (place / "good.jsonl").read_text().splitlines()
    ]
    done = ds2("filter", "exp", "mixed.jsonl", "all.jsonl", "--keep-all", cwd=place)
    scores = [row["filter_score"] for row in jsonl("all.jsonl")]
    assert len(scores) == 20 and max(scores[:8]) < saved["threshold"] <= min(scores[8:])
    done = ds2("filter", "exp", "mixed.jsonl", "none.jsonl", "--threshold", "1", "--max-bad", "100", cwd=place)
    assert done.returncode == 1 and "refused: none of 20 utterances is kept" in done.stderr
    assert not (place / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("exp", "dev.jsonl", "out.jsonl", "--fit"), "--fit writes exp/filter.toml and no rows: OUT does not apply"),
        (("exp", "dev.jsonl", "--fit", "--threshold", "0.5"), "and no rows: --threshold does not apply"),
        (("exp", "dev.jsonl", "--fit", "--keep-all"), "--keep-all has no effect with --fit"),
        (("exp", "dev.jsonl", "--keep-all", "--threshold", "0.5"), "--threshold has no effect with --keep-all"),
        (("exp", "dev.jsonl", "--keep-wer", "4"), "--keep-wer only applies with --fit"),
        (("exp", "dev.jsonl", "--raw-wer", "20"), "--raw-wer only applies with --fit"),
        (("exp", "dev.jsonl", "--seed", "1"), "--seed only applies with --fit"),
        (("exp", "dev.jsonl", "--copies", "1"), "--copies only applies with --fit"),
        (("exp", "dev.jsonl", "--fit", "--keep-wer", "20"), "--keep-wer 20 has to be below --raw-wer 17"),
        (("exp/tokens.txt", "dev.jsonl", "--fit"), "but exp/tokens.txt is not a folder"),
    ],
)
def test_options_that_do_not_apply(ds2, place, options, message):
    done = ds2("filter", *options, cwd=place)
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""
    assert not (place / "exp" / "filter.toml").exists()


def test_without_a_fitted_filter(ds2, place):
    done = ds2("filter", "exp", "dev.jsonl", "out.jsonl", cwd=place)
    assert done.returncode == 3
    assert "exp/filter.toml: no such file" in done.stderr and "(ds2 filter --fit exp DEV)" in done.stderr


def test_too_many_bad_utterances_store_nothing(place, jsonl):
    rows = jsonl("dev.jsonl")
    jsonl("bad.jsonl", [*rows, {"id": "u9", "text": "ab cd", "emission": "gone.ark:3"}])
    with pytest.raises(Ds2Error, match=r"filter --fit: refused: 1 of 21 utterances are bad \(4.8 %"):
        fit_filter(config(), "exp", "bad.jsonl", "-")
    assert not (place / "exp" / "filter.toml").exists()
    fit_filter(config(max_bad=5.0), "exp", "bad.jsonl", "-")
    assert (place / "exp" / "filter.toml").exists()


def test_a_set_without_features_is_explained(ds2, place, jsonl):
    jsonl("bare.jsonl", [{"id": row["id"], "text": row["text"]} for row in jsonl("dev.jsonl")])
    done = ds2("filter", "--fit", "exp", "bare.jsonl", cwd=place)
    assert done.returncode == 3 and "expected at least two utterances with words and an emission" in done.stderr
    assert "20 in = 0 kept + 20 dropped (20 no-feats)" in done.stderr


def test_rows_of_the_training_set_are_warned_of(place, jsonl, capsys):
    jsonl("train.jsonl", [{**row, "split": "train"} for row in jsonl("dev.jsonl")])
    fit_filter(config(), "exp", "train.jsonl", "-")
    assert "warning: train.jsonl has rows of the training set" in capsys.readouterr().err


def test_an_experiment_without_a_network_is_refused(place):
    (place / "empty").mkdir()
    with pytest.raises(Ds2Error, match="empty"):
        fit_filter(config(), "empty", "dev.jsonl", "-")
    with pytest.raises(UsageError, match="is not a folder"):
        fit_filter(config(), "gone", "dev.jsonl", "-")


@pytest.mark.long
def test_a_trained_network_keeps_right_texts(ds2, toy, tmp_path, jsonl):
    """A network that learned to spell some words; wrong texts are planted in the words of its dev set."""
    conf, exp = tmp_path / "c.toml", tmp_path / "exp"
    conf.write_text(
        "epochs = 8\nbatch_s = 2.0\n[optim]\nlr = 0.02\n[model]\ndropout = 0.0\nchannels = [24]\nkernels = [5]\n"
        "strides = [2]\nrnn_layers = 1\nrnn_size = 24\n"
    )
    done = ds2("train", toy / "train.jsonl", exp, "--dev", toy / "dev.jsonl", "--config", conf)
    assert done.returncode == 0, done.stderr
    # the words of all; the network was trained on these rows, so they serve as the set to be filtered
    done = ds2("filter", "--fit", exp, toy / "dev.jsonl", "--keep-wer", "10", "--raw-wer", "30")
    assert done.returncode == 0, done.stderr
    rows = list(manifest.read(str(toy / "train.jsonl"), ("id", "text")))
    planter = ErrorPlanter([row["id"] for row in rows], [row["text"] for row in rows], 9)
    truth = {row["id"]: row["text"] for row in rows}
    mixed = []
    for i, row in enumerate(rows):
        wrong = planter.plant(i, 1)
        mixed.append({**row, "text": random.Random(i).choice(wrong)[1]} if i % 3 == 0 and wrong else row)
    manifest.write(str(tmp_path / "mixed.jsonl"), mixed)
    done = ds2("filter", exp, tmp_path / "mixed.jsonl", tmp_path / "good.jsonl")
    assert done.returncode == 0, done.stderr
    kept = jsonl(tmp_path / "good.jsonl")

    def rate(rows):
        return align_words([truth[row["id"]] for row in rows], [row["text"] for row in rows]).total().rate

    assert len(kept) > 0.5 * len(rows)
    assert rate(kept) < 0.5 * rate(mixed), (rate(kept), rate(mixed))
    assert all(row["num_steps"] > 0 for row in kept)
