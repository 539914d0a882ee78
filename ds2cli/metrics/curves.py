"""Plot the learning curves of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ds2cli.io import open_out_bytes

Row = Mapping[str, Any]

PANELS = (("loss", "loss (nats per label)"), ("dev", "dev error rate (%)"), ("lr", "learning rate"))


def draw(path: str, title: str, rows: Sequence[Row]) -> None:
    """Plot loss, dev error rates and learning rate over the epochs to a PNG, which is written completely or not at all.

    rows: the rows of train.jsonl. matplotlib must be installed (`metrics.heatmap.can_draw`).
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(15.0, 4.2))
    # fixed, as finding the margins takes matplotlib longer than the drawing
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.13, top=0.88, wspace=0.24)
    figure.suptitle(title)
    epochs = [row["epoch"] for row in rows]
    for axes, (name, label) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        lines = {"dev_wer": "WER", "dev_cer": "CER"} if name == "dev" else {name: ""}
        for field, legend in lines.items():
            axes.plot(epochs, [_nan_if_none(row.get(field)) for row in rows], marker=".", label=legend)
        if name == "dev":
            axes.legend(frameon=False)
            axes.set_ylim(bottom=0)
        if name == "loss" and all(row["loss"] for row in rows):
            axes.set_yscale("log")
        if name == "lr":
            axes.ticklabel_format(axis="y", scilimits=(-2, 3))
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    with open_out_bytes(path) as f:
        figure.savefig(f, format="png", dpi=110, metadata={"Software": None})


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
