from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from ds2cli.nn.ctc import ctc_loss, greedy, steps_needed


def cost(logits, label):
    """Through the function under test: logits (T, V) of one utterance."""
    return ctc_loss(
        logits.unsqueeze(1),
        torch.tensor([label], dtype=torch.int64).reshape(1, -1),
        torch.tensor([len(logits)]),
        torch.tensor([len(label)]),
        reduction="none",
    )[0]


def merged(path):
    return [k for k, _ in itertools.groupby(path) if k]


def test_known_answers_of_warp_ctc():
    assert float(cost(torch.ones(1, 5), [1])) == pytest.approx(1.6094379, abs=1e-6)
    # one path, 3 blank 3, through rows that are all softmax(1 … 5); the tutorial prints 7.3522 from rounded factors
    rising = torch.arange(1.0, 16.0).view(3, 5)
    assert float(cost(rising, [3, 3])) == pytest.approx(7.35574, abs=1e-5)


@pytest.mark.parametrize("label", [[], [1], [1, 2], [2, 2], [1, 2, 1]])
def test_equals_the_sum_over_all_paths(label):
    torch.manual_seed(len(label))
    logits = torch.randn(5, 3)
    probabilities = logits.softmax(-1)
    total = sum(
        math.prod(float(probabilities[t, s]) for t, s in enumerate(path))
        for path in itertools.product(range(3), repeat=5)
        if merged(path) == label
    )
    assert float(cost(logits, label)) == pytest.approx(-math.log(total), rel=1e-5)


@pytest.mark.parametrize("label", [[1], [1, 1], [1, 2, 2, 1], [2, 2, 2]])
def test_a_label_costs_infinity_just_below_the_steps_it_needs(label):
    needed = steps_needed(np.array(label))
    assert math.isfinite(cost(torch.zeros(needed, 3), label))
    assert needed == 1 or math.isinf(cost(torch.zeros(needed - 1, 3), label))


def test_reductions_and_padding():
    torch.manual_seed(0)
    logits, lengths = torch.randn(6, 2, 4), torch.tensor([6, 4])
    targets, sizes = torch.tensor([[1, 2, 3], [2, 9, 9]]), torch.tensor([3, 1])
    each = ctc_loss(logits, targets, lengths, sizes, reduction="none")
    assert float(each[1]) == pytest.approx(float(cost(logits[:4, 1], [2])), rel=1e-6)
    assert float(ctc_loss(logits, targets, lengths, sizes, reduction="sum")) == pytest.approx(float(each.sum()))
    mean = ctc_loss(logits, targets, lengths, sizes)
    assert float(mean) == pytest.approx(float((each / sizes).mean()))


def test_nan_scores_give_a_nan_cost():
    assert math.isnan(cost(torch.full((3, 4), math.nan), [1]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [([], []), ([0, 0], []), ([1], [1]), ([1, 1, 0, 1], [1, 1]), ([2, 0, 2, 2, 1], [2, 2, 1]), ([0, 3, 3], [3])],
)
def test_greedy_merges_repeats_and_drops_blanks(path, expected):
    assert greedy(np.eye(4, dtype=np.float32)[np.array(path, dtype=int)]) == expected
