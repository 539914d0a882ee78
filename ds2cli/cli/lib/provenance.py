"""What an output is made from: hashed when a command begins; with --if-stale a fresh output is left as it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer

from ds2cli import io, ui
from ds2cli.cli.lib.filter import is_pipe
from ds2cli.cli.lib.options import config_files
from ds2cli.config.base import Config, read_toml
from ds2cli.config.data import CombineConfig
from ds2cli.joined_record import join_records
from ds2cli.provenance import PIPE, Provenance, read_record, record_path
from ds2cli.staleness import explain_stale

MOST_REASONS = 3


def begin(
    stage: str,
    config: Config,
    out: str,
    inputs: Mapping[str, str | None],
    archives: str = "",
    *,
    if_stale: bool = False,
    tuned: Sequence[str] = (),
    further: Iterable[str | None] = (),
) -> Provenance | None:
    """What OUT is about to be made from; None if OUT is a pipe, which gets no record.

    None, too, if OUT replaces an input.

    inputs: paths by role, such as IN or --lm; None for one that was not given.  archives: field of the rows that refers
    to archives of this stage, such as feats.
    tuned: files with settings that an earlier command has stored, such as EXP/decode.toml.
    further: other files or folders that the command writes.
    if_stale: end the command if OUT is fresh, and otherwise say why it is not.
    """
    if is_pipe(out):
        return None
    read = {role: redirected(path) if path == PIPE else path for role, path in inputs.items()}
    if any(path is not None and os.path.realpath(path) == os.path.realpath(out) for path in read.values()):
        # what OUT was before is no longer there to compare with
        return None
    stored = [(path, read_toml(path)) for path in tuned if Path(path).is_file()]
    configs = (*config_files.get(), *stored)
    made = Provenance.begin(stage, config, read, configs, archives)
    if not if_stale:
        return made
    reasons = explain_stale(made, out, getattr(config, "dir", None))
    reasons += [f"{path} does not exist" for path in further if path is not None and not Path(path).exists()]
    if not reasons:
        ui.log(f"{stage}: {out} is fresh: nothing to do")
        raise typer.Exit
    ui.log(f"{stage}: making {out}: {_join_first(reasons)}")
    return made


def begin_training(config: Config, exp: str, inputs: Mapping[str, str | None], *, if_stale: bool) -> Provenance:
    """What the experiment EXP is about to be trained from; see `begin`. An unfinished training is never fresh."""
    made = Provenance.begin("train", config, inputs, config_files.get())
    if if_stale:
        is_finished = (read_record(exp) or {}).get("finished")
        reasons = explain_stale(made, exp) if is_finished else ["the training has not finished"]
        if not reasons:
            ui.log(f"train: {exp} is fresh: nothing to do")
            raise typer.Exit
        ui.log(f"train: training {exp}: {_join_first(reasons)}")
    return made


def _join_first(reasons: Sequence[str]) -> str:
    more = [f"and {len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []
    return "; ".join([*reasons[:MOST_REASONS], *more])


def redirected(path: str) -> str:
    """The file that the shell opened as standard input, or `-` for a pipe."""
    return io.redirect_target(io.standard_input()) or path


def existing(path: str | None) -> str | None:
    """The path, if it is one: some options also take names."""
    return path if path is not None and os.path.exists(path) else None  # noqa: PTH110


def save_joined_record(config: CombineConfig, out: str, parts: Sequence[str]) -> None:
    """Write the record of OUT as if the command that made the parts had run once, over `config.parts_of`."""
    import tomli_w

    assert config.parts_of is not None
    if values := join_records(out, parts, config.parts_of, config.command or "", config.max_bad):
        with io.open_out(record_path(out)) as f:
            f.write(tomli_w.dumps(values))
