"""The folder of an export: files of others are not replaced, and those of an earlier export do not stay."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ds2cli.atomic import remove_file
from ds2cli.errors import UsageError


def refuse_foreign(folder: str, names: Iterable[str], record: str) -> None:
    """UsageError if the folder has one of the files `names`, but no `record`, which is beside an export of ds2."""
    if not Path(folder, record).exists():
        for name in names:
            if Path(folder, name).exists():
                raise UsageError(f"{folder}: its {name} is not an export of ds2 (name another folder)")


def remove_others(folder: str, names: Iterable[str], written: Iterable[str]) -> None:
    """Remove those of `names` that were not written now."""
    for name in sorted({*names} - {*written}):
        if Path(folder, name).is_file():
            remove_file(os.path.join(folder, name))
