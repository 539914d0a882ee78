"""last.pt: what a training needs to resume. Loading never runs code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from ds2cli.errors import DataError
from ds2cli.nn.checkpoint import FORMAT

LAST = "last.pt"

PARTS: dict[str, Any] = {
    "model": dict,
    "optimizer": dict,
    "average": (dict, NoneType),
    "at": dict,
    "config": dict,
    "train": str,
}
"""What last.pt holds at the least, and of which type."""


def dump_state(state: dict[str, Any]) -> bytes:
    """The bytes of last.pt: tensors, numbers, strings, lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    return buffer.getvalue()


def _check_whole(path: Path) -> None:
    """ValueError when the file is cut, or its bytes are not those that were written: torch looks at neither."""
    try:
        with zipfile.ZipFile(path) as f:
            if f.testzip() is not None:
                raise ValueError("it is damaged")
    except zipfile.BadZipFile as e:
        raise ValueError("it is cut, or something else") from e


def _check_parts(state: dict[str, Any]) -> None:
    """ValueError when something is missing, or of another type."""
    if missing := sorted(PARTS.keys() - state.keys()):
        raise ValueError(f"no {', '.join(missing)} in it")
    if odd := [name for name, kind in PARTS.items() if not isinstance(state[name], kind)]:
        raise ValueError(f"{', '.join(odd)} in it is something else")
    if not isinstance(state.get("features", {}), dict):
        raise ValueError("features in it is something else")


def load_state(exp: Path | str) -> dict[str, Any] | None:
    """What `dump_state` saved, or None where there is nothing.

    DataError when the file is not whole or another version made it.
    """
    path = Path(exp) / LAST
    if not path.is_file():
        return None
    try:
        _check_whole(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        number = state.get("format", FORMAT)
        if number == FORMAT:
            _check_parts(state)
    except (AttributeError, KeyError, RuntimeError, TypeError, OSError, EOFError, ValueError, pickle.PickleError) as e:
        # torch advises to load it as code
        reason = "it holds more than tensors and numbers" if "weights_only" in str(e) else str(e).partition("\n")[0]
        raise DataError(f"{path}: not a checkpoint: {reason} (remove it, or give --fresh)") from e
    if number != FORMAT:
        raise DataError(f"{path}: made by another version of ds2: format {number}, expected {FORMAT} (give --fresh)")
    return state
