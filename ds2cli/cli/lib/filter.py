"""Run a stage as a filter: progress, a ledger of drops, and the settings saved beside the output."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
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
    total: int | None = None,
) -> Ledger:
    """Read `source`, pass its rows through the stage `run`, write `out`; return the ledger.

    Exits 1 when more than `config.max_bad` percent are bad: then `out` stays as it was, the dropped rows are written.
    """
    ledger = Ledger()
    rows = manifest.read(source, needs, ledger)
    total = total if total is not None else count_lines(source)
    write_rows(name, config, out, ui.progress(run(rows, ledger), name, total), ledger)
    return ledger


def write_rows(name: str, config: StageConfig, out: str, rows: Iterable[Row], ledger: Ledger) -> None:
    """Write a stage's rows, its drops and its settings; refuse the result when too many are bad."""
    try:
        manifest.write(out, _judged(name, config, rows, ledger))
    except Exception:
        # what stopped before its first row has nothing to tell, and the drops of the result that stays are still true
        if ledger.kept or ledger.rows:
            report_drops(name, config, out, ledger)
        raise
    finally:
        # threads of a stage that was interrupted would go on until the end of their work
        if isinstance(rows, Generator):
            rows.close()
    report_drops(name, config, out, ledger)
    save_config(config, out, kept=ledger.kept, dropped=ledger.dropped)


def report_drops(name: str, config: StageConfig, out: str, ledger: Ledger) -> None:
    """Write the dropped rows beside `out` and log the counts; for a pipe the first of them are logged instead."""
    dropped = config.dropped or (None if _is_pipe(out) else f"{out}.dropped.jsonl")
    if dropped and (ledger.rows or config.dropped):
        with open_out(dropped) as f:
            f.writelines(ledger.lines())
    elif dropped:
        _forget(dropped)
    ui.log(f"{name}: {ledger.summary()}{f', see {dropped}' if dropped and ledger.rows else ''}")
    if not dropped:
        bad = [row for row in ledger.rows if row["bad"]]
        for row in bad[:20]:
            ui.log(f"{name}: dropped {row['id']}: {row['reason']}: {row['detail']}")
        if len(bad) > 20:
            ui.log(f"{name}: … and {len(bad) - 20} more (--dropped FILE writes them all)")


def save_config(config: Config, out: str, **made: Any) -> None:
    """Write the resolved settings, the command and the version to `<out>.config.toml` (nowhere for a pipe)."""
    if _is_pipe(out):
        return
    with open_out(f"{out}.config.toml") as f:
        f.write(to_toml(config, {"ds2cli": __version__, "command": shlex.join(["ds2", *sys.argv[1:]]), **made}))


def count_lines(path: str) -> int | None:
    """How many rows a regular manifest has, for the progress bar; None for a pipe."""
    from pathlib import Path

    # whoever reads the rows says what is wrong with a file that cannot be read
    with contextlib.suppress(OSError):
        if path != "-" and not path.endswith(".gz") and Path(path).is_file():
            with Path(path).open("rb") as f:
                return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))
    return None


def _judged(name: str, config: StageConfig, rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """Pass rows on and raise at their end when too many were bad, so that the output never appears."""
    yield from ledger.keep(rows)
    ledger.refuse(name, config.max_bad)


def _is_pipe(out: str) -> bool:
    """Whether nothing can lie beside OUT: standard output, a device, or bash's >(command)."""
    return out == "-" or out.startswith("/dev/")


def _forget(path: str) -> None:
    """Remove the drops of an earlier run: a stale list would speak of rows that are fine now."""
    from pathlib import Path

    file = Path(path)
    if file.is_file():
        file.unlink()
