"""Why an output is not, or no longer, what its command would write (provenance.py has its record)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ds2cli.config.base import MADE_BY, read_toml
from ds2cli.errors import DataError, UsageError
from ds2cli.fingerprint import FileState, hash_file
from ds2cli.provenance import FORMATS, PIPE, Input, Provenance, find_config, read_record, resolve_path, saved_tables
from ds2cli.text.rule_sets import hash_rules

MOST_SHOWN = 60
"""Characters that a reason shows of a value."""


def explain_stale(made: Provenance, out: str, archives_in: str | None = None) -> list[str]:
    """Why OUT is not what a command that begins would write; [] if it is. made: what it begins with.

    archives_in: the folder that the command is to write archives to; None for any.
    """
    record = read_record(out)
    if record is None:
        return [f"{out} does not exist" if not Path(out).exists() else "no record says what it was made from"]
    reasons = [*check_output(out, record)]
    if archives_in is not None:
        place = os.path.realpath(archives_in)
        folders = {os.path.dirname(resolve_path(out, str(part.get("path")))) for part in record.get("parts", [])}
        reasons += [f"its archives are in {folder}" for folder in sorted(folders) if os.path.realpath(folder) != place]
    if record.get("stage") != made.stage:
        reasons.append(f"ds2 {record.get('stage')} wrote it")
    reasons += explain_format(record)
    # a setting that an older version did not have behaved as its default
    reasons += explain_settings({**made.defaults, **_flatten(record.get("settings", {}))}, made.settings)
    saved = saved_tables(record, "inputs")
    for role in sorted({*saved, *made.inputs}):
        now, before = made.inputs.get(role), saved.get(role)
        if now is None or before is None:
            reasons.append(f"{role} was {'not given' if before is None else 'given'}")
        else:
            reasons += explain_input(role, before, now)
    return reasons


def check_output(out: str, record: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the files of an output themselves."""
    state = FileState.from_saved(record.get("output", {}))
    if not Path(out).exists():
        yield f"{out} does not exist"
    elif state is not None and hash_file(out, [state]).sha256 != state.sha256:
        yield f"{out} has changed since ds2 wrote it"
    yield from missing_parts(out, record)


def missing_parts(out: str, record: Mapping[str, Any]) -> Iterator[str]:
    """The files that belong to OUT, such as archives, and that are missing, or shorter or longer than they were."""
    for part in record.get("parts", []):
        path = resolve_path(out, str(part.get("path")))
        size = Path(path).stat().st_size if Path(path).is_file() else None
        if size is None:
            yield f"{path} is missing"
        elif size != part.get("size"):
            yield f"{path} has {size} bytes, had {part.get('size')}"


def explain_format(record: Mapping[str, Any]) -> Iterator[str]:
    """The reason for which a result of another version of a stage is stale."""
    now = FORMATS.get(str(record.get("stage")), 1)
    if record.get("format") != now:
        yield f"written in format {record.get('format')}, now {now} (by ds2cli {record.get('ds2cli')})"
    if record.get("text_rules_hash", hash_rules()) != hash_rules():
        yield "the rules for texts have changed since"


def explain_settings(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """The settings of `now` that were different before. before: nested values, or those of `relevant_settings`."""
    was = _flatten(before)
    for name, value in _flatten(now).items():
        if was.get(name) != value:
            yield f"{where}{name} was {_shown(was.get(name))}, is {_shown(value)}"


def explain_input(role: str, before: Mapping[str, Any], now: Input) -> Iterator[str]:
    """Why an input is not what it was; before: its table in the record."""
    if now.path == PIPE or before.get("path") == PIPE:
        yield f"{role} is a pipe, of which no record is kept"
    elif not now.sha256:
        yield f"{role} {now.path} is missing"
    elif before.get("sha256") != now.sha256:
        yield f"{role} {now.path} has changed"
    elif before.get("made_by", "") and not now.made_by:
        yield f"the record of {role} {now.path} is missing or damaged"
    elif before.get("made_by", "") != now.made_by:
        yield f"{role} {now.path} was made again with other settings or from other inputs"


def explain_configs(out: str, record: Mapping[str, Any]) -> Iterator[str]:
    """The values in the --config files of a record that are different now."""
    for config in record.get("configs", []):
        name, values = str(config.get("path")), config.get("values")
        before = values if isinstance(values, Mapping) else {}
        path = find_config(out, name)
        try:
            now = read_toml(path)
        except UsageError as e:
            yield str(e)
            continue
        removed = _flatten(before).keys() - _flatten(now).keys()
        yield from explain_settings(before, now, f"{path}: ")
        yield from (f"{path}: {name} was {_shown(_flatten(before)[name])}, is not set" for name in sorted(removed))


def explain_saved_input(role: str, path: str, before: Mapping[str, Any], folders: dict[str, str]) -> Iterator[str]:
    """Why an input of a record is not what it was, looked at now; folders: see `Input.read`."""
    if path == PIPE:
        return
    try:
        now = Input.read(path, FileState.from_saved(before), role, folders)
    except DataError as e:
        yield f"{role} {e}"
        return
    yield from explain_input(role, before, now)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name != MADE_BY:
            flat.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat


def _shown(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
