"""Which outputs are fresh, stale, partial or missing, and which input or setting has changed; nothing is run.

fresh    OUT is there, and its inputs and settings are those that it was made from
stale    an input, a value in a --config file, or the format of the stage has changed since, or an input is stale itself
partial  an interrupted command has left a part of it, and the same command continues; or archives of it are missing
missing  there is a record of OUT, but not OUT
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2cli import provenance, staleness
from ds2cli.errors import DataError, UsageError
from ds2cli.provenance import PIPE
from ds2cli.stages.lineage import find_outputs

STATES = ("fresh", "stale", "partial", "missing")
UNFINISHED = ".unfinished"
"""End of the names of the folders in which interrupted commands leave what they have finished (journal.py)."""


@dataclass(frozen=True)
class Status:
    """The state of an output, one of STATES. reasons: why it is not fresh.  command: that wrote it, "" if unknown."""

    out: str
    state: str
    stage: str
    reasons: tuple[str, ...] = ()
    command: str = ""


@dataclass
class Checker:
    """Finds the state of outputs; each is looked at once, and so is a folder that several were made from."""

    _known: dict[str, Status] = field(default_factory=dict)
    _folders: dict[str, str] = field(default_factory=dict)

    def check(self, out: str) -> Status | None:
        """The state of an output; None if there is no record of it. With a damaged one, it counts as stale."""
        name = os.path.realpath(out)
        if name in self._known:
            return self._known[name]
        record = provenance.read_record(out)
        if record is None:
            if not (Path(out).is_file() and provenance.is_damaged(out)):
                return None
            reason = f"{provenance.record_path(out)} is damaged: what {out} was made from is not known"
            self._known[name] = Status(out, "stale", "?", (reason,))
            return self._known[name]
        # a record that names its own output as an input must not be followed for ever
        self._known[name] = Status(out, "fresh", str(record["stage"]))
        self._known[name] = self._check(out, record)
        return self._known[name]

    def _check(self, out: str, record: Mapping[str, Any]) -> Status:
        stage, command = str(record["stage"]), str(record.get("command", ""))
        if not Path(out).exists():
            return Status(out, "missing", stage, (f"{out} does not exist",), command)
        partial = [*staleness.missing_parts(out, record), *_unfinished_training(out, record)]
        if partial:
            return Status(out, "partial", stage, tuple(partial), command)
        reasons = [
            *staleness.check_output(out, record),
            *staleness.explain_format(record),
            *staleness.explain_configs(out, record),
        ]
        for role, path, before in provenance.read_inputs(out, record):
            changed = list(staleness.explain_saved_input(role, path, before, self._folders))
            reasons += changed
            upstream = None if changed or path == PIPE else self.check(path)
            if upstream is not None and upstream.state != "fresh":
                reasons.append(f"{role} {path} is {upstream.state}")
        return Status(out, "stale" if reasons else "fresh", stage, tuple(reasons), command)


def find_status(places: Iterable[str]) -> Iterator[Status]:
    """The state of each output below some folders, or of single outputs, sorted by path.

    UsageError for a place that does not exist; DataError for an output without a record.
    """
    checker, found = Checker(), dict[str, Status]()
    for place in places:
        if Path(place).is_dir():
            for out in find_outputs(place):
                if status := checker.check(out):
                    found[out] = status
            found |= {status.out: status for status in _find_unfinished(place, found)}
        elif unfinished := _find_unfinished_of(place, checker):
            found[place] = unfinished
        elif not Path(place).exists() and not Path(provenance.record_path(place)).is_file():
            raise UsageError(f"{place}: no such file or folder")
        elif status := checker.check(place):
            found[place] = status
        else:
            raise DataError(f"{place}: no record of what it was made from ({provenance.record_path(place)})")
    yield from (found[out] for out in sorted(found))


def _find_unfinished(folder: str, found: Mapping[str, Status]) -> Iterator[Status]:
    """What interrupted commands have left."""
    for here, folders, _ in os.walk(folder):
        for name in [name for name in folders if name.startswith(".") and name.endswith(UNFINISHED)]:
            about = _read_about(os.path.join(here, name))
            out = os.path.normpath(os.path.join(here, str(about.get("out", name[1:].removesuffix(UNFINISHED)))))
            earlier = f"; {out} is that of an earlier run" if out in found else ""
            reason = f"an interrupted run has left {os.path.join(here, name)}: the same command continues{earlier}"
            yield Status(out, "partial", str(about.get("stage", "?")), (reason,), str(about.get("command", "")))
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _find_unfinished_of(out: str, checker: Checker) -> Status | None:
    """What an interrupted command has left of one output, below the folder that it is in."""
    earlier = checker.check(out)
    unfinished = _find_unfinished(os.path.dirname(out) or ".", {os.path.normpath(out): earlier} if earlier else {})
    return next((status for status in unfinished if status.out == os.path.normpath(out)), None)


def _read_about(folder: str) -> dict[str, Any]:
    try:
        about = json.loads(Path(folder, "about.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _unfinished_training(out: str, record: Mapping[str, Any]) -> Iterator[str]:
    if record.get("finished") is False:
        log = Path(out, "train.jsonl")
        done = len(log.read_text("utf-8").splitlines()) if log.is_file() else 0
        yield f"{done} of {record['settings'].get('epochs')} epochs are done: the same command continues"
