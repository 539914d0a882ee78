"""When to give up training, and the errors that explain why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ds2cli.errors import Ds2Error
from ds2cli.train.state import TrainState

MAX_SKIPPED = 20
"""Steps in a row that may be skipped before training is given up."""

MAX_NAMED = 3
"""Utterances named in an error."""


@dataclass
class SkippedSteps:
    """Counts steps in a row that were skipped. empty: those without a usable utterance."""

    steps: int = 0
    empty: int = 0

    def add(self, skipped: Mapping[str, str], *, empty_batch: bool) -> None:
        """Count a step. Raises Ds2Error when MAX_SKIPPED were skipped."""
        self.steps += 1
        self.empty = self.empty + 1 if empty_batch else 0
        if self.empty >= MAX_SKIPPED:
            raise Ds2Error(
                f"train: no utterance could be used in {MAX_SKIPPED} steps in a row, the last: {name_last(skipped)}"
            )
        if self.steps >= MAX_SKIPPED:
            raise Ds2Error(
                f"train: the loss was not finite in {MAX_SKIPPED} steps in a row, the last: {name_last(skipped)} "
                "(lower optim.lr or optim.clip and start again with --fresh)"
            )


def nothing_learned(state: TrainState) -> Ds2Error:
    """The error for an epoch in which no utterance counted."""
    return Ds2Error(
        f"train: nothing was learned in epoch {state.epoch + 1}: every utterance was skipped, "
        f"the last: {name_last(state.skipped)}"
    )


def name_last(skipped: Mapping[str, str]) -> str:
    """The last skipped utterances with their reason codes."""
    return ", ".join(f"{name} ({reason})" for name, reason in list(skipped.items())[-MAX_NAMED:])
