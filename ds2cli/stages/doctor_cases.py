"""The utterances that are hardest on a CTC loss: of a manifest, or made up. L labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.manifest import Row
from ds2cli.nn.ctc.verdict import Verdict
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class Case:
    """An utterance of the batch: why it is in it, its id, steps, labels (L,), and what must become of it."""

    why: str
    name: str
    steps: int
    labels: NDArray[np.int32]
    verdict: Verdict = Verdict.FINE

    @property
    def spare(self) -> int:
        """Steps more than the label needs."""
        return self.steps - steps_needed(self.labels)


WORST: dict[str, Callable[[Case], float]] = {
    "longest": lambda case: case.steps,
    "longest label": lambda case: len(case.labels),
    "most repeats": lambda case: steps_needed(case.labels) - len(case.labels),
    "tightest": lambda case: -case.spare,
    "shortest": lambda case: -case.steps,
}
"""What makes an utterance whose label fits hard."""

MADE = 3
"""What `add_edge_cases` adds at the most."""

MOST_FRAMES = 360_000
"""Of an utterance: an hour of 10 ms each. The loss has no such limit, the memory of its formulas in float64 has."""

HINTS = {"no-num-frames": "ds2 featurize writes num_frames", "unspellable": "is --vocab right?"}
"""What to do where rows are dropped for a reason."""


def cases_from_rows(rows: Iterable[Row], vocab: Vocab, stride: int, size: int, ledger: Ledger) -> list[Case]:
    """The `size` worst utterances of a manifest with num_frames and text, one too long and one empty among them.

    stride: frames a step. What the vocabulary cannot spell and what is longer than MOST_FRAMES is dropped. DataError
    when no utterance is left that fits.
    """
    cases = []
    for row in rows:
        try:
            labels = np.array(vocab.encode(row["text"]), np.int32)
            if row["num_frames"] > MOST_FRAMES:
                raise BadUtterance("too-long", f"{row['num_frames']} frames, at most {MOST_FRAMES} are tried")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        ledger.kept += 1
        cases.append(Case("", row["id"], -(-row["num_frames"] // stride), labels))
    fit = [case for case in cases if case.spare >= 0 and len(case.labels)]
    if not fit:
        hints = [f"is --stride {stride} right?"] if ledger.kept else [HINTS[r] for r in ledger.reasons if r in HINTS]
        hint = f" ({'; '.join(hints)})" if hints else ""
        raise DataError(f"doctor: no utterance's label fits its frames, {ledger.summary()}{hint}")
    short = [replace(case, verdict=Verdict.TOO_SHORT) for case in cases if case.spare < 0]
    odd = [replace(c, why=c.verdict.code) for c in sorted(short, key=lambda case: case.spare)[:1]]
    odd += [replace(case, why="empty label") for case in cases if not len(case.labels)][:1]
    return add_edge_cases([*worst(fit, size - MADE), *odd])


def random_cases(symbols: int, size: int, seed: int) -> list[Case]:
    """A batch without a manifest: 1,500 steps and fewer, 300 labels and fewer."""
    rng = np.random.default_rng(seed)

    def case(steps: int, labels: NDArray[np.int64]) -> Case:
        return Case("", f"{steps} steps, {len(labels)} labels", steps, labels.astype(np.int32))

    cases = [
        case(1500, rng.integers(1, symbols, 300)),
        case(401, np.full(201, 1)),
        case(150, np.arange(150) % max(symbols - 1, 1) + 1) if symbols > 2 else case(299, np.full(150, 1)),
        case(1, np.array([1])),
    ]
    while len(cases) < size - MADE:
        steps = int(rng.integers(100, 1000))
        cases.append(case(steps, rng.integers(1, symbols, int(rng.integers(1, steps // 2)))))
    return add_edge_cases(worst([case for case in cases if case.spare >= 0], size - MADE))


def worst(fit: list[Case], size: int) -> list[Case]:
    """The worst of each kind, then the longest, `size` of them at the most; each is named by all that it is."""
    reasons: dict[str, list[str]] = {}
    for why, key in WORST.items():
        reasons.setdefault(max(fit, key=key).name, []).append(why)
    for case in sorted(fit, key=lambda case: -case.steps):
        if len(reasons) < size:
            reasons.setdefault(case.name, ["long"])
    named = {case.name: case for case in fit}
    return [replace(named[name], why=", ".join(why)) for name, why in reasons.items()]


def add_edge_cases(cases: list[Case]) -> list[Case]:
    """The cases, and made of them what is missing: a label that does not fit, an empty one, logits with a NaN."""
    fine = [case for case in cases if case.verdict is Verdict.FINE and case.steps]
    longest = max(fine, key=lambda case: len(case.labels))
    shortest = min(fine, key=lambda case: case.steps)
    short, spoiled = Verdict.TOO_SHORT, Verdict.NOT_FINITE
    made = []
    if not any(case.verdict is short for case in cases):
        steps = steps_needed(longest.labels) - 1
        made.append(replace(longest, why=f"{short.code}, made", steps=steps, verdict=short))
    if all(len(case.labels) for case in cases):
        made.append(replace(longest, why="empty label, made", labels=longest.labels[:0]))
    return [*cases, *made, replace(shortest, why=f"{spoiled.code}, made", verdict=spoiled)]
