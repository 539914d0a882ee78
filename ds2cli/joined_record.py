"""The record of a result that was made in parts, as if its command had run once (steps/join_parts.sh)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ds2cli.config.base import MADE_BY, read_toml
from ds2cli.fingerprint import hash_file
from ds2cli.provenance import (
    Input,
    combine_hashes,
    config_path,
    describe_archives,
    find_config,
    folder_of,
    read_inputs,
    record_path,
    resolve_path,
)


def join_records(out: str, parts: Sequence[str], source: str, command: str, max_bad: float) -> dict[str, Any]:
    """The values of OUT.config.toml for the joined parts of a result, as if the command had run once, over `source`.

    parts: the results for the parts of `source`.  command, max_bad: with which they would have been made at once.
    {} if there is no record of a part.
    """
    files = [record_path(part) for part in parts]
    if not all(Path(file).is_file() for file in files):
        return {}
    values = [read_toml(file) for file in files]
    records = [dict(v.get(MADE_BY, {})) for v in values]
    joined = {**records[0], "command": command} if command else dict(records[0])
    for name in ("kept", "dropped"):
        joined[name] = sum(int(record.get(name, 0)) for record in records)
    for name in ("reasons", "not_selected"):
        counts = Counter[str]()
        for record in records:
            counts.update(record.get(name, {}))
        if counts or name in joined:
            joined[name] = dict(counts)
    joined.pop("dropped_list", None)
    if joined["dropped"]:
        joined["dropped_list"] = f"{Path(out).name}.dropped.jsonl"
    if "stage" in joined:
        folder = folder_of(out)
        inputs = {role: Input.read(path, role=role) for role, path, _ in read_inputs(parts[0], joined) if role != "IN"}
        inputs["IN"] = Input.read(source)
        archives = {
            resolve_path(part, str(a.get("path"))): None
            for part, record in zip(parts, records, strict=True)
            for a in record.get("parts", [])
        }
        joined |= {
            "fingerprint": combine_hashes(str(joined["stage"]), str(joined.get("settings_hash", "")), inputs),
            "output": hash_file(out).to_saved(),
            "parts": describe_archives([*archives], folder),
            "inputs": {role: i.to_saved(folder) for role, i in inputs.items()},
            "configs": [
                {**config, "path": config_path(find_config(parts[0], str(config.get("path"))), folder)}
                for config in joined.get("configs", [])
            ],
        }
    return {**values[0], "max_bad": max_bad, MADE_BY: joined}
