"""When a training is beyond help, and what is said then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ds2cli.errors import Ds2Error
from ds2cli.train.state import TrainState

MOST_SKIPPED = 20
"""Steps in a row that may be skipped for want of a finite loss; then the network is beyond help."""

NAMED = 3
"""Utterances that are named."""


@dataclass
class SkippedSteps:
    """Steps in a row that were not taken; unusable: those of which no utterance could be used."""

    steps: int = 0
    unusable: int = 0

    def add(self, skipped: Mapping[str, str], *, empty_batch: bool) -> None:
        """Count a step. Ds2Error when there were MOST_SKIPPED of them."""
        self.steps += 1
        self.unusable = self.unusable + 1 if empty_batch else 0
        if self.unusable >= MOST_SKIPPED:
            raise Ds2Error(
                f"train: none of the utterances of {MOST_SKIPPED} steps in a row could be used: {last(skipped)}"
            )
        if self.steps >= MOST_SKIPPED:
            raise Ds2Error(
                f"train: no loss was finite in {MOST_SKIPPED} steps in a row, last of {last(skipped)} "
                "(lower optim.lr or optim.clip, then --fresh)"
            )


def nothing_learned(at: TrainState) -> Ds2Error:
    """The error of an epoch in which no utterance counted."""
    return Ds2Error(
        f"train: nothing was learned in epoch {at.epoch + 1}: no utterance counted, last {last(at.skipped)}"
    )


def last(skipped: Mapping[str, str]) -> str:
    """The last utterances that were skipped, and why."""
    return ", ".join(f"{name} ({why})" for name, why in list(skipped.items())[-NAMED:])
