"""Run the repairs of `ds2 data fix`: into another file, in place with a backup, or only to see what would change."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ds2cli import ui
from ds2cli.atomic import together
from ds2cli.cli.lib.features import inherit_features
from ds2cli.cli.lib.filter import count_lines, is_pipe, report_drops, require_rows, source_name, write_rows
from ds2cli.cli.lib.provenance import begin
from ds2cli.cli.lib.row_diff import diff_rows, note_lines, read_for_diff, write_backup
from ds2cli.config.data import FixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.manifest import Row


def run_fix(config: FixConfig, in_: str, out: str, *, in_place: bool, diff: bool, dry_run: bool) -> None:
    """Repair the rows of `in_`. UsageError for options that contradict each other; other errors as of a filter."""
    from ds2cli.stages import data_fix, data_repair

    if in_place and out not in ("-", in_):
        raise UsageError(f"--in-place replaces {in_}: expected no OUT, got {out}")
    if (in_place or diff) and is_pipe(in_):
        raise UsageError(f"{'--in-place' if in_place else '--diff'}: IN is a pipe, expected the name of a file")
    out = in_ if in_place else out
    if diff and out == "-" and not dry_run:
        raise UsageError("--diff prints to standard output: name OUT, or add --in-place or --dry-run")
    ledger = require_rows(Ledger(source=source_name(in_)), config)
    repairs = data_fix.Repairs(measures=config.audio != "exists")
    rows: Iterable[Row] = data_repair.sort(in_, ledger, make_ids=True, repair=repairs.repair_fields)
    rows = data_fix.fix(rows, ledger, config, repairs)
    if config.audio != "exists":
        rows = ui.progress(rows, "fix", count_lines(in_))
    new: list[str] = []
    rows = note_lines(rows, new) if diff else rows
    old = read_for_diff(in_) if diff else []
    if dry_run:
        for _ in ledger.count_kept(rows):
            pass
        report_drops("fix", config, "-", ledger)
    else:
        _write(config, in_, out, rows, ledger)
    for line in diff_rows(old, new, in_, out if out != "-" else in_):
        ui.echo_diff(line)
    if dry_run:
        ledger.enforce_max_bad("fix", config.max_bad)


def _write(config: FixConfig, in_: str, out: str, rows: Iterable[Row], ledger: Ledger) -> None:
    """Write the rows; if they replace their source, together with its backup."""
    made = begin("data fix", config, out, {"IN": in_})
    if is_pipe(in_) or os.path.realpath(in_) != os.path.realpath(out):
        write_rows("fix", config, out, rows, ledger, inherit_features([in_]), made)
        return
    with together():
        backup = write_backup(in_)
        write_rows("fix", config, out, rows, ledger, inherit_features([in_]), made)
    ui.log(f"fix: the original {in_} is kept as {backup}")
