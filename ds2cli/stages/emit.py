"""Run a trained network over features, and store the emissions in an archive."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Chunks, archive_emissions, load_emissions
from ds2cli.recognizer.ensemble import Ensemble
from ds2cli.recognizer.experiment import Experiment


def run(
    rows: Iterable[Row], ledger: Ledger, experiment: Experiment, ark: str, max_bad: float = 100.0
) -> Generator[Row]:
    """Yield each row with `emission`, `num_steps` and `step_s`; the archive `ark` appears after the last row.

    An `emission` that a row already has is computed again. Rows whose features are missing, broken or of the wrong
    size are dropped; if they are more than `max_bad` percent (Ds2Error), an existing archive stays as it was.
    DataError, before any row is read, if there is no network, or if those of an ensemble do not go together.
    """
    _ = experiment.network
    if isinstance(experiment, Ensemble):
        _ = experiment.orders
    chunks = load_emissions(({**row, "emission": None} for row in rows), ledger, experiment)
    return archive_emissions(ark, chunks, _rows, ledger, max_bad, stage="emit")


def _rows(chunks: Chunks) -> Generator[Row]:
    for items in chunks:
        for item in items:
            yield item.row
