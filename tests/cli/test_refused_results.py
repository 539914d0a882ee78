"""A command whose result is refused leaves OUT, its archives, settings and dropped rows as the run before it did."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from ds2cli.cli.main import app
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.errors import Ds2Error
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

pytestmark = pytest.mark.long


def ds2(*arguments):
    """Run a command in this process; returns its result, whose exception is a refusal."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def contents(folder):
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    # what is finished is kept for the same command with another limit
    return {name: path.read_bytes() for name, path in files.items() if ".unfinished/" not in name}


@pytest.fixture
def place(tmp_path, monkeypatch, jsonl):
    """The current folder: rows and texts that are good, and the same with more bad ones than are allowed."""
    monkeypatch.chdir(tmp_path)
    rng, rows = np.random.default_rng(0), []
    for name in "abcd":
        soundfile.write(f"{name}.wav", rng.normal(scale=0.1, size=8000), 16000)
        rows.append({"id": name, "audio_filepath": f"{name}.wav", "duration": 0.5, "text": "a b", "pred_text": "a"})
    jsonl("good.jsonl", [*rows, {"id": "e", "text": "b", "pred_text": "b"}])
    jsonl("bad.jsonl", [rows[0], *({"id": name, "text": "a 1", "audio_filepath": "no.wav"} for name in "bcd")])
    (tmp_path / "bad.jsonl").write_text((tmp_path / "bad.jsonl").read_text() + "not json\n" * 5)
    texts = ["one two three", "two three one", "three one two", "one three", "two"]
    (tmp_path / "good.txt").write_text("\n".join([*texts * 3, "9"]))
    (tmp_path / "bad.txt").write_bytes(b"one two three\ncaf\xe9 one\ntwo \xff\n")
    (tmp_path / "out").mkdir()
    return tmp_path


def check_refused(place, command, good, bad, *options, out="x"):
    """Run a command on good input, then refused on bad input; returns the list of dropped rows of the second."""
    done = ds2(*command, good, f"out/{out}", "--max-bad", "40", *options)
    assert done.exception is None, done.exception
    before = contents(place / "out")
    assert {out, f"{out}.config.toml"} <= before.keys()
    refused = ds2(*command, bad, f"out/{out}", "--max-bad", "0", *options)
    assert isinstance(refused.exception, Ds2Error), refused.output
    after = contents(place / "out")
    listed = after.pop(f"{out}.refused.jsonl")
    assert after == before and f"see out/{out}.refused.jsonl" in refused.stderr
    assert ds2(*command, good, f"out/{out}", "--max-bad", "40", *options).exception is None
    assert contents(place / "out").keys() == before.keys()
    return [json.loads(line) for line in listed.splitlines()]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["data", "sort"], []),
        (["data", "fix"], []),
        (["data", "subset"], ["--first", "2"]),
        (["data", "combine"], []),
        (["score"], []),
        (["featurize"], ["--nj", "1"]),
    ],
    ids=" ".join,
)
def test_rows(place, command, options):
    assert len(check_refused(place, command, "good.jsonl", "bad.jsonl", *options)) >= 5


def test_a_language_model(place):
    assert len(check_refused(place, ["lm"], "good.txt", "bad.txt", "--order", "2", out="x.arpa")) == 2


def test_a_language_model_without_text_or_with_a_dev_set_of_no_use(place):
    assert ds2("lm", "good.txt", "out/x.arpa", "--order", "2", "--max-bad", "40").exception is None
    before = contents(place / "out")
    (place / "empty.txt").write_text("\n")
    for text, options in (("empty.txt", []), ("good.txt", ["--dev", "empty.txt", "--max-bad", "40"])):
        assert isinstance(ds2("lm", text, "out/x.arpa", "--order", "2", *options).exception, Ds2Error)
        after = contents(place / "out")
        after.pop("x.arpa.refused.jsonl", None)
        assert after == before


def test_an_interpolated_model(place):
    assert ds2("lm", "good.txt", "a.arpa", "--order", "2", "--max-bad", "40").exception is None
    command = ["lm", "mix", "a.arpa", "a.arpa", "out/x.arpa"]
    assert ds2(*command, "--dev", "good.txt", "--max-bad", "40").exception is None
    before = contents(place / "out")
    assert isinstance(ds2(*command, "--dev", "bad.txt", "--max-bad", "0").exception, Ds2Error)
    after = contents(place / "out")
    after.pop("x.arpa.refused.jsonl")
    assert after == before


@pytest.mark.parametrize("parts", [3, 101])
def test_a_split_that_cannot_be_written(place, jsonl, parts, monkeypatch):
    jsonl("rows.jsonl", [{"id": f"{i:03}"} for i in range(202)])
    jsonl("others.jsonl", [{"id": f"{i:03}", "text": "b"} for i in range(202)])
    command = ["out/x.JOB", "--parts", parts]
    assert ds2("data", "split", "rows.jsonl", *command).exception is None
    before = contents(place / "out")
    (place / "out" / "x.all.config.toml").unlink()
    (place / "out" / "x.all.config.toml").mkdir()
    assert "this is a folder" in str(ds2("data", "split", "others.jsonl", *command).exception)
    changed = sum(before[name] != data for name, data in contents(place / "out").items())
    assert changed == (0 if parts == 3 else 2 * 101)  # with their records


@pytest.mark.parametrize(("command", "options"), [
    (["emit", "exp"], []),
    (["decode", "exp"], ["--greedy", "--emissions", "out/e"]),
    (["align", "exp"], ["--ctm", "out/x.ctm"]),
], ids=["emit", "decode", "align"])  # fmt: skip
def test_what_a_network_computes(place, jsonl, command, options):
    vocab, config = (
        Vocab((BLANK, " ", "a", "b")),
        ModelConfig(channels=(4,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=4),
    )
    torch.manual_seed(0)
    network = DeepSpeech2(config, len(vocab), 161)
    (place / "exp").mkdir()
    vocab.save(place / "exp" / "tokens.txt")
    (place / "exp" / BEST).write_bytes(dump_model(network.state_dict(), config, vocab, FeatureConfig().features(), {}))
    assert ds2("featurize", "good.jsonl", "feats.jsonl", "--max-bad", "40").exception is None
    rows = [json.loads(line) for line in (place / "feats.jsonl").read_text().splitlines()]
    jsonl("broken.jsonl", [rows[0], *({**row, "feats": "no.ark:3"} for row in rows[1:])])
    assert len(check_refused(place, command, "feats.jsonl", "broken.jsonl", *options)) == 3
