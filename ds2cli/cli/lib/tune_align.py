"""`ds2 align --tune` and `--measure`: check the options, print the errors of word times, and store the correction."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import report_drops
from ds2cli.config.align import AlignConfig
from ds2cli.config.captions import CaptionsConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.experiment_files import refuse_bundle
from ds2cli.io import require_writable

if TYPE_CHECKING:
    from ds2cli.metrics.junctions import TimingErrors

OF_ROWS = ("gaps", "gap_cost", "skip_cost", "max_unaligned", "max_word", "chars", "book", "lang")
"""Settings that only affect rows."""


def tune_align(config: AlignConfig, exp: str, in_: str, out: str) -> None:
    """Measure the errors of word times on `in_`; with --tune, store their correction in EXP/align.toml."""
    from ds2cli.metrics.junctions import cross_validate, measure
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.timing import TIMING_FILE, resolve_timing, save_timing, timing_of
    from ds2cli.stages import junctions as stage
    from ds2cli.stages.tune import refuse_test_row, refuse_test_set

    name, stored = "align --tune" if config.tune else "align --measure", f"{exp}/{TIMING_FILE}"
    _check_options(config, stored, out)
    if config.tune:
        refuse_bundle(exp, f"--tune writes {TIMING_FILE} into EXP")
        refuse_test_set(in_)
        if not Path(exp).is_dir():
            raise UsageError(f"--tune writes {stored}, but {exp} is not a folder")
        require_writable(stored)
    else:
        config = resolve_timing(config, exp)
    experiment, ledger = Experiment(exp, device=config.device, precision=config.precision), Ledger()
    rows = list(manifest.read(in_, ("id", "text", "audio_filepath"), ledger))
    if config.tune:
        rows = [refuse_test_row(row) for row in rows]
    try:
        found = stage.run(rows, ledger, experiment, config.nj, config.seed)
        aligned = [item.without_emission() for item in ui.progress(found, name, unit="recording")]
    finally:
        report_drops(name, config, "-", ledger)
    ledger.enforce_max_bad(name, config.max_bad)
    if ledger.kept < 3:
        raise DataError(f"{in_}: expected three clips or more with sure edges, found {ledger.kept}")
    raw = measure(aligned)
    timing = raw.estimate() if config.tune else timing_of(config)
    corrected = cross_validate(aligned) if config.tune else measure(aligned, timing)
    note = ", cross-validated" if config.tune else ""
    _print(f"errors of word times on {in_} (ms)", {"as found": raw, f"corrected{note}": corrected})
    ui.echo(f"shift_ms {1000 * timing.shift_s:.1f} extend_ms {1000 * timing.extend_s:.1f}{' *' if config.tune else ''}")
    if config.tune:
        about = {"clips": len(raw.starts), "joins": len(raw.joins), "found": round(corrected.share_found(), 4)}
        save_timing(exp, timing, made_on=in_, **about)
        ui.log(f"align: stored in {stored} for the word times of ds2 align, decode and transcribe")


def _check_options(config: AlignConfig, stored: str, out: str) -> None:
    """UsageError for options that only affect rows."""
    option, what = ("--tune", f"writes {stored} and") if config.tune else ("--measure", "prints errors and writes")
    if out != "-":
        raise UsageError(f"{option} {what} no rows: OUT does not apply")
    defaults = AlignConfig()
    for name in (*OF_ROWS, *(f.name for f in fields(CaptionsConfig))):
        if getattr(config, name) != getattr(defaults, name):
            raise UsageError(f"{option} {what} no rows: --{name.replace('_', '-')} does not apply")


def _print(title: str, kinds: dict[str, TimingErrors]) -> None:
    from ds2cli.metrics.junctions import FOUND_S, NEAR_S, describe

    rows = []
    for kind, errors in kinds.items():
        for name, values in (("word starts", errors.starts), ("word ends", errors.ends)):
            rows.append([f"{name} {kind}", *(f"{value:.0f}" for value in describe(values))])
    columns = ["", "median", "mean absolute", "95 % of the absolute"]
    ui.table(title, columns, rows, to_stdout=True)
    for kind, errors in kinds.items():
        shares = [f"{100 * errors.share_found(s):.1f} % within {s:g} s" for s in (FOUND_S, NEAR_S)]
        ui.echo(f"{len(errors.joins)} joins {kind}: {', '.join(shares)}")
