"""Fuzz bundles: damaged ones, those whose damaged members have the right hash again, and archives of any names."""

import functools
import hashlib
import io
from pathlib import Path

import numpy as np
import tomli_w
import torch
from fuzzing import allowed_errors, ds2, fuzz, in_child
from hypothesis import strategies as st
from inputs import JSON, NAMES, damaged

from ds2cli.config.base import parse_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.export import ExportConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.experiment_files import CARD, LIMITS, open_files
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.bundle import encode_clip
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.timing import read_timing
from ds2cli.recognizer.transcript_filter import load_filter
from ds2cli.stages import export
from ds2cli.stored_zip import write_stored
from ds2cli.text.vocab import BLANK, Vocab

SETTINGS = FeatureConfig(sample_rate=8000)
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
VOCAB = Vocab((BLANK, " ", "a", "é"))
LM = "\\data\\\nngram 1=4\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\n-1\t</s>\n-0.3\taé\n\n\\end\\\n"


@functools.cache
def parts():
    """The members of a bundle: names and contents."""
    torch.manual_seed(0)
    network = DeepSpeech2(CONFIG, len(VOCAB), 81)
    Path("exp").mkdir()
    data = dump_model(network.state_dict(), CONFIG, VOCAB, SETTINGS.features(), {})
    Path("exp/best.safetensors").write_bytes(data)
    Path("exp/lm.arpa").write_text(LM)
    Path("exp/decode.toml").write_text('alpha = 0.5\n[made_by]\nlm = "exp/lm.arpa"\n')
    Path("exp/align.toml").write_text("shift_ms = 3.0\n")
    samples = np.random.default_rng(0).normal(0, 0.1, 2000).astype(np.float32)
    Path("clip.wav").write_bytes(encode_clip(samples, 8000))
    options = ExportConfig(clip="clip.wav", license="exp/lm.arpa")
    return {name: bytes(b"".join(content)) for name, content in export.run(options, "exp", "ds2 export").members}


def archive(contents):
    out = io.BytesIO()
    write_stored(out, [(name, [memoryview(content)]) for name, content in contents])
    return out.getvalue()


def use(path):
    """Open a bundle in every way; what it says is an error, or that it is usable."""
    with allowed_errors():
        open_files(path)
    with allowed_errors():
        read_timing(path)
    with allowed_errors():
        load_filter(path)
    with allowed_errors():
        experiment = Experiment(path, avoid_torch=True)
        search = build_search(resolve_settings(DecodeConfig(), path), experiment)
        (found,) = experiment.compute_emissions([np.full((20, 81), -9, np.float32)], lambda: None)
        assert isinstance(search(found)[0].text, str)


@fuzz(st.data())
def test_damaged_bundles(data):
    Path("x.ds2").write_bytes(data.draw(damaged(archive(parts().items()))))
    use("x.ds2")
    Path("a.wav").write_bytes(parts()["clip.wav"])
    assert ds2("transcribe", "x.ds2", "a.wav", "--greedy").status in (0, 2, 3)


@fuzz(st.data(), st.sampled_from(sorted(LIMITS)))
def test_damaged_members_with_the_right_hash(data, name):
    """Whoever makes a bundle can write any hash: what reads the members has to stand anything."""
    contents = {**parts(), name: data.draw(damaged(parts().get(name, b"bytes of a model")))}
    if name != CARD:
        card = parse_toml(contents[CARD], CARD)
        members = {k: {"size": len(v), "sha256": hashlib.sha256(v).hexdigest()} for k, v in contents.items()}
        contents[CARD] = tomli_w.dumps({**card, "members": {k: v for k, v in members.items() if k != CARD}}).encode()
    Path("x.ds2").write_bytes(archive(contents.items()))
    in_child(use, "x.ds2")
    assert ds2("model", "show", "x.ds2").status in (0, 2, 3)


@fuzz(st.dictionaries(st.sampled_from(["format", "members", "ds2cli", "clip", "lm", "created"]) | NAMES, JSON))
def test_any_card(values):
    card = parse_toml(parts()[CARD], CARD)
    kept = {name: value for name, value in values.items() if _is_toml(value)}
    contents = {**parts(), CARD: tomli_w.dumps({**card, **kept}).encode("utf-8", "replace")}
    Path("x.ds2").write_bytes(archive(contents.items()))
    use("x.ds2")
    assert ds2("model", "show", "x.ds2").status in (0, 3)


def _is_toml(value):
    if isinstance(value, dict):
        return all(map(_is_toml, value.values()))
    if isinstance(value, list):
        return all(map(_is_toml, value))
    return value is not None


@fuzz(st.lists(st.tuples(st.sampled_from(sorted(LIMITS)) | NAMES | st.sampled_from(["../x", "/x", ""]), st.binary())))
def test_archives_of_any_names(members):
    with allowed_errors():
        Path("x.ds2").write_bytes(archive(members))
        open_files("x.ds2")
    assert sorted(path.name for path in Path().iterdir()) == ["x.ds2"]
