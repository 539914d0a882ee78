"""Run a stage as a filter: show progress, count dropped rows, and save the settings next to the output."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ds2cli import __version__, manifest, ui
from ds2cli.config.base import Config, StageConfig, to_toml
from ds2cli.drops import Ledger
from ds2cli.io import open_out
from ds2cli.manifest import Row

Stage = Callable[[Iterable[Row], Ledger], Iterable[Row]]


def filter_rows(
    name: str,
    config: StageConfig,
    source: str,
    out: str,
    *,
    needs: Iterable[str],
    run: Stage,
    copies: int = 1,
    buffer_pipe: bool = False,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Ledger:
    """Read `source`, pass its rows through the stage `run`, write `out`; return the ledger.

    copies: rows that the stage makes of each, for the progress bar.
    buffer_pipe: write to a pipe only after the last row. For stages whose rows point into an archive: the reader of the
        pipe opens the archive at the first row, but it is complete only after the last one.
    facts: what is saved with the settings, besides the counts.
    Ds2Error (exit status 1) if more than `config.max_bad` percent are bad: `out` is then left unchanged, but the
    dropped rows are written.
    """
    ledger = Ledger()
    rows = manifest.read(source, needs, ledger)
    lines = count_lines(source)
    results = ui.progress(run(rows, ledger), name, lines and copies * lines)
    write_rows(name, config, out, _collect(results) if buffer_pipe and _is_pipe(out) else results, ledger, **facts)
    return ledger


def write_rows(name: str, config: StageConfig, out: str, rows: Iterable[Row], ledger: Ledger, **facts: Any) -> None:
    """Write the rows of a stage, its dropped rows and its settings; refuse the result if too many are bad."""
    try:
        manifest.write(out, _refuse_at_end(name, config, rows, ledger))
    except Exception:
        # if the run failed before its first row, the drops listed next to the previous result still apply
        if ledger.kept or ledger.rows:
            report_drops(name, config, out, ledger)
        raise
    finally:
        # otherwise the threads of an interrupted stage would finish all their work
        if isinstance(rows, Generator):
            rows.close()
    report_drops(name, config, out, ledger)
    save_config(config, out, kept=ledger.kept, dropped=ledger.dropped, **facts)


def report_drops(name: str, config: StageConfig, out: str, ledger: Ledger) -> None:
    """Write the dropped rows next to `out`, log counts and notes; for a pipe, log the first dropped rows instead."""
    dropped = config.dropped or (None if _is_pipe(out) else f"{out}.dropped.jsonl")
    if dropped and (ledger.rows or config.dropped):
        with open_out(dropped) as f:
            f.writelines(ledger.format_lines())
    elif dropped:
        _remove_stale_drops(dropped)
    ui.log(f"{name}: {ledger.summary()}{f', see {dropped}' if dropped and ledger.rows else ''}")
    for note in ledger.notes:
        ui.log(f"{name}: {note}")
    if not dropped:
        bad = [row for row in ledger.rows if row["bad"]]
        for row in bad[:20]:
            ui.log(f"{name}: dropped {row['id']}: {row['reason']}: {row['detail']}")
        if len(bad) > 20:
            ui.log(f"{name}: … and {len(bad) - 20} more (--dropped FILE lists all of them)")


def save_config(config: Config, out: str, **facts: Any) -> None:
    """Write the resolved settings, the command, the version and `facts` to `<out>.config.toml`, unless it is a pipe."""
    if _is_pipe(out):
        return
    with open_out(f"{out}.config.toml") as f:
        f.write(to_toml(config, {"ds2cli": __version__, "command": shlex.join(["ds2", *sys.argv[1:]]), **facts}))


def count_lines(path: str) -> int | None:
    """Count the rows of a manifest for the progress bar; None for a pipe or a compressed file."""
    from pathlib import Path

    # a file that cannot be read is reported by the stage
    with contextlib.suppress(OSError):
        if path != "-" and not path.endswith(".gz") and Path(path).is_file():
            with Path(path).open("rb") as f:
                return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))
    return None


def _collect(rows: Iterable[Row]) -> Iterator[Row]:
    """Pass the rows on only after the last one has been computed."""
    yield from list(rows)


def _refuse_at_end(name: str, config: StageConfig, rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """Pass rows through and raise after the last one if too many are bad, so that the output never appears."""
    yield from ledger.count_kept(rows)
    ledger.enforce_max_bad(name, config.max_bad)


def _is_pipe(out: str) -> bool:
    """Whether OUT is standard output, a device or bash's >(command): no file can be written next to it."""
    return out == "-" or out.startswith("/dev/")


def _remove_stale_drops(path: str) -> None:
    """Remove the dropped rows of an earlier run: the list may name rows that are kept now."""
    from pathlib import Path

    file = Path(path)
    if file.is_file():
        file.unlink()
