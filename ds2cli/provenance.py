"""What an output was made from: its record in OUT.config.toml, and why it no longer corresponds to its inputs.

The table `made_by` of a record has the command, its stage, and

    format        version of what the stage writes (FORMATS); text_rules_hash of its rules for texts, if it has any
    output        size, time and hash of OUT
    parts         files that rows of OUT refer to, or that a training has written, and their sizes
    inputs        of each role, such as IN or EXP: path, hash, and the fingerprint of the record next to it
    configs       of each --config FILE: path and values, so that a change of a comment changes nothing
    fingerprint   hash of the stage, its format, its settings and its inputs

Paths are relative to the folder of OUT, which may be moved. An input counts as changed when its content changes, or the
fingerprint of its record: features computed with other settings may have the same rows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ds2cli.atomic import find_written
from ds2cli.config.base import MADE_BY, Config, as_dict, find_presets, read_toml
from ds2cli.errors import UsageError
from ds2cli.fingerprint import FileState, fingerprint, hash_file, hash_files, hash_folder
from ds2cli.inputs import describe_special
from ds2cli.text.rule_sets import hash_rules

FORMATS: dict[str, int] = {}
"""Versions of what stages write, 1 if not listed: raised when a stage gives another result for the same inputs."""

NETWORK_FILES = ("best.safetensors", "tokens.txt", "pieces.model")
"""The files of an experiment that recognition depends on; the settings of its search are among those of each stage."""

NETWORK_ROLES = ("EXP", "--ensemble", "--init")
"""Inputs that are experiments; one may have no network but only symbols, beside emissions of another toolkit."""

PIPE = "-"


@dataclass(frozen=True)
class Input:
    """An input as it was when the stage began. path: as the command names it.  made_by: fingerprint of its record."""

    path: str
    sha256: str
    made_by: str = ""
    state: FileState | None = None

    @classmethod
    def read(
        cls, path: str, known: FileState | None = None, role: str = "", folders: dict[str, str] | None = None
    ) -> Input:
        """An input now: a file, a folder of recordings, an experiment, or a pipe; without a hash if there is none.

        known: its state at an earlier time.  role: for which it is read.  folders: hashes of folders by their path,
        where new ones are added. DataError if it cannot be read.
        """
        if not os.path.exists(path) and path != PIPE:  # noqa: PTH110
            return cls(path, "")
        # some devices never end: that they are no input is for the stage to say
        if path == PIPE or describe_special(path) not in ("", "a folder"):
            return cls(PIPE, "")
        is_network = role.partition(" ")[0] in NETWORK_ROLES or Path(path, NETWORK_FILES[0]).is_file()
        if is_network and Path(path).is_dir():
            return cls(path, hash_files(path, NETWORK_FILES))
        if Path(path).is_dir():
            folders = {} if folders is None else folders
            name = os.path.realpath(path)
            folders[name] = folders.get(name) or hash_folder(path)
            return cls(path, folders[name])
        record = read_record(path) or {}
        state = hash_file(path, [known, FileState.from_saved(record.get("output", {}))])
        return cls(path, state.sha256, str(record.get("fingerprint", "")), state)

    def to_saved(self, folder: str) -> dict[str, Any]:
        """The input as a table of a record; folder: of OUT."""
        path = self.path if self.path == PIPE else os.path.relpath(self.path, folder or ".")
        state = {} if self.state is None else self.state.to_saved()
        made_by = {"made_by": self.made_by} if self.made_by else {}
        return {"path": path, "sha256": self.sha256, **state, **made_by}


@dataclass(frozen=True)
class Provenance:
    """What a command makes its output from.

    settings: those that change the result, but for paths of inputs, by name; defaults: their defaults.  inputs: by
    role.  configs: paths and values of --config files.  archives: field of the rows that refers to archives of this
    stage, "" for none.
    """

    stage: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    inputs: Mapping[str, Input]
    configs: Sequence[tuple[str, Mapping[str, Any]]] = ()
    archives: str = ""

    @classmethod
    def begin(
        cls,
        stage: str,
        config: Config,
        inputs: Mapping[str, str | None],
        configs: Sequence[tuple[str, Mapping[str, Any]]] = (),
        archives: str = "",
    ) -> Provenance:
        """Hash the inputs, before they are read. inputs: paths by role; None for one that was not given."""
        read = {role: Input.read(path, role=role) for role, path in inputs.items() if path is not None}
        # the path of an input is another one from another folder: what counts is its content
        named = {role.partition(" ")[0].removeprefix("--").replace("-", "_") for role in read}
        settings = {name: value for name, value in relevant_settings(config).items() if name not in named}
        return cls(stage, settings, default_settings(type(config)), read, configs, archives)

    def with_settings(self, **settings: Any) -> Provenance:
        """The same with further settings, for one of several outputs of a command."""
        return replace(self, settings={**self.settings, **settings})

    @property
    def fingerprint(self) -> str:
        """Equal for results that are equal: a hash of the stage, its format, its settings and its inputs."""
        return combine_hashes(self.stage, fingerprint(self.settings), self.inputs)

    def to_saved(self, out: str, parts: Sequence[str] = ()) -> dict[str, Any]:
        """The record of OUT, which has been written; a table for `made_by`. parts: files that its rows refer to."""
        folder, file = folder_of(out), find_written(out)
        # what a command has downloaded was not there when it began
        missing = [role for role, i in self.inputs.items() if not i.sha256 and i.path != PIPE]
        inputs = {**self.inputs, **{role: Input.read(self.inputs[role].path, role=role) for role in missing}}
        return {
            "stage": self.stage,
            "format": FORMATS.get(self.stage, 1),
            "fingerprint": self.fingerprint,
            "settings_hash": fingerprint(self.settings),
            **({"text_rules_hash": hash_rules()} if "text_rules" in self.settings else {}),
            "output": hash_file(str(file)).to_saved() if file.is_file() else {},
            "parts": describe_archives(parts, folder),
            "inputs": {role: i.to_saved(folder) for role, i in inputs.items()},
            "configs": [
                {"path": config_path(path, folder), "values": {n: v for n, v in values.items() if n != MADE_BY}}
                for path, values in self.configs
            ],
        }


def relevant_settings(config: Config) -> dict[str, Any]:
    """The settings that change what is written, by name; those of sections as `section.name`."""
    flat: dict[str, Any] = {}
    values = as_dict(config)
    for f in fields(config):
        value = getattr(config, f.name)
        if isinstance(value, Config):
            flat.update({f"{f.name}.{name}": v for name, v in relevant_settings(value).items()})
        elif not (f.metadata.get("per_core") or f.metadata.get("same_result")):
            flat[f.name] = values.get(f.name)
    return flat


def default_settings(config_type: type[Config]) -> dict[str, Any]:
    """The defaults of `relevant_settings`; {} if a setting has none."""
    try:
        return relevant_settings(config_type())
    except (TypeError, UsageError):
        return {}


def record_path(out: str) -> str:
    """The file of the record of an output: EXP/config.toml of an experiment, otherwise OUT.config.toml."""
    return os.path.join(out, "config.toml") if Path(out).is_dir() else f"{out}.config.toml"


def read_record(out: str) -> dict[str, Any] | None:
    """The record of an output, with its `settings`; None if there is none, or one of an older version."""
    path = record_path(out)
    if not Path(path).is_file():
        return None
    with contextlib.suppress(UsageError):
        values = read_toml(path)
        record = values.pop(MADE_BY, None)
        if isinstance(record, dict) and isinstance(record.get("stage"), str):
            output = record.get("output")
            lists = {name: _tables(record.get(name)) for name in ("parts", "configs")}
            return {**record, **lists, "output": output if isinstance(output, dict) else {}, "settings": values}
    return None


def is_damaged(out: str) -> bool:
    """Whether the file of the record of an output is empty or not TOML: a settings file without a record is neither."""
    path = Path(record_path(out))
    if not path.is_file():
        return False
    try:
        return not path.stat().st_size or not read_toml(str(path))
    except UsageError:
        return True


def read_inputs(out: str, record: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Role, path and saved table of each input of a record."""
    for role, before in saved_tables(record, "inputs").items():
        path = str(before.get("path"))
        yield role, path if path == PIPE else resolve_path(out, path), before


