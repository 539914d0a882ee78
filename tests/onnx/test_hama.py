"""A CTC network of others: hama's recognizer of phonemes (Apache-2.0), in its package as an ONNX model of samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from ds2cli.cli.main import app

hama = pytest.importorskip("hama")
ASSETS = Path(hama.__file__).parent / "assets"
MODEL = ASSETS / "asr_waveform_fp16.onnx"
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not MODEL.exists(), reason="this version of hama has no ONNX model (pip install 'hama<1.4')"),
]


@pytest.fixture
def tokens(tmp_path):
    """The list of its symbols: those of its vocabulary, the end of a word, and the blank, as its code appends them."""
    symbols = json.loads((ASSETS / "g2p_vocab.json").read_text("utf-8"))["decoder"]
    assert symbols[:4] == ["<pad>", "<sos>", "<eos>", "<unk>"] and symbols[4] == " "
    lines = [*symbols[:4], "<unused>", *symbols[5:], "<space>", "<blank>"]
    (tmp_path / "hama.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return tmp_path / "hama.txt"


def test_its_greedy_texts_are_those_of_its_own_package(shared_data, tokens, tmp_path, monkeypatch, jsonl, capsys):
    from hama import ASRDecodeConfig, ASRModel

    from ds2cli.audio.recording import Recording, read_samples

    files = sorted((shared_data / "LibriSpeech").rglob("*.flac"))[:3]
    if not files:
        pytest.skip("no recordings of LibriSpeech")
    monkeypatch.chdir(tmp_path)
    jsonl("in.jsonl", [{"id": file.stem, "audio_filepath": str(file)} for file in files])
    run = typer.main.get_command(app).main
    run(["emit", "--onnx", str(MODEL), "in.jsonl", "emit.jsonl", "--tokens", str(tokens)], standalone_mode=False)
    said = capsys.readouterr().err
    # blank last of 191; 160 samples per frame, 2 frames per step
    assert "samples, 191 symbols, 20 ms per step" in said
    assert "left out, as they cannot be in texts: <pad>, <sos>, <eos>, <unk>, <unused>" in said
    run(["decode", "--greedy", "emissions", "emit.jsonl", "out.jsonl", "--timestamps"], standalone_mode=False)
    theirs = ASRModel(decode=ASRDecodeConfig(temperature=1.0, blank_bias=0.0))
    for row, file in zip(jsonl("out.jsonl"), files, strict=True):
        result = theirs(read_samples(Recording(str(file)), 16000), 16000)
        expected = [word.replace(" ", "") for word in result.word_phoneme_text.split(" | ")]
        assert row["pred_text"].split() == expected and len(expected) > 5
        assert row["num_steps"] == result.num_frames
        assert 0 < row["pred_words"][0]["start"] < row["pred_words"][-1]["end"] <= 0.02 * row["num_steps"]
