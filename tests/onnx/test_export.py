"""The ONNX models of networks of every kind, in onnxruntime: the log-probabilities of torch, whole and in chunks."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ds2cli.audio.recording import Recording, read_samples
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.feats import kinds
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.onnx.export import make_model
from ds2cli.runtime.file import NetworkFile
from ds2cli.text.vocab import BLANK, Vocab

BINS, SYMBOLS = 20, (BLANK, " ", "a", "b", "é", "\u2028")
SMALL = {"rnn_layers": 2, "rnn_size": 12, "bidirectional": False}
ONE_D = ModelConfig(channels=(8, 10), kernels=(5, 3), strides=(2, 2), **SMALL)
TWO_D = ModelConfig(
    conv="2d", channels=(2, 3), kernels=(5, 3), strides=(2, 1), freq_kernels=(5, 3), freq_strides=(2, 2), **SMALL
)
CELLS = [("gru", "tanh"), ("gru", "relu"), ("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh")]
CONFIGS = {
    f"{conv}-{cell}-{f}-{norm}-{'both' if both else 'forward'}": replace(
        base, cell=cell, activation=f, norm=norm, bidirectional=both
    )
    for (conv, base), (cell, f), norm, both in product(
        {"1d": ONE_D, "2d": TWO_D}.items(), CELLS, ("batch", "none"), (False, True)
    )
}
OTHERS = {
    "row": replace(ONE_D, row_conv=3),
    "row-2d-fc": replace(TWO_D, row_conv=5, fc_layers=2, fc_size=7),
    "row-lstm": replace(ONE_D, row_conv=1, cell="lstm"),
    "wide-stride": replace(ONE_D, kernels=(3, 1), strides=(4, 3)),
    "wider-stride-row": replace(ONE_D, kernels=(1, 3), strides=(5, 2), row_conv=2),
    "three": replace(ONE_D, channels=(4, 4, 4), kernels=(3, 3, 3), strides=(2, 1, 2)),
    "no-recurrence": replace(ONE_D, rnn_layers=0, bidirectional=True),
    "no-recurrence-row": replace(ONE_D, rnn_layers=0, row_conv=4),
    "mean-both": replace(ONE_D, bidirectional=True, input_norm="utterance"),
    "fc-both": replace(ONE_D, bidirectional=True, fc_layers=1, fc_size=9),
}
ALL = {**CONFIGS, **OTHERS}
FORWARD = {name: config for name, config in ALL.items() if config.look_ahead is not None}

# both add float32 numbers in an order of their own; of log-probabilities of size 1 that changes some 1e-6
TOLERANCES = {"rtol": 1e-4, "atol": 2e-5}


@cache
def make_network(name, gain=1.0):
    """A network with statistics of features and norms as after some training.

    gain: of the weights of the recurrent layers; a large one makes the clipped ReLU reach its limit.
    """
    torch.manual_seed(0)
    model = DeepSpeech2(ALL[name], len(SYMBOLS), BINS)
    model.mean.normal_()
    model.std.uniform_(0.5, 2)
    with torch.no_grad():
        for rnn in model.rnns:
            rnn.recurrent.mul_(0.5)
        for _ in range(3):
            model(torch.randn(4, 60, BINS) * model.std + model.mean, torch.full((4,), 60))
        for rnn in model.rnns:
            rnn.project.weight.mul_(gain)
    return model.eval()


def network_file(model):
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    features = {"kind": "spectrogram", "hop_ms": 10.0}
    return NetworkFile("exp/x", model.config, Vocab(SYMBOLS), features, {"epoch": 3}, tensors)


def open_model(model, **options):
    data = make_model(network_file(model), **options).SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def compute_torch(model, feats, lengths):
    """Log-probabilities (T', V) of each utterance of padded features (N, T, F)."""
    logits, steps = model(torch.from_numpy(feats), torch.tensor(lengths))
    return [x[:count].numpy() for x, count in zip(logits.log_softmax(-1).transpose(0, 1), steps.tolist(), strict=True)]


def make_feats(model, utterances, frames, seed=0):
    noise = np.random.default_rng(seed).standard_normal((utterances, frames, BINS), np.float32)
    return noise * model.std.numpy() + model.mean.numpy()


@pytest.mark.parametrize("name", ALL)
def test_a_padded_batch_gives_the_log_probabilities_of_torch(name):
    """Whatever is in the padding, NaN too; utterances of one frame, of a stride, and of the whole batch."""
    model = make_network(name)
    lengths = [61, 40, model.stride, 1]
    feats = make_feats(model, 4, 61)
    expected = compute_torch(model, feats, lengths)
    for i, length in enumerate(lengths):
        feats[i, length:] = np.nan
    log_probs, steps = open_model(model).run(None, {"x": feats, "x_lens": np.array(lengths)})
    assert steps.tolist() == [len(x) for x in expected] == [-(-length // model.stride) for length in lengths]
    for found, wanted in zip(log_probs, expected, strict=True):
        np.testing.assert_allclose(found[: len(wanted)], wanted, **TOLERANCES)


def compute_in_chunks(session, feats, sizes):
    """Log-probabilities (N, T', V) of features (N, T, F) in chunks of these sizes, used in turn; the end is a chunk."""
    shapes = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    states = {name: np.zeros((len(feats), *shape), np.float32) for name, shape in shapes.items()}
    names, parts, begin, turn, end = [output.name for output in session.get_outputs()], [], 0, 0, False
    while not end:
        size = sizes[turn % len(sizes)]
        chunk, begin, turn = feats[:, begin : begin + size], begin + size, turn + 1
        end = begin >= feats.shape[1] + (sizes == [1])
        values = session.run(names, {"x": chunk, "end": np.array(end), **states})
        found = dict(zip(names, values, strict=True))
        parts.append(found["log_probs"])
        states = {name: found[f"new_{name}"] for name in states}
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("name", FORWARD)
def test_chunks_give_the_log_probabilities_of_the_whole(name):
    model = make_network(name)
    session = open_model(model, streaming=True)
    feats = make_feats(model, 2, 61)
    expected = np.stack(compute_torch(model, feats, [61, 61]))
    # one frame and then an empty last chunk, fewer than a filter, a prime, all, and empty ones in between
    for sizes in ([1], [2], [7], [61], [0, 1, 13, 0, 20]):
        np.testing.assert_allclose(compute_in_chunks(session, feats, sizes), expected, **TOLERANCES)


@pytest.mark.parametrize("name", ["row", "2d-lstm-tanh-batch-forward", "wider-stride-row", "1d-rnn-relu-none-forward"])
def test_random_chunks_of_streams_of_any_length(name):
    model = make_network(name)
    session, rng = open_model(model, streaming=True), np.random.default_rng(1)
    for frames in [1, 2, 3, *rng.integers(4, 90, 20)]:
        feats = make_feats(model, 1, int(frames), seed=int(frames))
        sizes = [*rng.integers(0, 12, 50).tolist(), 100]
        found = compute_in_chunks(session, feats, sizes)
        np.testing.assert_allclose(found[0], compute_torch(model, feats, [int(frames)])[0], **TOLERANCES)


@pytest.mark.parametrize("name", [name for name in CONFIGS if "relu" in name])
def test_states_are_clipped_at_20(name):
    model = make_network(name, gain=300.0)
    outputs = []
    handle = model.rnns[0].register_forward_hook(lambda _, __, y: outputs.append(y))
    feats = make_feats(model, 1, 61)
    expected = compute_torch(model, feats, [61])[0]
    handle.remove()
    # clipped at the limit, or, of a GRU, which moves towards it, close to it; directions are summed
    assert 18 < float(outputs[0].max()) <= (40 if model.config.bidirectional else 20)
    found = open_model(model).run(["log_probs"], {"x": feats, "x_lens": np.array([61])})[0][0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_a_real_recording(shared_data, cell):
    files = sorted((shared_data / "LibriSpeech").rglob("*.flac"))
    if not files:
        pytest.skip("no recordings of LibriSpeech")
    config = FeatureConfig()
    feats = kinds.compute(read_samples(Recording(str(files[0])), config.sample_rate), config)
    torch.manual_seed(0)
    sizes = {"channels": (64, 64), "rnn_layers": 3, "rnn_size": 64, "bidirectional": False, "row_conv": 10}
    f = {"gru": "tanh", "rnn": "relu"}[cell]
    model = DeepSpeech2(ModelConfig(cell=cell, activation=f, **sizes), len(SYMBOLS), feats.shape[1])
    model.mean.copy_(torch.from_numpy(feats.mean(0)))
    model.std.copy_(torch.from_numpy(feats.std(0)))
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(feats[None]), torch.tensor([len(feats)]))
    model.eval()
    expected = compute_torch(model, feats[None], [len(feats)])[0]
    assert expected.std() > 0.1 and len(feats) > 300
    inputs = {"x": feats[None], "x_lens": np.array([len(feats)])}
    np.testing.assert_allclose(open_model(model).run(None, inputs)[0][0], expected, **TOLERANCES)
    session, chunks = open_model(model, streaming=True), np.random.default_rng(0).integers(0, 40, 99).tolist()
    np.testing.assert_allclose(compute_in_chunks(session, feats[None], chunks)[0], expected, **TOLERANCES)


def test_streams_do_not_affect_each_other():
    model = make_network("row")
    session, feats = open_model(model, streaming=True), make_feats(model, 3, 50)
    together = compute_in_chunks(session, feats, [9])
    for i in range(3):
        np.testing.assert_allclose(compute_in_chunks(session, feats[i : i + 1], [9])[0], together[i], **TOLERANCES)


def test_the_metadata_have_what_a_program_needs():
    session = open_model(make_network("row"), streaming=True)
    values = session.get_modelmeta().custom_metadata_map
    assert values["tokens"].split("\n") == ["<blank>", "<space>", "a", "b", "é", "<U+2028>"]
    assert json.loads(values["features"]) == {"kind": "spectrogram", "hop_ms": 10.0}
    assert json.loads(values["made"]) == {"epoch": 3}
    # 2 + 2 * 1 frames of the convolutions, 3 steps of 4 frames
    assert (values["stride"], values["step_ms"], values["look_ahead_frames"]) == ("4", "40", "16")
    assert (values["bins"], values["vocab_size"]) == ("20", "6")
    shapes = json.loads(values["states"])
    assert shapes == {
        "state_conv0": [2, 20],
        "state_conv1": [1, 8],
        "state_rnn0_h": [12],
        "state_rnn1_h": [12],
        "state_row_conv": [0, 12],
    }
    assert [i.name for i in session.get_inputs()] == ["x", "end", *shapes]
    assert [o.name for o in session.get_outputs()] == [*(f"new_{name}" for name in shapes), "log_probs"]
    whole = open_model(make_network("fc-both")).get_modelmeta().custom_metadata_map
    assert whole["look_ahead_frames"] == "" and "states" not in whole


def test_any_runtime_of_2022_reads_the_file():
    model = make_model(network_file(make_network("row")))
    assert (model.ir_version, [o.version for o in model.opset_import]) == (8, [17])
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


def test_a_bidirectional_network_has_no_model_for_streams():
    with pytest.raises(UsageError, match="exp/x: a bidirectional network needs the whole utterance"):
        make_model(network_file(make_network("fc-both")), streaming=True)
