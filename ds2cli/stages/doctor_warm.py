"""Compile every kernel that the commands use, by running the functions that call them on tiny inputs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import get_args

import numpy as np

from ds2cli.archive import ArkWriter
from ds2cli.atomic import temporary_folder
from ds2cli.drops import Ledger
from ds2cli.kernels import _jit, ctc_cost
from ds2cli.kernels.draws import draw_first, draw_words
from ds2cli.lm import arpa, kneser_ney
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import build_corpus
from ds2cli.manifest import format_row
from ds2cli.manifest_lines import PathChange
from ds2cli.metrics.alignment import AlignmentRule, align_characters, align_words
from ds2cli.metrics.bootstrap import draw_totals
from ds2cli.metrics.rover import Hypothesis, VoteRule, combine
from ds2cli.plain_lines import PlainLines
from ds2cli.search.align import align
from ds2cli.search.beam import BeamSearch
from ds2cli.search.text_score import ExactScorer
from ds2cli.search.trellis import GapCosts
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.batching import plan_batches
from ds2cli.train.examples import Utterance
from ds2cli.train.scan import Candidate, ManifestRows, collect
from ds2cli.train.table_builder import TableBuilder

TEXTS = ["a b", "ab a", "b ab"]
VOCAB = Vocab((BLANK, " ", "a", "b"))


POLL_S = 0.1
"""Seconds between two looks at what has been compiled."""


def count_kernels() -> int:
    """The number of kernels that `compile_kernels` yields."""
    return len(_jit.KERNELS)


def compile_kernels() -> Iterator[str]:
    """Compile each kernel, or load it from the cache, and yield its name when it is ready."""
    waiting = dict.fromkeys(_jit.KERNELS)
    with temporary_folder("ds2-warm-") as folder, ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_kernels, folder)
        while not running.done():
            wait([running], POLL_S)
            for kernel in [kernel for kernel in waiting if kernel.signatures]:
                del waiting[kernel]
                yield kernel.__qualname__
        running.result()
        # kernels that are only called by others are loaded as a part of them
        yield from (kernel.__qualname__ for kernel in waiting)


def cache_root() -> Path | None:
    """The folder with the caches of all kernels; None if there is none, so that each process compiles."""
    folder = _jit.cache_folder(Path(ctc_cost.__file__))
    return None if folder is None else folder.parent


def run_kernels(folder: Path) -> None:
    """Call every function of the package that calls a kernel. folder: an empty one, for a language model."""
    for rule in get_args(AlignmentRule):
        align_words(["a b"], ["b"], rule).total()
    align_characters(["a b"], ["b"])
    draw_totals(np.ones((1, 1), np.int64), 0, 1)
    combine([[Hypothesis(["a", "b"]), Hypothesis(["b"])]], VoteRule())
    log_probs = np.full((6, len(VOCAB)), -np.log(len(VOCAB)), np.float32)
    for costs in (None, GapCosts(1.0, 1.0)):
        align(log_probs, "ab", VOCAB, 0.02, costs)
    # used where the native library is not installed
    ctc_cost.ctc_cost(log_probs, np.array([2], np.int32))
    model, _ = kneser_ney.estimate(build_corpus(text.split() for text in TEXTS), 2, [0, 0], fallback=True)
    file = folder / "2gram.arpa"
    file.write_text("".join(arpa.lines(model)), "utf-8")
    lm = NgramLm.load(str(file))
    lm.score(lm.begin, lm.id("a"))
    lm.end(lm.begin)
    search = BeamSearch.build(VOCAB, lm, alpha=1.0, beam=4, hotwords={"ab": 1.0})
    stream = search.stream()
    stream.advance(log_probs)
    stream.best()
    search(log_probs)
    ExactScorer(search, lm)(log_probs, TEXTS[0])
    _read_training_set(folder)
    _copy_line()


def _copy_line() -> None:
    """Copy a line of a manifest, as the commands of `ds2 data` do."""
    text = format_row({"id": "a"})
    list(PlainLines((), PathChange("", ""), len(text)).read(text, 1, lambda line, number: None))


def _read_training_set(folder: Path) -> None:
    """Read a training set of one row, and plan its batches."""
    archive, rows = str(folder / "warm.ark"), folder / "warm.jsonl"
    with ArkWriter(archive) as ark:
        row = {"id": "a", "text": TEXTS[0], "feats": ark.write("a", np.zeros((6, 1), np.float32))}
    rows.write_text(format_row(row), "utf-8")
    found = collect(ManifestRows(str(rows), ("id", "text")), Ledger(), lambda _: None)

    def use(candidate: Candidate, bins: int | None) -> tuple[Utterance, int]:
        return Utterance(candidate.id, candidate.feats, 6, np.ones(1, np.int32), candidate.text), bins or 1

    table = TableBuilder(VOCAB, 1, False, use, Ledger(), 1).build(found)
    plan_batches(table.num_frames, 10, 0, 0)
    draw_first(draw_words(b"0 0 ", b"a", np.ones(1, np.int64))[:, 6:])
