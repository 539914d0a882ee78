"""Run a trained network over features, and store the emissions in an archive."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from ds2cli.drops import Ledger
from ds2cli.journal import Journal
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import load_chunks
from ds2cli.recognizer.ensemble import Ensemble
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.resumed import list_rows, process_chunks


def run(
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    ark: str,
    max_bad: float = 100.0,
    journal: Journal | None = None,
) -> Generator[Row]:
    """Yield each row with `emission`, `num_steps` and `step_s`; the archive `ark` appears after the last row.

    An `emission` that a row already has is computed again. Rows whose features are missing, broken or of the wrong
    size are dropped; if they are more than `max_bad` percent (Ds2Error), an existing archive stays as it was.
    journal: keeps finished chunks.
    DataError, before any row is read, if there is no network, or if those of an ensemble do not go together.
    """
    _ = experiment.network
    if isinstance(experiment, Ensemble):
        _ = experiment.orders
    return process_chunks(
        ({**row, "emission": None} for row in rows),
        lambda chunks: load_chunks(chunks, ledger, experiment),
        list_rows,
        ledger,
        stage="emit",
        max_bad=max_bad,
        ark=ark,
        journal=journal,
        fields=("feats",),
    )
