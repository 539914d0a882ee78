"""Run the checks of `ds2 data validate` and print what they find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ds2cli import ui
from ds2cli.atomic import temporary_folder
from ds2cli.checks.faults import KINDS, Tally
from ds2cli.cli.lib.features import saved_features
from ds2cli.cli.lib.filter import count_lines
from ds2cli.config.data import ValidateConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out

FIX = "ds2 data fix repairs or drops them"


def run_validation(config: ValidateConfig, paths: Sequence[str]) -> None:
    """Check manifests and print the faults; DataError if there are any, or a manifest has no rows."""
    from ds2cli.stages.data_validate import Validation, open_source, parse_kinds

    tally = Tally(most=max(config.most, 1), strict=config.strict, ignored=parse_kinds(config.ignore))
    if config.report and config.report in paths:
        raise UsageError(f"--report {config.report}: the report would replace a manifest (give it a name of its own)")
    with contextlib.ExitStack() as stack:
        tally.write = _writer(config, stack)
        folder = stack.enter_context(temporary_folder("ds2-validate-"))
        sources = [open_source(path, folder, number) for number, path in enumerate(paths)]
        totals = [count_lines(source.file) for source in sources]
        run = Validation(config, tally, lambda path: saved_features(path, config.features))
        total = None if None in totals else sum(filter(None, totals))
        for _ in ui.progress(run.check(sources), "validate", total):
            pass
    name = sources[0].name if len(sources) == 1 else f"{len(sources)} manifests"
    if not config.json:
        _print(tally, config.most)
    for note in run.notes:
        ui.log(f"validate: {note}")
    _conclude(name, tally)


def _writer(config: ValidateConfig, stack: contextlib.ExitStack) -> Callable[[str], object] | None:
    """The function that writes a line of JSON to --report and to standard output, as far as they are asked for."""
    writers: list[Callable[[str], object]] = []
    if config.report:
        writers.append(stack.enter_context(open_out(config.report)).write)
    if config.json:
        writers.append(lambda line: ui.echo_data(line.rstrip("\n")))
    if not writers:
        return None
    return lambda line: [write(line) for write in writers]


def _print(tally: Tally, most: int) -> None:
    """The first faults of each kind, then a table of the kinds."""
    if not tally.counts:
        return
    for kind, count in tally.by_kind():
        examples = tally.examples.get(kind, [])[:most]
        if examples:
            ui.echo(f"{kind}: {KINDS.get(kind, kind)}")
        for fault in examples:
            ui.echo(f"  {_printable(fault.describe())}")
        if examples and count > len(examples):
            ui.echo(f"  … and {count - len(examples)} more (--most {count} prints them, --report FILE lists them)")
    if most:
        ui.echo()
    rows = [(kind, tally.severity(kind), count, _first(tally, kind)) for kind, count in tally.by_kind()]
    ui.table("", ("kind", "severity", "count", "first"), rows, to_stdout=True)
    ui.flush()


def _first(tally: Tally, kind: str) -> str:
    examples = tally.examples.get(kind)
    return _printable(f"{examples[0].path}:{examples[0].line}") if examples else ""


def _printable(text: str) -> str:
    return ui.one_line(text, "utf-8")


def _conclude(name: str, tally: Tally) -> None:
    faults, warnings = tally.total("fault"), tally.total("warning")
    also = f", {_count(warnings, 'warning')}" if warnings else ""
    if faults:
        places = f"{tally.faulty_rows} of {_count(tally.rows, 'row')}"
        raise DataError(f"{name}: {_count(faults, 'fault')} in {places}{also} ({FIX})")
    valid = f"all {tally.rows} rows are valid" if tally.rows > 1 else "the row is valid"
    ui.log(f"{name}: {valid}{also and f'{also} (--strict counts them as faults)'}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
