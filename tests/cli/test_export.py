"""`ds2 export`, and its bundle in place of EXP in every command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.archive import read_matrix


@pytest.fixture(scope="module")
def rows(shipped):
    """A manifest of clips with texts of the network's letters, in two lengths."""
    path = shipped / "rows.jsonl"
    made = []
    for i, seconds in enumerate((0.6, 1.5)):
        wav = shipped / f"r{i}.wav"
        soundfile.write(wav, 0.1 * np.random.default_rng(i).normal(size=int(8000 * seconds)), 8000)
        made.append({"id": f"r{i}", "audio_filepath": str(wav), "duration": seconds, "text": "ab bé"})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    return str(path)


@pytest.fixture(scope="module")
def feats(shipped, rows):
    """The same rows with features."""
    from ds2cli import manifest
    from ds2cli.archive import ArkWriter
    from ds2cli.audio.recording import parse_recording, read_samples
    from ds2cli.config.features import FeatureConfig
    from ds2cli.feats import kinds

    settings, found = FeatureConfig(sample_rate=8000), []
    with ArkWriter(shipped / "rows.ark") as ark:
        for row in manifest.read(rows):
            x = kinds.compute(read_samples(parse_recording(row), 8000), settings)
            found.append({**row, "feats": ark.write(row["id"], x), "num_frames": len(x)})
    manifest.write(str(shipped / "feats.jsonl"), found)
    return str(shipped / "feats.jsonl")