def folder_of(out: str) -> str:
    """The folder that an output is in, to which the paths of its record are relative; "" for the current one."""
    name = os.path.normpath(out)
    return os.path.join(name, "..") if Path(name).name in ("", "..") else os.path.dirname(name)


def resolve_path(out: str, path: str) -> str:
    """A path in the record of an output, from the current folder."""
    return os.path.normpath(os.path.join(folder_of(out), path))


def describe_archives(paths: Sequence[str], folder: str) -> list[dict[str, Any]]:
    """The files that rows refer to, as a record lists them; folder: of OUT."""
    return [{"path": os.path.relpath(p, folder or "."), "size": find_written(p).stat().st_size} for p in paths]


def combine_hashes(stage: str, settings_hash: str, inputs: Mapping[str, Input]) -> str:
    """The fingerprint of a record. settings_hash: of the settings that change the result."""
    hashes = {role: [i.sha256, i.made_by] for role, i in inputs.items()}
    return fingerprint([stage, FORMATS.get(stage, 1), settings_hash, hashes])


def saved_tables(record: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """A table of tables in a record, without what is damaged."""
    value = record.get(name, {})
    return {k: v for k, v in value.items() if isinstance(v, Mapping)} if isinstance(value, Mapping) else {}


def _tables(value: Any) -> list[dict[str, Any]]:
    """The tables in a list of a record, without what is damaged."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def find_config(out: str, name: str) -> str:
    """The --config file that the record of an output names, from the current folder; the name of a preset stays."""
    return name if name in find_presets() else resolve_path(out, name)


def config_path(path: str, folder: str) -> str:
    """A --config file, from the current folder, as a record in `folder` names it: relative, or the name of a preset."""
    return path if path in find_presets() and not Path(path).exists() else os.path.relpath(path, folder or ".")
