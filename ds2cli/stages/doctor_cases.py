"""The utterances that are hardest for a CTC loss, from a manifest or generated. L labels."""

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
from ds2cli.train.lint import clean_text


@dataclass(frozen=True)
class Case:
    """An utterance of the batch.

    reason: why it was selected. name: its id, or a description. steps: output steps. labels: (L,).
    verdict: the expected outcome.
    """

    reason: str
    name: str
    steps: int
    labels: NDArray[np.int32]
    verdict: Verdict = Verdict.OK

    @property
    def spare(self) -> int:
        """Steps beyond those that the label needs; negative if the label does not fit."""
        return self.steps - steps_needed(self.labels)


DIFFICULTIES: dict[str, Callable[[Case], float]] = {
    "longest": lambda case: case.steps,
    "longest label": lambda case: len(case.labels),
    "most repeats": lambda case: steps_needed(case.labels) - len(case.labels),
    "fewest spare steps": lambda case: -case.spare,
    "shortest": lambda case: -case.steps,
}
"""What makes an utterance hard; of those whose label fits, the maximum of each is selected."""

MAX_EDGE_CASES = 3
"""Number of cases that `add_edge_cases` adds at most."""

MAX_FRAMES = 360_000
"""Longest utterance tried: an hour at 10 ms per frame. The float64 reference needs the limit for its memory."""

HINTS = {"no-num-frames": "ds2 featurize writes num_frames", "unspellable": "check --vocab"}
"""What to try when no utterance is left, by drop reason."""


def select_cases(rows: Iterable[Row], vocab: Vocab, stride: int, size: int, ledger: Ledger) -> list[Case]:
    """Select the `size` hardest utterances of a manifest with num_frames and text, and edge cases among them.

    stride: frames per output step. Utterances that the vocabulary cannot spell or that are longer than MAX_FRAMES are
    dropped. DataError when no label fits its utterance.
    """
    cases = []
    for row in rows:
        try:
            labels = np.array(vocab.encode(clean_text(row["text"])), np.int32)
            if row["num_frames"] > MAX_FRAMES:
                raise BadUtterance("too-long", f"{row['num_frames']} frames, at most {MAX_FRAMES} can be compared")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        ledger.kept += 1
        cases.append(Case("", row["id"], -(-row["num_frames"] // stride), labels))
    fit = [case for case in cases if case.spare >= 0 and len(case.labels)]
    if not fit:
        hints = [f"check --stride {stride}"] if ledger.kept else [HINTS[r] for r in ledger.reasons if r in HINTS]
        hint = f" ({'; '.join(hints)})" if hints else ""
        raise DataError(f"doctor: no label fits the frames of its utterance, {ledger.summary()}{hint}")
    short = [replace(case, verdict=Verdict.TOO_SHORT) for case in cases if case.spare < 0]
    edge_cases = [replace(c, reason=c.verdict.code) for c in sorted(short, key=lambda case: case.spare)[:1]]
    edge_cases += [replace(case, reason="empty label") for case in cases if not len(case.labels)][:1]
    return add_edge_cases([*select_hardest(fit, size - MAX_EDGE_CASES), *edge_cases])


def generate_cases(symbols: int, size: int, seed: int) -> list[Case]:
    """Generate a batch without a manifest: up to 1,500 steps and 300 labels."""
    rng = np.random.default_rng(seed)

    def make_case(steps: int, labels: NDArray[np.int64]) -> Case:
        return Case("", f"{steps} steps, {len(labels)} labels", steps, labels.astype(np.int32))

    cases = [
        make_case(1500, rng.integers(1, symbols, 300)),
        make_case(401, np.full(201, 1)),
        make_case(150, np.arange(150) % max(symbols - 1, 1) + 1) if symbols > 2 else make_case(299, np.full(150, 1)),
        make_case(1, np.array([1])),
    ]
    while len(cases) < size - MAX_EDGE_CASES:
        steps = int(rng.integers(100, 1000))
        cases.append(make_case(steps, rng.integers(1, symbols, int(rng.integers(1, steps // 2)))))
    return add_edge_cases(select_hardest([case for case in cases if case.spare >= 0], size - MAX_EDGE_CASES))


def select_hardest(cases: list[Case], size: int) -> list[Case]:
    """At most `size` cases: the hardest of each kind, then the longest; each with all its reasons."""
    reasons: dict[str, list[str]] = {}
    for reason, key in DIFFICULTIES.items():
        reasons.setdefault(max(cases, key=key).name, []).append(reason)
    for case in sorted(cases, key=lambda case: -case.steps):
        if len(reasons) < size:
            reasons.setdefault(case.name, ["long"])
    by_name = {case.name: case for case in cases}
    return [replace(by_name[name], reason=", ".join(names)) for name, names in reasons.items()]


def add_edge_cases(cases: list[Case]) -> list[Case]:
    """Add the edge cases that are missing: a label that does not fit, an empty label, logits with a NaN."""
    ok = [case for case in cases if case.verdict is Verdict.OK and case.steps]
    longest = max(ok, key=lambda case: len(case.labels))
    shortest = min(ok, key=lambda case: case.steps)
    too_short, not_finite = Verdict.TOO_SHORT, Verdict.NOT_FINITE
    added = []
    if not any(case.verdict is too_short for case in cases):
        steps = steps_needed(longest.labels) - 1
        added.append(replace(longest, reason=f"{too_short.code}, synthetic", steps=steps, verdict=too_short))
    if all(len(case.labels) for case in cases):
        added.append(replace(longest, reason="empty label, synthetic", labels=longest.labels[:0]))
    return [*cases, *added, replace(shortest, reason=f"{not_finite.code}, synthetic", verdict=not_finite)]
