"""`ds2 bench serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds2cli import ui
from ds2cli.cli.lib.interrupt import ending_on_interrupt
from ds2cli.cli.lib.options import with_config
from ds2cli.config.bench import BenchServeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from ds2cli.stages.bench_serve import Progress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure a server under load (serve).")

COLUMNS = (
    *("streams", "max batch", "ended", "median", "p95", "p98", "max (ms)", "partial p98", "mean batch", "x real time"),
    *("per core", "refused", "1011", "other closes", "differ", "late p98 (ms)", "load"),
)


@app.callback()
def bench() -> None:
    """Measure a server under load (`serve`)."""


@app.command()
@with_config(BenchServeConfig)
def serve(
    config: BenchServeConfig,
    target: Annotated[
        str, typer.Argument(metavar="URL|EXP", help="A running server, or a network for which `ds2 serve` is started.")
    ],
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO…", help="Manifests (.jsonl), audio files and folders.")],
) -> None:
    """Load a server with live streams or uploads, and measure its latency and how much CPU time it takes.

    Each stream sends recordings one after another over /stream, in real time: each message when its last sample would
    have been spoken. `ended` is the number of recordings that were finished. The columns median, p95, p98 and max are
    the time from the last sample of a recording to its final text (ms). `partial p98` is how far partial texts lag
    behind the speaker, including the look-ahead of the network. `x real time` is the audio recognized per second.
    `per core` is the audio recognized per second of the server's CPU time: the number of streams that keep one core
    busy. `refused` and `1011` count streams that the server refused, or cut by its own fault. `differ` counts texts
    unlike those that the same recording got before. `late p98` is the delay of this generator itself: above 20 ms it
    had too little CPU time, and the other figures are too high. `load` is the load average of this machine before the
    run.

    With EXP, two servers are started and measured in turn: one with --max-batch 1 (no batch dispatch), one with 32.
    --plot draws batch sizes and latencies like figures 5 and 6 of the paper, with the paper's values next to them.

    Example: ds2 bench serve http://localhost:2700 data/test.jsonl --streams 50

    Example: ds2 bench serve exp/streaming data/test.jsonl --streams 10,20,30 --plot load.png
    """
    from ds2cli.metrics.heatmap import INSTALL_HINT, can_draw

    try:
        from ds2cli.stages import bench_serve as stage
    except ModuleNotFoundError as e:
        raise UsageError(f"ds2 bench serve needs the package {e.name} (pip install 'ds2cli[serve]')") from e

    if config.plot and not can_draw():
        raise UsageError(f"--plot: {INSTALL_HINT}")
    if config.plot and Path(config.plot).is_dir():
        raise UsageError(f"--plot {config.plot}: this is a folder, expected a file name to write to")
    default = BenchServeConfig()
    of_started = ("limit", "max_batch", "server_config")
    if stage.is_url(target) and (given := [n for n in of_started if getattr(config, n) != getattr(default, n)]):
        raise UsageError(f"--{given[0].replace('_', '-')} only applies to a server started from EXP, not to a URL")
    ledger, measured = Ledger(), list[dict[str, Any]]()
    shown = _Shown()
    with ending_on_interrupt(True) as ended:
        for event in stage.run(config, target, audio, ledger, ended):
            if isinstance(event, stage.Progress):
                shown.update(event)
            else:
                measured.append(event)
    if ledger.dropped:
        ui.warn(f"bench: {ledger.dropped} recordings cannot be read ({', '.join(ledger.reasons)})")
    report(config, measured)
    if config.plot and measured:
        from ds2cli.stages.bench_plots import draw

        draw(config.plot, measured)
        ui.log(f"bench: wrote {config.plot}")
    if ended.is_set():
        raise KeyboardInterrupt
    if not any(row["ended"] for row in measured):
        raise DataError("no recording was finished: increase --seconds, or see the table for refusals and errors")


class _Shown:
    """Progress: a line every few seconds."""

    INTERVAL_S = 10.0

    def __init__(self) -> None:
        self.label, self.next_s = "", 0.0

    def update(self, event: Progress) -> None:
        """Show it if it is time to."""
        if event.label != self.label or event.done_s < self.next_s - self.INTERVAL_S:
            self.label, self.next_s = event.label, self.INTERVAL_S
        if event.done_s >= self.next_s:
            self.next_s += self.INTERVAL_S
            rate = event.ended / event.done_s
            ui.log(f"bench: {event.label}: {event.done_s:.0f}/{event.total_s:.0f} s, {rate:.1f} recordings/s")


def report(config: BenchServeConfig, measured: list[dict[str, Any]]) -> None:
    """Print the measurements: a table, or an object per line."""
    import json

    if config.json:
        for row in measured:
            ui.echo_data(json.dumps(row))
        return
    ui.table("", COLUMNS, [_cells(row) for row in measured], to_stdout=True)
    for row in measured:
        if row["late_ms"] and row["late_ms"]["p98"] > 20:
            ui.warn(f"bench: with {row['streams']} streams this generator was late: run it on another core or machine")


def _cells(row: dict[str, Any]) -> list[str]:
    finals, lags, late = row["final_ms"] or {}, row["partial_lag_ms"] or {}, row["late_ms"] or {}

    def show(value: Any, digits: int = 0) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    closed = dict(row["closed"])
    failed = closed.pop("1011", 0)
    return [
        str(row["streams"]), show(row["max_batch"]), str(row["ended"]),
        *(show(finals.get(name)) for name in ("median", "p95", "p98", "max")),
        show(lags.get("p98")), show(row["mean_batch"], 1), show(row["x_real_time"], 1), show(row["streams_per_core"]),
        " ".join(f"{code}:{count}" for code, count in row["refused"].items()) or "0", str(failed),
        " ".join(f"{code}:{count}" for code, count in closed.items()) or "0",
        str(row["different_texts"]), show(late.get("p98"), 1), show(row["load_average"], 1),
    ]  # fmt: skip
