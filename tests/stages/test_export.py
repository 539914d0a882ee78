"""Making bundles: what is taken from an experiment, and what is refused."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
import soundfile

from ds2cli.config.base import parse_toml
from ds2cli.config.export import ExportConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.experiment_files import CARD, LM, open_files
from ds2cli.lm.query import NgramLm
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import export


@pytest.fixture
def exp(shipped, tmp_path):
    """A copy of the experiment, to be changed."""
    shutil.copytree(shipped / "exp", tmp_path / "exp")
    return tmp_path / "exp"


@pytest.fixture
def clip(shipped):
    return str(shipped / "clip.wav")


@pytest.fixture
def exported(tmp_path):
    def run(exp, **options):
        bundle = export.run(ExportConfig(**options), str(exp), "ds2 export")
        out = tmp_path / "out.ds2"
        bundle.write(str(out))
        return bundle, open_files(out)

    return run


def test_the_language_model_of_the_tuning_is_found_next_to_the_experiment_and_converted(exp, exported, clip):
    bundle, files = exported(exp, clip=clip)
    assert not bundle.warnings and "language model: lm.arpa, 1-grams" in bundle.notes
    lm, original = NgramLm.load(files.path), NgramLm.load(str(exp / "lm.arpa"))
    assert lm.words == original.words and lm.sentence_log10("ab bé x") == original.sentence_log10("ab bé x")
    original.model.write(str(exp / "lm.bin"))
    assert (exp / "lm.bin").read_bytes() == files.read(LM)


def test_a_language_model_that_is_gone_or_not_tuned_with_is_warned_of(exp, exported, clip):
    (exp / "lm.arpa").rename(exp / "other.arpa")
    bundle, files = exported(exp, clip=clip)
    assert not files.has(LM) and "no language model (--lm FILE)" in bundle.notes
    assert bundle.warnings == [f"{exp}/decode.toml was tuned with elsewhere/lm.arpa, which is not there (--lm FILE)"]
    bundle, files = exported(exp, clip=clip, lm=str(exp / "other.arpa"))
    assert files.has(LM) and "was tuned with elsewhere/lm.arpa, not with other.arpa" in bundle.warnings[0]
    (exp / "decode.toml").unlink()
    bundle, files = exported(exp, clip=clip, lm=str(exp / "other.arpa"))
    assert bundle.warnings == [f"{exp} has no decode.toml: its search weights are the defaults (ds2 decode --tune)"]


def test_a_bare_network_is_enough(exp, exported, clip):
    bundle, files = exported(exp / "best.safetensors", clip=clip)
    assert [*files.members] == [CARD, "best.safetensors", "tokens.txt", "clip.wav", "clip.safetensors"]
    assert files.read("best.safetensors") == (exp / "best.safetensors").read_bytes()
    assert "no license (--license FILE)" in bundle.notes


def test_a_bundle_of_a_bundle_is_the_same_and_may_have_another_license(exp, exported, clip, shipped, tmp_path):
    source = str(shipped / "é x.ds2")
    bundle, files = exported(source)
    before = open_files(source)
    assert all(files.read(name) == before.read(name) for name in before.members if name != CARD)
    assert not bundle.warnings and {**files.card, "created": 0, "made_by": 0} == {
        **before.card,
        "created": 0,
        "made_by": 0,
    }
    (tmp_path / "terms").write_text("Ask first.\r\n")
    _, files = exported(source, license=str(tmp_path / "terms"))
    assert files.read("LICENSE.txt") == b"Ask first.\n" and files.has(LM)


def test_an_unpacked_bundle_is_an_experiment(shipped, tmp_path):
    with zipfile.ZipFile(shipped / "é x.ds2") as z:
        z.extractall(tmp_path / "unpacked")
    x = np.full((30, 81), -9, np.float32)
    found = [
        Experiment(str(p)).compute_emissions([x], lambda: None)[0] for p in (tmp_path / "unpacked", shipped / "exp")
    ]
    assert np.array_equal(*found)


def test_the_clip_is_a_short_one_of_the_dev_set_that_can_be_read(exp, exported, tmp_path):
    lengths = {"a": 0.5, "b": 1.6, "c": 1.2, "d": 1.1, "e": 12.0}
    rows = []
    for name, seconds in lengths.items():
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(0).normal(size=int(8000 * seconds)), 8000)
        rows.append({"id": name, "audio_filepath": f"{name}.wav", "duration": seconds, "text": name, "lang": "tr"})
    (tmp_path / "d.wav").write_bytes(b"damaged")
    dev = tmp_path / "d ev.jsonl"
    dev.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (exp / "config.toml").write_text(f"[made_by]\ncommand = \"ds2 train t.jsonl exp --dev '{dev}' --seed 1\"\n")
    bundle, files = exported(exp)
    assert files.card["clip"] == {"source": "c.wav", "seconds": 1.2, "text": "c", "lang": "tr"}
    assert files.card["text"] == {"lang": "tr", "profile": "turkic"}
    assert "clip: c.wav (1.2 s), which becomes part of the bundle" in bundle.notes
    # only shorter ones: the longest of them
    dev.write_text("".join(json.dumps(row) + "\n" for row in rows[:1]))
    assert exported(exp)[1].card["clip"]["source"] == "a.wav"
    # the dev manifest of `decode --tune`, if that of `ds2 train` no longer exists
    (exp / "config.toml").write_text("[made_by]\ncommand = 3\n")
    (exp / "align.toml").write_text(f"[made_by]\nmade_on = '{dev}'\n")
    assert exported(exp)[1].card["clip"]["source"] == "a.wav"
    dev.write_text("{}\nbad\n")
    with pytest.raises(UsageError, match=r"no recording of a dev set of .* was found \(--clip WAV: "):
        exported(exp)


def test_a_clip_that_cannot_be_used_is_refused(exp, exported, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.zeros(31 * 8000), 8000)
    soundfile.write(tmp_path / "short.wav", np.zeros(3), 8000)
    (tmp_path / "text.wav").write_text("hello")
    for name, message in (
        ("long", "31.0 s, expected at most 30 s"),
        ("short", "samples"),
        ("text", "text.wav"),
        ("none", "none.wav"),
    ):
        with pytest.raises(DataError, match=message):
            exported(exp, clip=str(tmp_path / f"{name}.wav"))


def test_silence_is_a_clip_too(exp, exported, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 8000)
    _, files = exported(exp, clip=str(tmp_path / "silence.wav"))
    Experiment(files.path, avoid_torch=True).compute_emissions([np.zeros((9, 81), np.float32)], lambda: None)


@pytest.mark.parametrize(
    "name, content, error",
    [
        ("decode.toml", "alpha = 'x'\n", UsageError),
        ("decode.toml", "nbest = 3\n", UsageError),
        ("align.toml", "shift_ms = \n", UsageError),
        ("filter.toml", "threshold = 3\n", DataError),
        ("best.safetensors", "damaged", DataError),
        ("lm.arpa", "damaged", DataError),
    ],
)
def test_a_damaged_file_of_the_experiment_is_refused(exp, exported, clip, name, content, error):
    (exp / name).write_text(content)
    with pytest.raises(error):
        exported(exp, clip=clip)


def test_a_filter_of_another_network_is_refused(exp, exported, clip):
    text = (exp / "filter.toml").read_text()
    made_by = parse_toml(text.encode(), "x")["made_by"]["network"]
    (exp / "filter.toml").write_text(text.replace(made_by, "0" * 16))
    with pytest.raises(DataError, match="fitted to another network"):
        exported(exp, clip=clip)


def test_a_language_model_that_does_not_fit_the_network_is_refused(exp, exported, clip):
    lm = (exp / "lm.arpa").read_text().replace("ab", "XY").replace("bé", "ZZ")
    (exp / "lm.arpa").write_text(lm)
    with pytest.raises(DataError, match="the network cannot write"):
        exported(exp, clip=clip)


def test_a_license_that_is_no_text_is_refused(exp, exported, clip, tmp_path):
    for name, content in (
        ("a", b"\x80abc"),
        ("d", b"%PDF-1.4\n\0\1\2"),
        ("e", b"PK\3\4\0\0"),
        ("b", b" \n"),
        ("c", b"x" * ((1 << 20) + 1)),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError):
            exported(exp, clip=clip, license=str(tmp_path / name))
    with pytest.raises(DataError, match="no such file"):
        exported(exp, clip=clip, license=str(tmp_path / "none"))


def test_features_that_cannot_be_computed_are_refused(toy, tmp_path, exported, clip):
    import torch

    from ds2cli.config.model import ModelConfig
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.text.vocab import BLANK, Vocab

    config, vocab = (
        ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8),
        Vocab((BLANK, "a")),
    )
    torch.manual_seed(0)
    data = dump_model(DeepSpeech2(config, 2, 20).state_dict(), config, vocab, {"hop_ms": 10.0}, {})
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(DataError, match=r"trained on features of 20 bins, .* \(train with --features FILE\)"):
        exported(tmp_path / "x.safetensors", clip=clip)
