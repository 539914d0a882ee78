from __future__ import annotations

import pytest

from ds2cli.errors import Ds2Error
from ds2cli.train.failures import MAX_SKIPPED, SkippedSteps, name_last, nothing_learned
from ds2cli.train.state import TrainState


def test_skipped_steps_of_different_causes_are_not_blamed_on_the_data():
    """Only if no step in a row had a usable utterance are the utterances the cause."""
    steps = SkippedSteps()
    for _ in range(MAX_SKIPPED - 1):
        steps.add({"a": "no-frames"}, empty_batch=True)
    with pytest.raises(Ds2Error, match=r"the loss was not finite in 20 steps in a row, the last: b \(not-finite\)"):
        steps.add({"b": "not-finite"}, empty_batch=False)


def test_errors_name_the_last_utterances_and_the_epoch_as_people_count_it():
    skipped = {f"u{i}": "no-frames" for i in range(5)}
    assert name_last(skipped) == "u2 (no-frames), u3 (no-frames), u4 (no-frames)"
    assert str(nothing_learned(TrainState(epoch=2, skipped={"a": "not-finite"}))) == (
        "train: nothing was learned in epoch 3: every utterance was skipped, the last: a (not-finite)"
    )
