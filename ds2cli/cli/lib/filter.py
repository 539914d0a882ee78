"""Run a stage as a filter: show progress, count dropped rows, and save the settings next to the output."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

from ds2cli import __version__, manifest, ui
from ds2cli.atomic import apart, together
from ds2cli.config.base import Config, StageConfig, to_toml
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.io import open_out
from ds2cli.manifest import Row
from ds2cli.provenance import Provenance

Stage = Callable[[Iterable[Row], Ledger], Iterable[Row]]


def filter_rows(
    name: str,
    config: StageConfig,
    source: str,
    out: str,
    *,
    needs: Iterable[str],
    run: Stage,
    copies: int | None = 1,
    buffer_pipe: bool = False,
    is_choice: bool = False,
    facts: Mapping[str, Any] = MappingProxyType({}),
    made: Provenance | None = None,
) -> Ledger:
    """Read `source`, pass its rows through the stage `run`, write `out`; return the ledger.

    copies: rows that the stage makes of each, for the progress bar; None if that is not known.
    buffer_pipe: write to a pipe only after the last row. For stages whose rows point into an archive: the reader of the
        pipe opens the archive at the first row, but it is complete only after the last one.
    is_choice: whether the stage selects rows; see `require_rows`.
    facts: what is saved with the settings, besides the counts.
    made: what the rows are made from, see `cli/lib/provenance.py`.
    Ds2Error (exit status 1) if more than `config.max_bad` percent are bad, or no row is kept: `out` and the files next
    to it are then left unchanged, and the dropped rows are written to a file of their own. DataError for no rows.
    UsageError if the dropped rows would replace `source` or `out`.
    """
    refuse_drops_in(source, config)
    ledger = require_rows(Ledger(source=source_name(source)), config, is_choice=is_choice)
    rows = manifest.read(source, needs, ledger)
    lines = count_lines(source)
    results = ui.progress(run(rows, ledger), name, lines and copies and copies * lines)
    results = _collect(results) if buffer_pipe and is_pipe(out) else results
    write_rows(name, config, out, results, ledger, facts, made)
    return ledger


def require_rows(ledger: Ledger, config: StageConfig, *, is_choice: bool = False) -> Ledger:
    """The ledger, which now refuses a result without rows; but with --max-bad 100 any result of a filter is accepted.

    That is for the parts of a parallel job, of which some may be empty.
    is_choice: whether the command selects or searches: an empty result is then refused even with --max-bad 100.
    """
    ledger.needs_rows = is_choice or config.max_bad < 100
    return ledger


def source_name(source: str) -> str:
    """A manifest as messages name it."""
    return "<stdin>" if source == "-" else source


def write_rows(
    name: str,
    config: StageConfig,
    out: str,
    rows: Iterable[Any],
    ledger: Ledger,
    facts: Mapping[str, Any] = MappingProxyType({}),
    made: Provenance | None = None,
    write: Callable[[str, Iterable[Any]], int] | None = None,
) -> None:
    """Write the rows of a stage, its dropped rows and its settings; refuse the result if too many are bad.

    facts: what is saved with the settings, complete after the last row.  made: see `filter_rows`.
    write: writes them; `manifest_lines.write` if they are lines [default: `manifest.write`].
    """
    parts: dict[str, None] = {}
    try:
        with writing(name, config, out, ledger, facts, made, parts):
            kept = _refuse_at_end(name, config, rows, ledger)
            kept = _note_archives(kept, made.archives, parts) if made and made.archives else kept
            (write or manifest.write)(out, kept)
    finally:
        # otherwise the threads of an interrupted stage would finish all their work
        if isinstance(rows, Generator):
            rows.close()


@contextlib.contextmanager
def writing(
    name: str,
    config: StageConfig,
    out: str,
    ledger: Ledger | None,
    facts: Mapping[str, Any],
    made: Provenance | None = None,
    parts: Iterable[str] = (),
) -> Iterator[None]:
    """Write `out` in this block: its dropped rows and its settings appear together with it, or none of them does.

    ledger: None if no rows are counted.  facts: what is saved with the settings, complete at the end of the block.
    made: what `out` is made from.  parts: the files that it refers to, complete at the end of the block.
    UsageError if the dropped rows would replace `out`.
    """
    refuse_drops_in(out, config)
    try:
        # a pipe has its rows at once, and they may refer to archives
        with contextlib.nullcontext() if is_pipe(out) else together():
            yield
            if ledger is not None:
                _write_drops(config, ledger, drops_path(config, out))
                facts = {**count_facts(ledger, drops_path(config, out), os.path.dirname(out)), **facts}
            if made is not None and not is_pipe(out):
                facts = {**facts, **made.to_saved(out, [*parts])}
            save_config(config, out, **facts)
    except BrokenPipeError as e:
        # the reader did not want the rest of the result, nor a report on it
        if config.dropped:
            e.add_note(config.dropped)
        raise
    except Exception:
        # if the run failed before its first row, there is nothing to report
        if ledger is not None and (ledger.kept or ledger.rows or ledger.unselected):
            with apart():
                report_drops(name, config, out, ledger, refused=True)
        raise
    dropped = drops_path(config, out) if ledger is not None and (ledger.rows or config.dropped) else None
    for stale in () if is_pipe(out) else (f"{out}.dropped.jsonl", f"{out}.refused.jsonl"):
        if dropped is None or os.path.realpath(stale) != os.path.realpath(dropped):
            _remove_stale_drops(stale)
    if ledger is not None:
        _log_drops(name, ledger, drops_path(config, out))


def count_facts(ledger: Ledger, dropped: str | None, folder: str) -> dict[str, Any]:
    """What a record says of the utterances. dropped: the file that lists the dropped ones.  folder: of the output."""
    facts: dict[str, Any] = {"kept": ledger.kept, "dropped": ledger.dropped}
    if ledger.reasons:
        facts["reasons"] = dict(ledger.reasons)
    if ledger.unselected:
        facts["not_selected"] = dict(ledger.unselected)
    if dropped and ledger.rows:
        facts["dropped_list"] = os.path.relpath(dropped, folder or ".")
    return facts


def report_drops(name: str, config: StageConfig, out: str, ledger: Ledger, *, refused: bool = False) -> None:
    """Write the dropped rows to their file, log counts and notes; without a file, log the first dropped rows instead.

    refused: the result is not written. If there is an earlier one, its list stays; the new one is OUT.refused.jsonl.
    """
    dropped = drops_path(config, out, refused=refused)
    _write_drops(config, ledger, dropped)
    _log_drops(name, ledger, dropped)


def drops_path(config: StageConfig, out: str, *, refused: bool = False) -> str | None:
    """The file for dropped rows: --dropped, else OUT.dropped.jsonl, or OUT.refused.jsonl; None for a pipe."""
    if config.dropped or is_pipe(out):
        return config.dropped
    return f"{out}.refused.jsonl" if refused and os.path.exists(out) else f"{out}.dropped.jsonl"  # noqa: PTH110


def refuse_drops_in(path: str, config: StageConfig) -> None:
    """UsageError if --dropped names the file that a command reads or writes."""
    if config.dropped and not is_pipe(path) and os.path.realpath(config.dropped) == os.path.realpath(path):
        raise UsageError(f"--dropped {config.dropped}: the list would replace {path} (give it a name of its own)")


def _write_drops(config: StageConfig, ledger: Ledger, dropped: str | None) -> None:
    if dropped and (ledger.rows or config.dropped):
        with open_out(dropped) as f:
            f.writelines(ledger.format_lines())


def _log_drops(name: str, ledger: Ledger, dropped: str | None) -> None:
    ui.log(f"{name}: {ledger.summary()}{f', see {dropped}' if dropped and ledger.rows else ''}")
    for note in ledger.notes:
        ui.log(f"{name}: {note}")
    if not dropped:
        for row in islice((row for row in ledger.rows if row["bad"]), 20):
            ui.log(f"{name}: dropped {row['id']}: {row['reason']}: {row['detail']}")
        if ledger.bad > 20:
            ui.log(f"{name}: … and {ledger.bad - 20} more (--dropped FILE lists all of them)")


def save_config(config: Config, out: str, **facts: Any) -> None:
    """Write the resolved settings, the command, the version and `facts` to `<out>.config.toml`, unless it is a pipe."""
    if is_pipe(out):
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


def first_row(path: str) -> Row | None:
    """The first row of an existing file; None if it has none."""
    with contextlib.suppress(OSError, ValueError, BadUtterance):
        if not is_pipe(path):
            with open(path, encoding="utf-8") as f:  # noqa: PTH123
                return manifest.parse(f.readline())
    return None


def _note_archives(rows: Iterable[Row], field: str, parts: dict[str, None]) -> Iterator[Row]:
    """Pass rows through and note the archives that their `field` refers to."""
    for row in rows:
        parts[row[field].rpartition(":")[0]] = None
        yield row


def _collect(rows: Iterable[Row]) -> Iterator[Row]:
    """Pass the rows on only after the last one has been computed."""
    yield from list(rows)


def _refuse_at_end(name: str, config: StageConfig, rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """Pass rows through and raise after the last one if too many are bad, so that the output never appears."""
    yield from ledger.count_kept(rows)
    ledger.enforce_max_bad(name, config.max_bad)


def is_pipe(out: str) -> bool:
    """Whether OUT is standard output, a pipe, a device or bash's >(command): no file can be written next to it."""
    # those of Path raise for some names; opening the file reports the error
    is_stream = os.path.exists(out) and not os.path.isfile(out)  # noqa: PTH110
    return out == "-" or out.startswith("/dev/") or is_stream


def _remove_stale_drops(path: str) -> None:
    """Remove the dropped rows of an earlier run: the list may name rows that are kept now."""
    from pathlib import Path

    file = Path(path)
    if file.is_file():
        file.unlink()
