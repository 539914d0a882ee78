"""last.pt: the checkpoint that training resumes from. Loading it never runs code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from ds2cli.errors import DataError
from ds2cli.runtime.file import FORMAT

LAST = "last.pt"

PARTS: dict[str, Any] = {
    "model": dict,
    "optimizer": dict,
    "average": (dict, NoneType),
    "at": dict,
    "config": dict,
    "train": str,
}
"""Required entries of last.pt and their types."""


def dump_checkpoint(checkpoint: dict[str, Any]) -> bytes:
    """The bytes of last.pt: tensors, numbers, strings, lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **checkpoint}, buffer)
    return buffer.getvalue()


def load_checkpoint(exp: Path | str) -> dict[str, Any] | None:
    """What `dump_checkpoint` stored in EXP/last.pt, or None when there is no such file.

    Raises DataError when the file is damaged, incomplete or of another format.
    """
    path = Path(exp) / LAST
    if not path.is_file():
        return None
    try:
        _check_zip(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        version = checkpoint.get("format", FORMAT)
        if version == FORMAT:
            _check_parts(checkpoint)
    except (AttributeError, KeyError, RuntimeError, TypeError, OSError, EOFError, ValueError, pickle.PickleError) as e:
        # torch's own message recommends loading the file as code
        reason = "it holds more than tensors and numbers" if "weights_only" in str(e) else str(e).partition("\n")[0]
        raise DataError(f"{path}: not a checkpoint: {reason} (remove it, or give --fresh)") from e
    if version != FORMAT:
        found = repr(version)[:20]
        raise DataError(
            f"{path}: written by another version of ds2: expected format {FORMAT}, found {found} (give --fresh)"
        )
    return checkpoint


def _check_zip(path: Path) -> None:
    """Raises ValueError when the file is truncated or damaged, which torch does not check."""
    try:
        with zipfile.ZipFile(path) as f:
            if f.testzip() is not None:
                raise ValueError("it is damaged")
    except zipfile.BadZipFile as e:
        raise ValueError("it is truncated, or another kind of file") from e


def _check_parts(checkpoint: dict[str, Any]) -> None:
    """Raises ValueError when an entry is missing or has another type."""
    if missing := sorted(PARTS.keys() - checkpoint.keys()):
        raise ValueError(f"it has no {', '.join(missing)}")
    wrong = [name for name, kind in PARTS.items() if not isinstance(checkpoint[name], kind)]
    if not isinstance(checkpoint.get("features", {}), dict):
        wrong.append("features")
    if wrong:
        raise ValueError(f"{', '.join(wrong)} in it has another type")
