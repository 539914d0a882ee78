"""Checks of stored features and emissions: archive, key, size and values."""

from __future__ import annotations

import numpy as np

from ds2cli.archive import matrix_shape, read_matrix
from ds2cli.checks.faults import Finding
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row

COUNTS = {"feats": "num_frames", "emission": "num_steps"}
"""The fields that refer to a matrix, and those that state its number of rows."""


def check_matrices(row: Row, *, values: bool) -> tuple[list[Finding], dict[str, int]]:
    """All that is wrong with the matrices of a row, and the number of columns of each.

    values: also read the matrices, which finds those with NaN or infinite values.
    """
    found: list[Finding] = []
    columns: dict[str, int] = {}
    for name, count in COUNTS.items():
        if not row.get(name):
            continue
        try:
            rows, columns[name] = matrix_shape(row[name], row.get("id"))
            # blank and symbols that are impossible have log-probability -inf
            if values and name == "feats" and not np.isfinite(read_matrix(row[name])).all():
                found.append(("not-a-number", f"{name}: the matrix at {row[name]} has values that are NaN or infinite"))
        except BadUtterance as e:
            found.append((e.reason, f"{name}: {e.detail}"))
            continue
        stated = row.get(count)
        if stated is not None and stated != rows:
            found.append(("wrong-num-frames", f"{count} is {stated}, the matrix at {row[name]} has {rows} rows"))
    return found, columns


class SameColumns:
    """Compares the numbers of columns with those of the first row that has them."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, int]] = {}

    def check(self, line: int, columns: dict[str, int]) -> list[Finding]:
        """A finding for each field whose matrix has another number of columns than in an earlier row."""
        found = []
        for name, number in columns.items():
            expected, first = self._first.setdefault(name, (number, line))
            if number != expected:
                found.append(("other-bins", f"{name}: {number} columns, expected {expected} as in line {first}"))
        return found
