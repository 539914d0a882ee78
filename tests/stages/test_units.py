"""Bigrams and word pieces from training to words: stored, decoded with word and token models, aligned."""

from __future__ import annotations

import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.audio.read import read
from ds2cli.config.align import AlignConfig
from ds2cli.config.base import build
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.feats.spectrogram import compute as log_power
from ds2cli.lm import arpa, kneser_ney
from ds2cli.lm.text import build_corpus
from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import Counts
from ds2cli.nn.checkpoint import load_model
from ds2cli.recognizer.decoder import build_beam_search, build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import align, decode, train
from ds2cli.stages.lm import load_vocab, make_tokenizer
from ds2cli.text.normalize import normalize
from ds2cli.text.vocab import PIECES, Vocab
from ds2cli.train import data as train_data
from ds2cli.train.events import Epoch
from ds2cli.train.resume import LAST, dump_checkpoint, load_checkpoint

SMALL = {
    "epochs": 2, "batch_s": 8.0, "optim": {"lr": 0.01},
    "model": {"channels": [16], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 16},
}  # fmt: skip
UNITS = {"bigram": {"kind": "bigram"}, "bpe": {"kind": "bpe", "size": 60}}


@pytest.fixture(scope="module")
def rows(shared_data, tmp_path_factory):
    """Ten telephone prompts with their features."""
    folder = tmp_path_factory.mktemp("prompts")
    source = shared_data / "asterisk" / "en_US_f_Allison"
    rows = []
    with ArkWriter(folder / "feats.ark") as ark:
        for line in sorted((source / "transcripts.tsv").read_text("utf-8").splitlines())[:10]:
            name, _, text = line.partition("\t")
            x = log_power(read(next(source.rglob(f"{name}.flac")))[0])
            rows.append({"id": name, "text": normalize(text), "feats": ark.write(name, x), "num_frames": len(x)})
    return rows


def trained(rows, dev, exp, units, **changed):
    config = build(TrainConfig, ("test", SMALL), ("units", {"units": units}), ("changed", changed))
    job = train_data.prepare_job(config, rows, dev, str(exp), FeatureConfig().features(), Ledger())
    return job, [e for e in train.run(job, str(exp)) if isinstance(e, Epoch)]


def model_of(lines, path):
    model, _ = kneser_ney.estimate(build_corpus(lines), 2, [0, 0], fallback=True)
    path.write_text("".join(arpa.lines(model)), "utf-8")
    return str(path)


def decoded(rows, exp, lm):
    config = resolve_settings(DecodeConfig(lm=lm, beam=20, nbest=5, timestamps=True), str(exp))
    experiment, ledger, warnings = Experiment(str(exp)), Ledger(), []
    search = build_beam_search(config, experiment, warnings.append, [row["text"] for row in rows])
    decoded_rows = list(decode.run(config, rows, ledger, experiment, search))
    assert warnings == [] and not ledger.rows and len(decoded_rows) == len(rows)
    return decoded_rows


@pytest.mark.parametrize("kind", UNITS)
def test_from_recordings_to_words(rows, tmp_path, kind):
    exp = tmp_path / "exp"
    job, epochs = trained(rows, rows[:4], exp, UNITS[kind])
    assert len(epochs) == 2 and epochs[1].loss < epochs[0].loss and epochs[1].dev_cer is not None
    vocab = job.vocab
    assert (exp / PIECES).is_file() == (kind == "bpe")
    assert max(len(s) for s in vocab.symbols[1:]) > 1
    labels = {u.id: u.labels.tolist() for u in job.train}
    for row in rows:
        assert vocab.decode(labels[row["id"]]) == row["text"] and len(labels[row["id"]]) < len(row["text"])

    # best.safetensors contains the symbols: the files next to it are not needed
    (exp / "tokens.txt").unlink()
    (exp / PIECES).unlink(missing_ok=True)
    experiment = Experiment(str(exp))
    assert load_model(exp).vocab == experiment.vocab == load_vocab(str(exp)) == vocab

    texts = [row["text"] for row in rows]
    by_word = model_of([text.split() for text in texts], tmp_path / "word.arpa")
    split = make_tokenizer("token", vocab)
    by_symbol = model_of(map(split, texts), tmp_path / "token.arpa")
    for lm in (by_word, by_symbol):
        for row in decoded(rows, exp, lm):
            assert [w["word"] for w in row["pred_words"]] == row["pred_text"].split()
            times = [t for w in row["pred_words"] for t in (w["start"], w["end"])]
            assert times == sorted(times)
            hypotheses = [h["text"] for h in row["nbest"]]
            assert hypotheses[0] == row["pred_text"] and len(set(hypotheses)) == len(hypotheses)
    ledger = Ledger()
    for row in align.run(AlignConfig(), rows, ledger, experiment):
        assert [w["word"] for w in row["words"]] == row["text"].split()
    assert not ledger.rows


def test_resuming_with_other_units_is_refused(toy, tmp_path):
    rows = list(manifest.read(str(toy / "train.jsonl")))
    trained(rows, None, tmp_path, {"kind": "bpe", "size": 9}, epochs=1)
    with pytest.raises(UsageError, match=r"units.kind was bpe, is bigram; units.size was 9, is None .*--fresh"):
        trained(rows, None, tmp_path, {"kind": "bigram"}, epochs=1)
    with pytest.raises(UsageError, match=r"units.size: bpe needs the number"):
        trained(rows, None, tmp_path / "new", {"kind": "bpe"}, epochs=1)
    _, epochs = trained(rows, None, tmp_path, {"kind": "bpe", "size": 9}, epochs=2)
    assert [e.epoch for e in epochs] == [2], "the same units resume"
    trained(rows, None, tmp_path, {"kind": "bigram"}, epochs=1, fresh=True)
    assert not (tmp_path / PIECES).exists() and Vocab.load(tmp_path / "tokens.txt") == load_model(tmp_path).vocab


def test_a_checkpoint_from_before_the_setting_units_resumes_with_characters(toy, tmp_path):
    rows = list(manifest.read(str(toy / "train.jsonl")))
    trained(rows, None, tmp_path, {}, epochs=1)
    checkpoint = load_checkpoint(tmp_path)
    del checkpoint["config"]["units"]
    (tmp_path / LAST).write_bytes(dump_checkpoint({k: v for k, v in checkpoint.items() if k != "format"}))
    with pytest.raises(UsageError, match=r"units.kind was char, is bigram"):
        trained(rows, None, tmp_path, {"kind": "bigram"}, epochs=2)
    _, epochs = trained(rows, None, tmp_path, {}, epochs=2)
    assert [e.epoch for e in epochs] == [2]


@pytest.mark.parametrize("kind", ["bigram", "unigram"])
def test_a_network_learns_longer_units(toy, tmp_path, kind):
    rows, dev = (list(manifest.read(str(toy / f"{name}.jsonl"))) for name in ("train", "dev"))
    units = {"kind": kind} | ({"size": 12} if kind == "unigram" else {})
    job, _ = trained(rows, dev, tmp_path, units, epochs=40, batch_s=2.0, model={"rnn_size": 48})
    assert any(len(s) > 1 for s in job.vocab.symbols[1:])
    experiment = Experiment(str(tmp_path))
    config = resolve_settings(DecodeConfig(greedy=True), str(tmp_path))
    decoded_rows = decode.run(config, rows, Ledger(), experiment, build_search(config, experiment))
    errors = sum((count(row["text"], row["pred_text"]) for row in decoded_rows), Counts())
    assert errors.total == sum(len(row["text"]) for row in rows) and errors.rate < 15
