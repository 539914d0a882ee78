"""Emissions of networks of other toolkits: computed by an ONNX model, or read from files of scores.

T frames, N samples, T' output steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.archive import read_matrix
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.journal import Journal
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Chunks, Emission
from ds2cli.recognizer.resumed import list_rows, process_chunks
from ds2cli.recognizer.score_files import to_log_probs
from ds2cli.search.emission import check_emission
from ds2cli.text.tokens import Tokens, load_tokens
from ds2cli.text.vocab import TOKENS, Vocab

Scores = Callable[[Row], NDArray[np.float32]]
"""Returns the scores (T', outputs) of a row; BadUtterance if there are none."""

Steps = Callable[[Row, int], float]
"""Returns the duration of a step (s) of a row with this many of them; BadUtterance if it is not known."""


def run(
    rows: Iterable[Row],
    ledger: Ledger,
    scores: Scores,
    tokens: Tokens,
    step_s: Steps,
    ark: str,
    max_bad: float = 100.0,
    journal: Journal | None = None,
) -> Generator[Row]:
    """Yield each row with `emission`, `num_steps` and `step_s`.

    The archive `ark` and, next to it, the tokens.txt of its symbols appear after the last row, unless more than
    `max_bad` percent of the rows are bad (Ds2Error). DataError if scores are of another number of symbols.
    journal: keeps finished chunks.
    """
    yield from process_chunks(
        rows,
        lambda chunks: _compute(chunks, ledger, scores, tokens, step_s),
        list_rows,
        ledger,
        stage="emit",
        max_bad=max_bad,
        ark=ark,
        journal=journal,
        fields=("feats", "audio_filepath"),
    )
    tokens.vocab.save(tokens_path(ark))


def tokens_path(ark: str) -> Path:
    """The list of the symbols of the emissions in an archive."""
    return Path(ark).parent / TOKENS


def check_tokens(ark: str, vocab: Vocab) -> None:
    """DataError if the folder of the archive has a list of other symbols, whose emissions could not be used then."""
    path = tokens_path(ark)
    if path.exists() and load_tokens(path).vocab.symbols != vocab.symbols:
        raise DataError(f"{path}: has other symbols: expected a folder for those of this network (--dir FOLDER)")


def read_standardized(row: Row, rate: int | None, *, standardize: bool) -> NDArray[np.float32]:
    """The samples (N,) of a row at `rate` Hz, or its stored features (T, F) if `rate` is None.

    standardize: scale the samples, or each bin, to mean 0 and variance 1.
    BadUtterance "no-audio", "no-feats" and as of reading these.
    """
    if rate is None:
        if row.get("feats") is None:
            raise BadUtterance("no-feats", "the row has no `feats` (ds2 featurize)")
        x = read_matrix(row["feats"], row["id"])
    else:
        recording = parse_recording(row)
        if recording is None:
            raise BadUtterance("no-audio", "the row has no `audio_filepath`, and the network takes samples")
        x = read_samples(recording, rate)
    if not len(x):
        raise BadUtterance("too-short", "there are no frames" if rate is None else "there are no samples")
    if standardize:
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + np.float32(1e-7))
    return np.asarray(x, np.float32)


def _compute(chunks: Iterable[list[Row]], ledger: Ledger, scores: Scores, tokens: Tokens, step_s: Steps) -> Chunks:
    def work(row: Row) -> Emission:
        found = check_emission(to_log_probs(scores(row), tokens), tokens.vocab)
        return Emission({**row, "emission": None}, found, step_s(row, len(found)))

    for chunk in chunks:
        found = []
        for row in chunk:
            try:
                what = "the network over this recording"
                found.append(memory.fit_utterance(partial(work, row), what, memory.SHORTER))
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
        yield found
