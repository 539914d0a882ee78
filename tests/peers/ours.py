"""Our decoder as entries in the list of peers: make(task, lm, beam) -> decode, or None; decode(log_probs) -> text.

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

PEER_PRUNING = {"beam_gap": 10.0, "prune_logp": -5.0}
"""The default pruning of ctc-beam-decoder and pyctcdecode: beam and token thresholds."""
PAPER_PRUNING = {"prune_mass": 0.99, "prune_top": 40}
"""The pruning of Deep Speech 2 (section 7.3); no beam threshold."""
UNKNOWN_PENALTY = {"unknown": -4.0, "unknown_letter": -1.0}
PER_WORD_PENALTY = {"unknown": -10.0, "unknown_letter": 0.0}
"""The peers' penalty of an unknown word, without the one per letter that they add from the seventh letter on."""


class Ours:
    """Searches with the alphabets, models and weights of the shared bench_decoders.py."""

    def __init__(self, bench: ModuleType) -> None:
        self.bench = bench

    @cache  # noqa: B019 one object per run
    def search(self, task: str, lm: str | None) -> BeamSearch:
        """The search of a task with default options; the model is mapped once."""
        vocab = Vocab((BLANK, *self.bench.labels(task)[1:]))
        return BeamSearch.build(vocab, NgramLm.load(str(Path(self.bench.lm_bin(task)))) if lm else None)

    def weighted_search(self, task: str, lm: str | None, beam: int, **options: float) -> BeamSearch:
        """The search with the weights that all decoders use."""
        weights = {"alpha": self.bench.ALPHA, "beta": self.bench.BETA} if lm else {}
        return self.search(task, lm).with_options(beam=beam, **weights, **options)

    def entry(self, *, words_only: bool = False, no_lm_only: bool = False, **options: float) -> Make:
        """An entry with these options; it makes None where no peer is comparable."""

        def make(task: str, lm: str | None, beam: int) -> Decode | None:
            if (words_only and not (lm and task == "en")) or (no_lm_only and lm):
                return None
            search = self.weighted_search(task, lm, beam, **options)
            return lambda log_probs: search(np.ascontiguousarray(log_probs))[0].text

        return make

    def peer_settings(self) -> Entries:
        """Entries with the peers' default pruning."""
        return [
            ("ours", self.entry(**PEER_PRUNING, **UNKNOWN_PENALTY)),
            ("ours, beam gap 8", self.entry(**{**PEER_PRUNING, "beam_gap": 8.0}, **UNKNOWN_PENALTY)),
            (
                "ours, unknown_letter 0",
                self.entry(words_only=True, **PEER_PRUNING, **{**UNKNOWN_PENALTY, "unknown_letter": 0.0}),
            ),
            ("ours, unknown -10, unknown_letter 0", self.entry(words_only=True, **PEER_PRUNING, **PER_WORD_PENALTY)),
            ("ours, no beam gap", self.entry(no_lm_only=True, **{**PEER_PRUNING, "beam_gap": math.inf})),
        ]

    def paper_settings(self) -> Entries:
        """Entries with the paper's pruning: alone, with the default beam gap of ds2 decode, and with the peers'."""
        return [
            ("ours, prune mass 0.99, prune top 40", self.entry(**PAPER_PRUNING, **UNKNOWN_PENALTY)),
            (
                "ours, prune mass 0.99, prune top 40, beam gap 20",
                self.entry(**PAPER_PRUNING, **UNKNOWN_PENALTY, beam_gap=20.0),
            ),
            (
                "ours, prune mass 0.99, prune top 40, beam gap 10",
                self.entry(**PAPER_PRUNING, **UNKNOWN_PENALTY, beam_gap=PEER_PRUNING["beam_gap"]),
            ),
        ]
