"""Run a trained network over features, and keep its log-probabilities in an archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.nn.checkpoint import Bundle
from ds2cli.nn.emit import emissions

CHUNK = 64
"""Rows whose features are in memory at once."""


def run(rows: Iterable[Row], ledger: Ledger, bundle: Bundle, ark: str, max_bad: float = 100.0) -> Iterator[Row]:
    """Yield each row with `emission`, `num_steps` and `step_s`; the archive `ark` appears after the last one.

    An utterance whose features are missing, broken, or of another size than the network's is dropped. When more than
    `max_bad` percent are (Ds2Error), the archive of an earlier run stays.
    """
    made = 0
    with ArkWriter(ark) as writer:
        source = iter(rows)
        while chunk := list(islice(source, CHUNK)):
            kept = list(_read(chunk, ledger, bundle))
            for (row, _), scores in zip(kept, emissions(bundle, [x for _, x in kept]), strict=True):
                place = writer.write(row["id"], scores)
                made += 1
                yield {**row, "emission": place, "num_steps": len(scores), "step_s": bundle.step_s}
        ledger.refuse("emit", max_bad, made)


def _read(rows: Iterable[Row], ledger: Ledger, bundle: Bundle) -> Iterator[tuple[Row, Any]]:
    for row in rows:
        try:
            x = read_matrix(row["feats"], row["id"])
            if not len(x):
                raise BadUtterance("too-short", "its features have no frame")
            if x.shape[1] != bundle.bins:
                raise BadUtterance("wrong-features", f"{x.shape[1]} bins, the network was trained on {bundle.bins}")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        yield row, x
