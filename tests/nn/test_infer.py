"""Inference where memory ends: only the utterances that do not fit on their own are left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.infer import BATCH_FRAMES, compute_emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab

CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes."),
]


@pytest.fixture
def trained():
    torch.manual_seed(0)
    vocab = Vocab((BLANK, " ", "a", "b"))
    return TrainedModel(DeepSpeech2(CONFIG, len(vocab), 5).eval(), vocab, {"hop_ms": 10.0}, 0.02, {})


@pytest.fixture
def limit(trained):
    """Limit the frames of a batch, its padding included; returns the sizes of the batches that were tried."""
    tried = []

    def set_limit(most, error):
        def check(_, inputs):
            size = inputs[0].shape[0] * inputs[0].shape[1]
            tried.append(size)
            if size > most:
                raise error

        trained.model.register_forward_pre_hook(check)
        return tried

    return set_limit


def feats(*lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 5)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_one_that_does_not_fit_costs_the_others_nothing(trained, limit, error):
    inputs = feats(300, 200, 4 * BATCH_FRAMES, 0, 250)
    expected = compute_emissions(trained, [x for x in inputs if len(x) <= 300])
    limit(BATCH_FRAMES, error)
    *before, large, empty, after = compute_emissions(trained, inputs)
    assert isinstance(large, BadUtterance) and large.reason == "out-of-memory"
    assert large.detail.startswith("the network over 24000 frames does not fit in memory: ")
    for found, alone in zip([*before, empty, after], expected, strict=True):
        np.testing.assert_array_equal(found, alone)


def test_a_batch_that_does_not_fit_is_computed_in_parts(trained, limit):
    inputs = feats(1000, 990, 980, 970, 960, 950)
    expected = compute_emissions(trained, inputs)
    tried = limit(1500, MemoryError())
    for found, together in zip(compute_emissions(trained, inputs), expected, strict=True):
        np.testing.assert_allclose(found, together, rtol=1e-4, atol=1e-5)
    # each that fails is tried a second time, alone
    assert tried == [6000, 6000, 3000, 3000, 1000, 1980, 1980, 990, 980, 2910, 2910, 970, 1920, 1920, 960, 950]


def test_the_largest_of_a_batch_is_left_out_alone(trained, limit):
    limit(1990, MemoryError())
    found = compute_emissions(trained, feats(1000, 2000, 1990))
    assert [isinstance(x, BadUtterance) for x in found] == [False, True, False]


def test_other_errors_are_raised(trained, limit):
    limit(100, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        compute_emissions(trained, feats(200))
