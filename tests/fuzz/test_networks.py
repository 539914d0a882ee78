"""Fuzz the commands that run or train a network: recordings of any content, and training rows of any content."""

import functools
import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from fuzzing import allowed_errors, check_counts, check_message, ds2, fuzz
from hypothesis import strategies as st
from inputs import JSON, NUMBERS, TEXTS, damaged

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.feats import kinds
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.data import prepare_job

SETTINGS = FeatureConfig()
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


@functools.cache
def network():
    torch.manual_seed(0)
    model = DeepSpeech2(CONFIG, 4, kinds.num_bins(SETTINGS))
    return dump_model(model.state_dict(), CONFIG, Vocab((BLANK, " ", "a", "é")), SETTINGS.features(), {"epoch": 7})


@functools.cache
def recording():
    soundfile.write("x.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    return Path("x.wav").read_bytes()


NAMES = st.sampled_from(["a.wav", "a.mp3", "b c.flac", "é.wav", "a-b.wav", "b.txt", "c", "d.raw", ".e.wav", "-.wav"])


@fuzz(st.dictionaries(NAMES, st.sampled_from(["whole", "damaged", "short", "text", "folder"]), max_size=5), st.data())
def test_transcribing_any_files(things, data):
    Path("exp").mkdir()
    Path("exp/best.safetensors").write_bytes(network())
    Path("in").mkdir()
    for name, kind in things.items():
        file = Path("in", name)
        if kind == "folder":
            file.mkdir()
        else:
            contents = {
                "whole": recording(),
                "short": recording()[: 44 + data.draw(st.integers(0, 700))],
                "text": b"a\n",
            }
            file.write_bytes(contents[kind] if kind in contents else data.draw(damaged(recording())))
    as_files = data.draw(st.booleans())
    sources = [f"in/{name}" for name in things] or ["missing.wav"] if as_files else ["in"]
    run = ds2("transcribe", "exp", *sources, "--json", "--greedy", "--max-bad", 100, "--dropped", "dropped.jsonl")
    kept = [json.loads(line) for line in run.stdout.splitlines()]
    if run.status == 0 and as_files and "folder" not in things.values():
        dropped = Path("dropped.jsonl").read_text().count("\n")
        assert len(kept) + dropped == len(sources), str(run)


def archive():
    """An archive of two matrices; the references to both, and to none."""
    with ArkWriter("x.ark") as ark:
        refs = [ark.write(f"u{i}", np.random.default_rng(i).normal(size=(60, 20)).astype(np.float32)) for i in range(2)]
    return [*refs, "x.ark:0", "x.ark:9999", "y.ark:3"]


ROWS = st.fixed_dictionaries(
    {"text": st.one_of(st.sampled_from(["a", "a b", "ab é"]), TEXTS, JSON), "feats": st.integers(0, 4)},
    optional={
        "duration": st.one_of(st.floats(0.1, 2), NUMBERS),
        "num_frames": st.one_of(st.just(60), NUMBERS, JSON),
        "audio_filepath": st.sampled_from(["x.wav", "missing.wav"]),
        "lang": JSON,
        "speed": NUMBERS,
        "offset": NUMBERS,
    },
)
SMALL = {"batch_s": 10.0, "model": {"channels": [8], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 8}}


@fuzz(st.lists(ROWS, max_size=5), st.lists(ROWS, max_size=3), st.booleans(), st.booleans())
def test_training_rows(rows, dev, has_features, has_dev):
    refs = archive()
    for name, part in (("train.jsonl", rows), ("dev.jsonl", dev)):
        for i, row in enumerate(part):
            row = {**row, "id": f"u{i}", "feats": refs[row["feats"]] if has_features else None}
            part[i] = row
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in part))
    ledger, needs, config = Ledger(), ("id", "text"), build(TrainConfig, ("test", SMALL))
    with allowed_errors():
        train_rows = manifest.read("train.jsonl", needs, ledger)
        dev_rows = manifest.read("dev.jsonl", needs) if has_dev else None
        job = prepare_job(config, train_rows, dev_rows, "exp", SETTINGS.features(), ledger, None, check_message)
        assert ledger.kept + ledger.dropped == len(rows) + (len(dev) if has_dev else 0), ledger.summary()
        assert len(job.train) + len(job.dev) == ledger.kept


@fuzz(st.data(), st.integers(1, 3))
def test_emissions_of_damaged_features(data, chunk):
    with ArkWriter("x.ark", data.draw(st.booleans())) as ark:
        bins = kinds.num_bins(SETTINGS)
        refs = [ark.write(f"u{i}", np.full((10 * i + 3, bins), -3, np.float32)) for i in range(3)]
    Path("x.ark").write_bytes(data.draw(damaged(Path("x.ark").read_bytes())))
    Path("best.safetensors").write_bytes(network())
    rows = [{"id": f"u{i}", "text": "a", "feats": ref, "num_frames": 10 * i + 3} for i, ref in enumerate(refs)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:chunk]))
    run = ds2("emit", ".", "in.jsonl", "out.jsonl", "--max-bad", 100)
    check_counts(run, "out.jsonl", chunk)
