"""Fuzz what training wrote: damaged weights and states, metadata of any kind, and a training that resumes from them."""

import functools
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from fuzzing import allowed_errors, fuzz
from hypothesis import strategies as st
from inputs import JSON, damaged

from ds2cli import manifest
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.nn.checkpoint import dump_model, load_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.runtime.file import BEST
from ds2cli.stages import train
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.data import prepare_job
from ds2cli.train.resume import LAST, dump_checkpoint, load_checkpoint

VOCAB = Vocab((BLANK, " ", "a", "é"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}
ABOUT = ("format", "model", "symbols", "pieces", "features", "made")
SMALL = {
    "epochs": 2,
    "batch_s": 10.0,
    "model": {"channels": [8], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 8},
}


@functools.cache
def network():
    torch.manual_seed(0)
    return dump_model(DeepSpeech2(CONFIG, 4, 20).state_dict(), CONFIG, VOCAB, FEATURES, {"epoch": 7})


def open_network():
    """Open a network in both ways."""
    with allowed_errors():
        open_vocab(".")
    with allowed_errors():
        trained = load_model(".")
        assert trained.bins and len(trained.vocab)


@fuzz(st.data())
def test_damaged_weights(data):
    Path(BEST).write_bytes(data.draw(damaged(network())))
    open_network()


@fuzz(
    st.one_of(
        st.dictionaries(st.sampled_from(ABOUT), JSON, max_size=3),
        st.dictionaries(st.sampled_from([*CONFIG.__dataclass_fields__, "x"]), JSON, max_size=3).map(
            lambda values: {"model": {**CONFIG.to_saved(), **values}}
        ),
        st.lists(JSON, max_size=5).map(lambda values: {"symbols": [BLANK, *values]}),
        st.dictionaries(st.sampled_from(list(FEATURES)), JSON).map(lambda values: {"features": {**FEATURES, **values}}),
    ),
    st.booleans(),
)
def test_any_metadata(values, only_these):
    data = network()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    about = {} if only_these else json.loads(header["__metadata__"]["ds2cli"])
    header["__metadata__"]["ds2cli"] = json.dumps({**about, **values})
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    Path(BEST).write_bytes(struct.pack("<Q", len(packed)) + packed + data[8 + size :])
    open_network()


class Trained(NamedTuple):
    """A training job and its checkpoint after the first epoch; a failure does not print them."""

    job: Any
    checkpoint: Any

    def __repr__(self):
        return "Trained(…)"


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory):
    exp = tmp_path_factory.mktemp("fuzz-exp")
    rows = list(manifest.read(str(toy / "train.jsonl")))[:6]
    job = prepare_job(
        build(TrainConfig, ("test", SMALL)), rows, None, str(exp), FeatureConfig().features(), Ledger(), None
    )
    for _ in train.run(job, str(exp)):
        if load_checkpoint(exp):
            break
    return Trained(job, load_checkpoint(exp))


def resume(job):
    """Resume training in the current folder, up to its first event."""
    with allowed_errors():
        events = train.run(job, ".")
        try:
            next(events, None)
        finally:
            events.close()


@fuzz(st.data())
def test_damaged_states(trained, data):
    job, checkpoint = trained
    Path(LAST).write_bytes(data.draw(damaged(dump_checkpoint(checkpoint))))
    with allowed_errors():
        if load_checkpoint("."):
            resume(job)


@fuzz(
    st.one_of(
        st.tuples(st.sampled_from(["model", "optimizer", "average", "at", "config", "train", "features"]), JSON),
        st.tuples(
            st.just("at"), st.dictionaries(st.sampled_from(["epoch", "batch", "step", "kept", "best", "x"]), JSON)
        ),
        st.tuples(st.just("optimizer"), st.dictionaries(st.sampled_from(["state", "param_groups"]), JSON)),
    ),
    st.sampled_from(["replace", "update", "delete"]),
)
def test_states_of_another_content(trained, change, how):
    job, checkpoint = trained
    name, value = change
    checkpoint = dict(checkpoint)
    if how == "delete":
        checkpoint.pop(name, None)
    elif how == "update" and isinstance(value, dict) and isinstance(checkpoint.get(name), dict):
        checkpoint[name] = {**checkpoint[name], **value}
    else:
        checkpoint[name] = value
    Path(LAST).write_bytes(dump_checkpoint(checkpoint))
    resume(job)
