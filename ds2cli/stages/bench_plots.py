"""Plot measurements of a server as figures 5 and 6 of the paper: batch sizes, and latencies with and without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ds2cli.io import open_out_bytes
from ds2cli.stages.bench_server import MOST_COUNTED

PAPER_BATCHES = {
    10: (0.434, 0.330, 0.162, 0.052, 0.015, 0.005, 0.001, 0.001, 0.0, 0.0),
    20: (0.194, 0.180, 0.187, 0.159, 0.110, 0.079, 0.039, 0.023, 0.013, 0.016),
    30: (0.020, 0.044, 0.074, 0.107, 0.129, 0.138, 0.129, 0.100, 0.080, 0.054),
}
"""Figure 5 of the paper: the probability that a request is in a batch of 1 … 10, for each number of streams."""

PAPER_LATENCIES = {10: (44.0, 70.0), 20: (48.0, 86.0), 30: (67.0, 114.0)}
"""Figure 6: median and 98th percentile (ms)."""

SIZES = [*map(str, range(1, MOST_COUNTED + 1)), "more"]


def draw(path: str, measured: Sequence[Mapping[str, Any]]) -> None:
    """Plot measurements to a PNG, which is written completely or not at all; matplotlib must be installed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 4.5), layout="constrained")
    batches, latencies = figure.subplots(1, 2)
    dispatched = [row for row in measured if row["batches"] and row["max_batch"] != 1]
    _draw_batches(batches, dispatched)
    _draw_latencies(latencies, measured)
    with open_out_bytes(path) as f:
        figure.savefig(f, format="png", dpi=110, metadata={"Software": None})


def _draw_batches(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    width = 0.8 / max(len(rows), 1)
    for i, row in enumerate(rows):
        places = [n + (i + 0.5) * width - 0.4 for n in range(len(SIZES))]
        color, streams = f"C{i}", row["streams"]
        axes.bar(places, [row["batches"][size] for size in SIZES], width, color=color, label=f"{streams} streams")
        if streams in PAPER_BATCHES:
            axes.plot(places[:-1], PAPER_BATCHES[streams], "_", color="black", markersize=9, markeredgewidth=2)
    if any(row["streams"] in PAPER_BATCHES for row in rows):
        axes.plot([], [], "_", color="black", markersize=9, markeredgewidth=2, label="the paper, same streams")
    axes.set_title("Size of the batch in which a piece of a stream is computed (figure 5)")
    axes.set_xticks(range(len(SIZES)), [*SIZES[:-1], f"> {MOST_COUNTED}"])
    axes.set_xlabel("streams in the batch")
    axes.set_ylabel("probability")
    axes.legend(frameon=False)


def _draw_latencies(axes: Any, measured: Sequence[Mapping[str, Any]]) -> None:
    for i, max_batch in enumerate(dict.fromkeys(row["max_batch"] for row in measured)):
        rows = [row for row in measured if row["max_batch"] == max_batch and row["final_ms"]]
        name = {None: "", 1: "one by one, "}.get(max_batch, f"batches of up to {max_batch}, ")
        for percentile, label, line in (("p98", "98th percentile", "-"), ("median", "median", "--")):
            values = [row["final_ms"][percentile] for row in rows]
            axes.plot([row["streams"] for row in rows], values, f"{line}o", color=f"C{i}", label=f"{name}{label}")
    for i, label, line in ((1, "98th percentile", "-"), (0, "median", "--")):
        values = [latencies[i] for latencies in PAPER_LATENCIES.values()]
        axes.plot([*PAPER_LATENCIES], values, f"{line}x", color="0.6", label=f"the paper, {label}")
    axes.set_title("From the last sample to the last text (figure 6)")
    axes.set_xlabel("live streams")
    axes.set_ylabel("ms")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
