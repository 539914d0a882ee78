"""Our decoder as entries of the peers' list: make(task, lm, beam) -> decode(log_probs) -> text, or None.

task: 'en' (29 symbols, words) or 'zh' (6,000 symbols, characters).  lm: None or 'lm'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ds2cli.lm.query import NgramLm
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import BLANK, Vocab

Decode = Callable[[Any], str]
Make = Callable[[str, str | None, int], Decode | None]
Entries = list[tuple[str, Make]]

MATCHED = {"beam_gap": 10.0, "prune_logp": -5.0}
"""The beam threshold and the token floor that ctc-beam-decoder and pyctcdecode ship with."""
PAPER = {"prune_mass": 0.99, "prune_top": 40}
"""What Deep Speech 2 leaves out of a step (section 7.3); no threshold."""
UNKNOWN = {"unknown": -4.0, "unknown_letter": -1.0}
PER_WORD = {"unknown": -10.0, "unknown_letter": 0.0}
"""The peers' price of an unknown word; they too make it grow with the letters, from the seventh on."""


class Ours:
    """Searches on the alphabets, models and weights of the shared bench_decoders.py."""

    def __init__(self, bench: ModuleType) -> None:
        self.bench = bench

    @cache  # noqa: B019 one object a run
    def search(self, task: str, lm: str | None) -> BeamSearch:
        """The search of a task before its options; the model is mapped once."""
        vocab = Vocab((BLANK, *self.bench.labels(task)[1:]))
        return BeamSearch.build(vocab, NgramLm.load(str(Path(self.bench.lm_bin(task)))) if lm else None)

    def ready(self, task: str, lm: str | None, beam: int, **options: float) -> BeamSearch:
        """The search with the weights that all peers have."""
        weights = {"alpha": self.bench.ALPHA, "beta": self.bench.BETA} if lm else {}
        return self.search(task, lm).with_options(beam=beam, **weights, **options)

    def entry(self, *, words_only: bool = False, no_lm_only: bool = False, **options: float) -> Make:
        """An entry with these options; None where the peers' tables have nothing to compare it with."""

        def make(task: str, lm: str | None, beam: int) -> Decode | None:
            if (words_only and not (lm and task == "en")) or (no_lm_only and lm):
                return None
            search = self.ready(task, lm, beam, **options)
            return lambda log_probs: search(np.ascontiguousarray(log_probs))[0].text

        return make

    def matched(self) -> Entries:
        """At the settings the peers ship with."""
        return [
            ("ours", self.entry(**MATCHED, **UNKNOWN)),
            ("ours, gap 8", self.entry(**{**MATCHED, "beam_gap": 8.0}, **UNKNOWN)),
            ("ours, unknown_letter 0", self.entry(words_only=True, **MATCHED, **{**UNKNOWN, "unknown_letter": 0.0})),
            ("ours, unknown -10, unknown_letter 0", self.entry(words_only=True, **MATCHED, **PER_WORD)),
            ("ours, no gap", self.entry(no_lm_only=True, **{**MATCHED, "beam_gap": math.inf})),
        ]

    def paper(self) -> Entries:
        """At the paper's settings; with ds2 decode's own gap, and with that of the peers."""
        return [
            ("ours, mass 0.99, top 40", self.entry(**PAPER, **UNKNOWN)),
            ("ours, mass 0.99, top 40, gap 20", self.entry(**PAPER, **UNKNOWN, beam_gap=20.0)),
            ("ours, mass 0.99, top 40, gap 10", self.entry(**PAPER, **UNKNOWN, beam_gap=MATCHED["beam_gap"])),
        ]
