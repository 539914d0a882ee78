"""Plot error rates over two settings as a heat map. Notation: R rows, C columns."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.io import open_out_bytes

INSTALL_HINT = "matplotlib is not installed (pip install 'ds2cli[plots]')"


@dataclass(frozen=True)
class Panel:
    """Error rates for the values of two settings.

    row_name, column_name: the settings.  rows, columns: their values.  rates: (R, C) float64, percent.
    best: (row, column) of the chosen point.
    """

    row_name: str
    column_name: str
    rows: Sequence[float]
    columns: Sequence[float]
    rates: NDArray[np.float64]
    best: tuple[int, int]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(path: str, title: str, panels: Sequence[Panel]) -> None:
    """Plot the panels side by side to a PNG, which is written completely or not at all; `can_draw` must be true."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(panels), 5.2), layout="constrained")
    figure.suptitle(title)
    low = min(float(panel.rates.min()) for panel in panels)
    # rates beyond twice the best one need no separate colors
    high = min(2 * low + 1, max(float(panel.rates.max()) for panel in panels))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        image = axes.imshow(panel.rates, cmap="viridis_r", vmin=low, vmax=max(high, low + 0.1), aspect="auto")
        axes.set_xlabel(panel.column_name)
        axes.set_ylabel(panel.row_name)
        axes.set_xticks(range(len(panel.columns)), [f"{value:g}" for value in panel.columns])
        axes.set_yticks(range(len(panel.rows)), [f"{value:g}" for value in panel.rows])
        for (row, column), rate in np.ndenumerate(panel.rates):
            chosen = (row, column) == panel.best
            dark = rate > (low + max(high, low + 0.1)) / 2
            weight, color = ("bold" if chosen else "normal"), ("white" if dark else "black")
            text = f"[{rate:.1f}]" if chosen else f"{rate:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, fontweight=weight, color=color)
        figure.colorbar(image, ax=axes, shrink=0.9)
    with open_out_bytes(path) as f:
        figure.savefig(f, format="png", dpi=110, metadata={"Software": None})
