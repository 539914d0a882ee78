"""The ledger over all stages, and what became of single utterances, of real commands on recordings of noise."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from ds2cli.cli.main import app
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.stages.explain_utterance import describe_errors, describe_losses, explain_utterance, id_matcher
from ds2cli.stages.ledger import find_targets, make_balance, make_entries
from ds2cli.stages.lineage import trace
from ds2cli.train.losses import read_losses

NOISE = 0.1 * np.random.default_rng(0).normal(size=64000)
SMALL = """
epochs = 2
batch_s = 4.0
[model]
channels = [8]
kernels = [5]
strides = [2]
rnn_layers = 1
rnn_size = 8
"""


def ds2(*arguments, status=0):
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Ten recordings, of which one has no text, one a text with digits, one is too long; the others at two speeds."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "wav").mkdir()
    for i in range(10):
        seconds = 4.0 if i == 3 else 1.0 + 0.1 * i
        soundfile.write(folder / f"wav/u{i}.wav", NOISE[: int(16000 * seconds)], 16000)
        text = {1: None, 2: "in 1984"}.get(i, f"text {'abcdefghij'[i]}")
        if text:
            (folder / f"wav/u{i}.txt").write_text(text)
    (folder / "small.toml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ds2("prepare", "folder", "wav", "data/all.jsonl", "--max-bad", 30)
        ds2("data", "subset", "data/all.jsonl", "data/some.jsonl", "--match", "text [^j]")
        limits = ["--max-duration", 3, "--speeds", "0.9 1.0"]
        ds2("featurize", "data/some.jsonl", "data/feats.jsonl", *limits)
        ds2("train", "data/feats.jsonl", "exp", "--config", "small.toml")
        ds2("emit", "exp", "data/feats.jsonl", "exp/emit.jsonl")
        ds2("decode", "exp", "exp/emit.jsonl", "exp/greedy.jsonl", "--greedy")
        ds2("score", "exp/greedy.jsonl", "exp/scored.jsonl")
    return folder


@pytest.fixture
def there(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def test_every_stage_has_an_entry(there):
    entries = {entry.out: entry for entry in make_entries(trace(["exp"]))}
    assert list(entries)[:4] == ["data/all.jsonl", "data/some.jsonl", "data/feats.jsonl", "exp"]
    assert dict(entries["data/all.jsonl"].dropped) == {"no-text": 1, "digits": 1}
    assert (entries["data/all.jsonl"].total, entries["data/all.jsonl"].kept) == (10, 8)
    assert dict(entries["data/some.jsonl"].not_selected) == {"no-match": 1}
    feats = entries["data/feats.jsonl"]
    assert (feats.total, feats.kept, dict(feats.dropped)) == (14, 12, {"longer-than-max-duration": 2})
    assert feats.copies == 2
    assert entries["exp"].kept == entries["exp/emit.jsonl"].kept == entries["exp/scored.jsonl"].kept == 12
    assert all(entry.reconciles for entry in entries.values())


def test_the_balance_over_all_stages(there):
    outputs = trace(["exp/scored.jsonl"])
    balance = {target.path: make_balance(target) for target in find_targets(outputs)}["exp/scored.jsonl"]
    # each of the ten recordings counts as two copies
    assert (balance.total, balance.kept) == (20, 12)
    assert balance.dropped == {"no-text": 2, "digits": 2, "longer-than-max-duration": 2}
    assert balance.not_selected == {"no-match": 2}
    assert balance.reconciles


def test_the_command_adds_up(there):
    output = ds2("ledger", "exp", "--reasons")
    assert "exp/scored.jsonl: 20 in = 12 kept + 6 dropped + 2 not selected" in output
    assert "       2  longer-than-max-duration  (featurize data/feats.jsonl)" in output
    assert any(line.split()[:6] == ["14", "12", "2", "0", "featurize", "x"] for line in output.splitlines())


def test_counts_that_do_not_agree_are_named(there):
    record = Path("data/some.jsonl.config.toml")
    before = record.read_text()
    try:
        record.write_text(before.replace("kept = 7", "kept = 9"))
        with pytest.raises(Ds2Error, match="2 sums with unaccounted utterances"):
            ds2("ledger", "data")
    finally:
        record.write_text(before)
    entry = {entry.out: entry for entry in make_entries(trace(["data"]))}["data/feats.jsonl"]
    assert entry.reconciles


@pytest.mark.parametrize("kept", ["", 'kept = "x"'])
def test_a_record_without_a_count_costs_only_its_own_sums(there, kept):
    record = Path("exp/emit.jsonl.config.toml")
    before = record.read_text()
    try:
        record.write_text(before.replace("kept = 12", kept))
        assert "exp/scored.jsonl: 12 in = 12 kept + 0 dropped\n" in ds2("ledger", "exp")
    finally:
        record.write_text(before)


def test_the_further_corpora_and_the_dev_set_of_a_training_count(there):
    ds2("data", "subset", "data/feats.jsonl", "more.jsonl", "--first", 4)
    Path("mixed.toml").write_text(SMALL + '[mix]\nmanifests = ["more.jsonl"]\nweights = [0.2]\n')
    ds2("data", "subset", "data/feats.jsonl", "rest.jsonl", "--without", "more.jsonl")
    ds2("train", "rest.jsonl", "mixed", "--config", "mixed.toml", "--dev", "more.jsonl")
    entry = next(entry for entry in make_entries(trace(["mixed"])) if entry.out == "mixed")
    assert (entry.expected, entry.total) == (16, 16)
    assert "unaccounted" not in ds2("ledger", "mixed")


def test_places_that_have_no_record(there):
    with pytest.raises(UsageError, match="nowhere: no such"):
        trace(["nowhere"])
    with pytest.raises(UsageError, match="no record of what it was made from"):
        trace(["small.toml"])


def explained(utterance, *places):
    return {(c.output.path, c.id): " | ".join(c.lines) for c in explain_utterance(utterance, trace([*places] or ["."]))}


def test_an_utterance_that_was_kept(there):
    found = explained("u4")
    assert found["data/all.jsonl", "u4"].startswith("recording wav/u4.wav: 1.40 s, 16000 Hz, 1 channel, level -20.")
    assert "text: 'text e', 4.3 characters/s" in found["data/all.jsonl", "u4"]
    assert found["data/some.jsonl", "u4"] == "kept"
    assert found["data/feats.jsonl", "u4"].startswith("features: 139 frames, data/feats/feats.1.ark:")
    assert "features: 15" in found["data/feats.jsonl", "sp0.9-u4"]
    assert found["exp/emit.jsonl", "u4"].startswith("emission: 70 steps")
    assert "seen in 2 epochs: loss " in found["exp", "sp0.9-u4"]
    assert "hypothesis: " in found["exp/greedy.jsonl", "u4"]
    assert "errors in 2 words" in found["exp/scored.jsonl", "u4"]


@pytest.mark.parametrize(
    ("utterance", "expected"),
    [
        ("u1", {("data/all.jsonl", "u1"): "dropped: no-text: no text file wav/u1.txt"}),
        ("u2", {("data/all.jsonl", "u2"): "dropped: digits: "}),
        (
            "u3",
            {
                ("data/feats.jsonl", "u3"): "dropped: longer-than-max-duration: 4.00 s",
                ("data/feats.jsonl", "sp0.9-u3"): "dropped: longer-than-max-duration: 4.44 s",
            },
        ),
    ],
)
def test_an_utterance_that_was_dropped(there, utterance, expected):
    found = explained(utterance)
    for place, start in expected.items():
        assert found[place].startswith(start)
    assert not any(path.startswith("exp") for path, _ in found)


def test_an_utterance_that_was_not_selected(there):
    found = explained("u9")
    assert found["data/some.jsonl", "u9"] == "not selected: no-match"
    assert [path for path, _ in found] == ["data/all.jsonl", "data/some.jsonl"]
    assert "data/some.jsonl (data subset)\n    not selected: no-match\n" in ds2("why", "u9")


def test_an_utterance_that_is_nowhere(there):
    output = CliRunner().invoke(app, ["why", "u77"])
    assert output.exit_code
    assert "u77" not in output.stdout


def test_a_missing_recording_and_archive_are_named(there):
    row = next(json.loads(line) for line in Path("data/feats.jsonl").read_text().splitlines() if '"u5"' in line)
    moved = {Path("wav/u5.wav"): Path("wav/elsewhere"), Path("data/feats/feats.1.ark"): Path("data/elsewhere")}
    for file, place in moved.items():
        file.rename(place)
    try:
        found = explained("u5")
        assert "recording wav/u5.wav: missing-audio: no file" in found["data/all.jsonl", "u5"]
        assert "features: missing-archive" in found["data/feats.jsonl", "u5"]
        assert row["num_frames"] > 0
    finally:
        for file, place in moved.items():
            place.rename(file)


def test_ids_that_belong_to_an_utterance():
    matches = id_matcher("a.b").fullmatch
    assert all(matches(i) for i in ("a.b", "sp0.9-a.b", "a.b-ch1", "a.b-000100-000250", "sp1.1-a.b-ch0"))
    assert not any(matches(i) for i in ("aXb", "a.b2", "xa.b", "a.b-1"))


def test_word_errors():
    assert describe_errors(["a", "b", "c"], ["a", "x", "c", "d"]) == "errors: b → x, +d"
    assert describe_errors(["a", "b"], ["a"]) == "errors: -b"
    assert describe_errors([], []) == "no word errors"


def test_the_losses_of_the_utterances_add_up_to_those_of_the_epochs(there):
    losses = read_losses("exp")
    texts = {row["id"]: row["text"] for row in map(json.loads, Path("data/feats.jsonl").read_text().splitlines())}
    assert losses.ids == list(texts)
    labels = sum(map(len, texts.values()))
    epochs = [json.loads(line)["loss"] for line in Path("exp/train.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(losses.nats.sum(axis=1) / labels, epochs, atol=1e-4)


def test_losses_in_words():
    nan = float("nan")
    assert describe_losses(np.array([3.0, nan, 1.5])) == "seen in 2 epochs: loss 3.00, 1.50 nats"
    assert describe_losses(np.array([nan, nan])) == "not seen in 2 epochs"
    assert describe_losses(np.arange(20.0)).endswith(
        "loss 0.00, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, …, 18.00, 19.00 nats"
    )


def test_suspects_of_the_training(there):
    output = ds2("data", "suspects", "exp", "--most", 3, "--score", 0, "--out", "suspects.jsonl")
    assert len(output.splitlines()) >= 4
    rows = list(map(json.loads, Path("suspects.jsonl").read_text().splitlines()))
    assert len(rows) == 12
    assert all("suspicion" in row and "loss" in row["evidence"] for row in rows)


def test_the_record_of_a_training_does_not_depend_on_how_its_folder_is_named(there, monkeypatch):
    ds2("train", "data/feats.jsonl", "slash/", "--config", "small.toml", "--set", "epochs=1")
    Path("inside").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir("inside")
        ds2("train", "../data/feats.jsonl", ".", "--config", "../small.toml", "--set", "epochs=1")
        assert ds2("status").startswith("fresh    .  (train)")
        ds2("data", "suspects", ".")
    for exp in ("slash", "slash/", "inside", "./inside"):
        assert ds2("status", exp).startswith(f"fresh    {exp.strip('./')}  (train)")
        assert "data/all.jsonl" in ds2("why", "u0", exp)
        ds2("data", "suspects", exp)


def test_a_training_without_its_network_is_partial_and_is_not_skipped(there):
    command = ["train", "data/feats.jsonl", "broken", "--config", "small.toml", "--set", "epochs=1"]
    ds2(*command)
    assert "fresh: nothing to do" in ds2(*command, "--if-stale")
    network = Path("broken/best.safetensors")
    network.write_bytes(network.read_bytes()[:-1])
    assert "broken/best.safetensors has" in ds2("status", "broken")
    network.unlink()
    assert ds2("status", "broken").startswith("partial  broken  (train)\n           broken/best.safetensors is missing")
    with pytest.raises(DataError, match="missing, although training is complete"):
        ds2(*command, "--if-stale")


def test_another_network_to_start_from_makes_a_training_stale(there):
    start = Path("start.safetensors")
    start.write_bytes(Path("exp/best.safetensors").read_bytes())
    Path("tokens.txt").write_bytes(Path("exp/tokens.txt").read_bytes())
    command = ["train", "data/feats.jsonl", "tuned", "--config", "small.toml", "--set", "epochs=1", "--init", start]
    ds2(*command)
    assert "fresh: nothing to do" in ds2(*command, "--if-stale")
    start.write_bytes(start.read_bytes()[:-4] + bytes(4))
    assert "--init start.safetensors has changed" in ds2("status", "tuned")


def test_the_same_command_from_another_folder_finds_everything_fresh(there, monkeypatch):
    ds2("lm", "data/feats.jsonl", "exp/lm.arpa", "--order", 2)
    ds2("featurize", "data/some.jsonl", "data/again.jsonl", "--dir", "data/again")
    ds2("emit", "exp", "data/feats.jsonl", "exp/two.jsonl", "--dir", "exp/two", "--ensemble", "exp")
    ds2("decode", "exp", "exp/two.jsonl", "exp/two.lm.jsonl", "--lm", "exp/lm.arpa")
    with monkeypatch.context() as patch:
        patch.chdir("exp")
        emit = ["emit", ".", "../data/feats.jsonl", "two.jsonl", "--ensemble", "../exp", "--if-stale"]
        for command in (
            ["featurize", "../data/some.jsonl", "../data/again.jsonl", "--dir", "../data/again", "--if-stale"],
            [*emit, "--dir", "two"],
            ["decode", ".", "two.jsonl", "two.lm.jsonl", "--lm", "lm.arpa", "--if-stale"],
        ):
            assert "is fresh: nothing to do" in ds2(*command)
        assert ds2("status", "two.lm.jsonl").startswith("fresh")
        assert "making two.jsonl: its archives are in two" in ds2(*emit, "--dir", "elsewhere")


def test_a_folder_with_symbols_for_a_network_may_have_the_results(there):
    Path("lab").mkdir()
    Path("lab/tokens.txt").write_bytes(Path("exp/tokens.txt").read_bytes())
    command = ["decode", "lab", "exp/emit.jsonl", "lab/greedy.jsonl", "--greedy"]
    ds2(*command)
    assert "is fresh: nothing to do" in ds2(*command, "--if-stale")
    Path("lab/tokens.txt").write_text(Path("lab/tokens.txt").read_text().replace("x", "z"))
    assert "EXP lab has changed" in ds2("status", "lab")


def test_a_file_that_replaced_an_input_is_no_input(there):
    ds2("data", "sort", "data/some.jsonl", "round/a.jsonl")
    ds2("data", "sort", "round/a.jsonl", "round/b.jsonl")
    ds2("data", "sort", "round/b.jsonl", "round/a.jsonl")
    ds2("data", "sort", "round/a.jsonl", "round/c.jsonl")
    assert "round/c.jsonl: 7 in = 7 kept + 0 dropped" in ds2("ledger", "round")
    assert "stale    round/c.jsonl" in ds2("status", "round")


def test_sums_begin_where_the_number_of_utterances_changes(there):
    ds2("data", "split", "data/feats.jsonl", "split/p.JOB.jsonl", "--parts", 2)
    ds2("data", "combine", "split/p.1.jsonl", "split/p.2.jsonl", "split/both.jsonl")
    ds2("decode", "exp", "split/p.1.jsonl", "split/greedy.jsonl", "--greedy")
    ds2("rover", "exp/greedy.jsonl", "exp/greedy.jsonl", "split/rover.jsonl")
    output = ds2("ledger", "split")
    assert "split/both.jsonl: 12 in = 12 kept + 0 dropped" in output
    assert "split/greedy.jsonl: 6 in = 6 kept + 0 dropped" in output
    assert "split/rover.jsonl: 12 in = 12 kept + 0 dropped" in output


def test_a_missing_ctm_is_written_again(there):
    command = ["align", "exp", "exp/emit.jsonl", "exp/words.jsonl", "--ctm", "exp/words.ctm", "--srt", "exp/srt"]
    ds2(*command)
    assert "is fresh: nothing to do" in ds2(*command, "--if-stale")
    Path("exp/words.ctm").unlink()
    assert "making exp/words.jsonl: exp/words.ctm does not exist" in ds2(*command, "--if-stale")
    assert Path("exp/words.ctm").exists()


def test_a_training_on_other_utterances_has_losses_of_its_own(there):
    ds2("train", "data/feats.jsonl", "twice", "--config", "small.toml", "--set", "epochs=1")
    Path("twice/last.pt").unlink()
    ds2("data", "subset", "data/feats.jsonl", "data/few.jsonl", "--first", 6)
    ds2("train", "data/few.jsonl", "twice", "--config", "small.toml", "--set", "epochs=1")
    assert len(read_losses("twice").ids) == 6