@pytest.fixture
def both(shipped):
    return str(shipped / "exp"), str(shipped / "é x.ds2")


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_a_bundle_is_written_whole_and_described(ds2, shipped, tmp_path):
    args = ("export", shipped / "exp", "out é.ds2", "--clip", shipped / "clip.wav", "--license", shipped / "LICENSE")
    done = ds2(*args, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert done.stderr.splitlines()[:3] == [
        "export: language model: lm.arpa, 1-grams",
        f"export: license: {shipped / 'LICENSE'}",
        "export: clip: clip.wav (0.8 s), which becomes part of the bundle",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["out é.ds2"]
    shown = ds2("model", "show", "out é.ds2", cwd=tmp_path)
    assert shown.returncode == 0 and "lm.bin" in shown.stdout and "lm.arpa" in shown.stdout, shown.stderr
    data = bytearray((tmp_path / "out é.ds2").read_bytes())
    data[data.rindex(b"ab\0b") + 1] ^= 1
    (tmp_path / "bad.ds2").write_bytes(data)
    assert ds2("model", "show", "bad.ds2", cwd=tmp_path).returncode == 3
    info = ds2("lm", "info", "out é.ds2", cwd=tmp_path)
    assert "KenLM binary (probing) in a bundle" in info.stdout and "2, most likely: ab bé" in info.stdout


def test_usage(ds2, shipped, tmp_path):
    exp, clip = shipped / "exp", shipped / "clip.wav"
    for args, message in (
        ((exp, "out.zip", "--clip", clip), "expected a name that ends in .ds2, got out.zip"),
        ((exp, "out.ds2"), "no recording of a dev set"),
        (("none", "out.ds2"), "no trained network found"),
        (("none.ds2", "out.ds2"), "none.ds2: no such file (ds2 export EXP none.ds2 writes it)"),
        ((exp, "out.ds2", "--streaming"), "--streaming"),
        ((exp, "out.onnx", "--onnx", "--clip", clip), "--clip"),
    ):
        done = ds2("export", *args, cwd=tmp_path)
        assert done.returncode in (2, 3) and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_the_same_emissions_texts_times_and_scores(ds2, both, feats, tmp_path):
    found = {}
    for name, exp in zip(("folder", "bundle"), both, strict=True):
        lm = ("--lm", f"{both[0]}/lm.arpa") if name == "folder" else ()
        out = tmp_path / name
        out.mkdir()
        for args in (
            ("emit", exp, feats, out / "emit.jsonl", "--dir", out),
            ("align", exp, feats, out / "align.jsonl"),
            ("decode", exp, feats, out / "decode.jsonl", "--timestamps", "--nbest", 3, *lm),
            ("decode", exp, feats, out / "greedy.jsonl", "--greedy"),
            ("filter", exp, feats, out / "filter.jsonl", "--keep-all"),
        ):
            done = ds2(*args)
            assert done.returncode == 0, done.stderr
        if name == "bundle":
            assert f"decode: {exp}, alpha 0.25, beta 2, " in ds2("decode", exp, feats, "-").stderr
        why = ds2("score", out / "decode.jsonl", "--why", exp)
        assert why.returncode == 0, why.stderr
        emissions = [read_matrix(row["emission"], row["id"]).tolist() for row in lines_of(out / "emit.jsonl")]
        rows = [lines_of(out / f"{kind}.jsonl") for kind in ("align", "decode", "greedy", "filter")]
        found[name] = emissions, rows, why.stdout
    assert found["folder"] == found["bundle"]


def test_the_same_transcripts_and_another_language_model(ds2, both, shipped, tmp_path):
    wav = shipped / "clip.wav"
    lm = shipped / "exp" / "lm.arpa"
    with_lm = [ds2("transcribe", exp, wav, *args) for exp, args in zip(both, (("--lm", lm), ()), strict=True)]
    without = [ds2("transcribe", exp, wav, "--greedy") for exp in both]
    for first, second in (with_lm, without):
        assert first.returncode == second.returncode == 0 and first.stdout == second.stdout, second.stderr
    other = tmp_path / "other.arpa"
    other.write_text(lm.read_text().replace("ab", "éé"))
    given = [ds2("transcribe", exp, wav, "--lm", other, "--json") for exp in both]
    assert given[0].stdout == given[1].stdout and given[1].returncode == 0, given[1].stderr
    assert "was tuned with elsewhere/lm.arpa, not with" in given[1].stderr


def test_a_bundle_without_a_language_model_searches_without_one(ds2, shipped, both, tmp_path):
    done = ds2("export", shipped / "exp" / "best.safetensors", "x.ds2", "--clip", shipped / "clip.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [ds2("transcribe", exp, shipped / "clip.wav", "--json") for exp in (both[0], tmp_path / "x.ds2")]
    assert found[0].stdout == found[1].stdout and found[1].returncode == 0
    done = ds2("transcribe", tmp_path / "x.ds2", shipped / "clip.wav", "--lm", tmp_path / "x.ds2")
    assert done.returncode == 3 and "this bundle has no language model (ds2 export --lm FILE adds one)" in done.stderr
    done = ds2("transcribe", tmp_path / "x.ds2", shipped / "clip.wav", "--alpha", 1)
    assert done.returncode == 2 and "--alpha only applies with a language model" in done.stderr


def test_commands_that_change_an_experiment_refuse_a_bundle(ds2, both, feats):
    for args in (
        ("decode", "--tune", both[1], feats, "--lm", f"{both[0]}/lm.arpa"),
        ("align", "--tune", both[1], feats),
        ("filter", "--fit", both[1], feats),
        ("train", feats, both[1]),
    ):
        done = ds2(*args)
        assert done.returncode == 2 and "is a bundle, which is not changed (use the experiment" in done.stderr
        assert done.stderr.count("\n") == 1


def test_training_starts_from_a_bundle(ds2, both, feats, tmp_path):
    size = ("--set", "model.channels=[8]", "--set", "model.kernels=[5]", "--set", "model.strides=[2]")
    size += ("--set", "model.rnn_layers=1", "--set", "model.rnn_size=8")
    features = tmp_path / "f.toml"
    features.write_text("sample_rate = 8000\n")
    done = ds2("train", feats, tmp_path / "exp", "--init", both[1], "--epochs", 1, *size, "--features", features)
    assert done.returncode == 0 and "takes 17 of 17 weights" in done.stderr, done.stderr
