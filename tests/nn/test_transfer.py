"""Weights taken from another network."""

from __future__ import annotations

import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.transfer import plan_transfer, transfer_weights
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
SETTINGS = {"channels": (8,), "kernels": (5,), "strides": (2,), "rnn_layers": 1, "rnn_size": 8}


def network(vocab=VOCAB, bins=20, **changes):
    return DeepSpeech2(ModelConfig(**{**SETTINGS, **changes}), len(vocab), bins)


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = network()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name not in ("mean", "std"):
            value.copy_(torch.randn(value.shape))
        elif not value.dim():
            value.fill_(77)
    model.std.fill_(4.0)
    return TrainedModel(model, VOCAB, {}, 0.02, {})


def copy_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def values_of(model, *names):
    return sum(model.state_dict()[name].numel() for name in names)


def all_values(model):
    return sum(v.numel() for n, v in model.state_dict().items() if v.dim() and n not in ("mean", "std"))


def test_the_same_network_takes_all_but_the_statistics_of_the_features(trained):
    model = network()
    plan = transfer_weights(model, VOCAB, trained)
    assert plan.complete and not plan.left and plan.values == plan.total == all_values(model)
    assert (
        plan.describe() == f"{len(plan.taken)} of {len(plan.taken)} weights ({plan.total:,} of {plan.total:,} values)"
    )
    source = trained.model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, source[name]) == (name != "std"), name


def test_the_output_is_taken_symbol_by_symbol(trained):
    vocab = Vocab((BLANK, "a", "b", "é"))
    model = network(vocab)
    before = copy_of(model)
    plan = transfer_weights(model, vocab, trained)
    assert plan.symbols == ((0, 0), (1, 2), (3, 3)) and plan.missing_symbols == ("b",) and not plan.complete
    assert plan.total - plan.values == values_of(model, "output.weight", "output.bias") // 4
    assert plan.describe().endswith(f" of {plan.total:,} values); not 1 output symbols, such as 'b'")
    after, source = model.state_dict(), trained.model.state_dict()
    for name in ("output.weight", "output.bias"):
        assert torch.equal(after[name][[0, 1, 3]], source[name][[0, 2, 3]])
        assert torch.equal(after[name][2], before[name][2])


def test_layers_of_another_size_keep_their_weights_and_are_named_with_both_sizes(trained):
    model = network(rnn_size=9)
    before = copy_of(model)
    plan = transfer_weights(model, VOCAB, trained)
    kept = {name for name, _, _ in plan.left}
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {n for n in before if n.startswith("convs.")} and not changed & kept
    assert plan.values == values_of(model, *plan.taken) and plan.total == all_values(model)
    assert "rnns.0.recurrent (2x27x9, 2x24x8 there), rnns.0.project.weight (27x8, 24x8 there), " in plan.describe()
    assert plan.describe().endswith(f", {len(kept) - 3} more weights")
    assert "output.bias" in kept, "a bias means nothing for another input"


def test_weights_that_the_other_network_does_not_have_are_named(trained):
    plan = plan_transfer(network(rnn_layers=2), VOCAB, trained)
    assert plan.left and all(name.startswith("rnns.1.") and there is None for name, _, there in plan.left)
    assert "rnns.1.recurrent (2x24x8, none there)" in plan.describe()


def test_nothing_is_taken_where_nothing_fits_not_even_a_count_of_batches(trained):
    model = network(rnn_size=16, channels=(32,))
    before = copy_of(model)
    plan = transfer_weights(model, VOCAB, trained)
    assert plan.taken == () and plan.values == 0 and plan.symbols == ()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.device("meta"):
        assert plan_transfer(network(rnn_size=16, channels=(32,)), VOCAB, trained) == plan
