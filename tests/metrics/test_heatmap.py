"""The heat map of error rates: a complete PNG."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from ds2cli.metrics import heatmap

pytest.importorskip("matplotlib")

PANEL = heatmap.Panel("alpha", "beta", [0.5, 1.0], [0.0, 1.0, 2.0], np.arange(6.0).reshape(2, 3), (0, 0))


@pytest.mark.long
def test_the_png_is_complete_and_reproducible(tmp_path):
    heatmap.draw(str(tmp_path / "new" / "a.png"), "%WER", [PANEL, PANEL])
    data = (tmp_path / "new" / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    heatmap.draw(str(tmp_path / "b.png"), "%WER", [PANEL, PANEL])
    assert (tmp_path / "b.png").read_bytes() == data
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["b.png"]


def test_the_chosen_point_is_marked(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    heatmap.draw(str(tmp_path / "a.png"), "%WER", [replace(PANEL, best=(1, 0))])
    texts = {text.get_position(): text.get_text() for text in drawn[0].axes[0].texts}
    axes = drawn[0].axes[0]
    assert (axes.get_xlabel(), [tick.get_text() for tick in axes.get_xticklabels()]) == ("beta", ["0", "1", "2"])
    assert (axes.get_ylabel(), [tick.get_text() for tick in axes.get_yticklabels()]) == ("alpha", ["0.5", "1"])
    # positions are (column, row)
    assert texts == {(0, 0): "0.0", (1, 0): "1.0", (2, 0): "2.0", (0, 1): "[3.0]", (1, 1): "4.0", (2, 1): "5.0"}


def test_a_single_point_and_infinite_rates(tmp_path):
    panel = heatmap.Panel("alpha", "beta", [0.5], [0.0], np.zeros((1, 1)), (0, 0))
    heatmap.draw(str(tmp_path / "a.png"), "t", [panel])
    infinite = heatmap.Panel("alpha", "beta", [0.5], [0.0, 1.0], np.array([[3.0, np.inf]]), (0, 0))
    heatmap.draw(str(tmp_path / "b.png"), "t", [infinite])
    finite = heatmap.Panel("alpha", "beta", [0.5], [0.0, 1.0], np.array([[3.0, 4.0]]), (0, 0))
    heatmap.draw(str(tmp_path / "c.png"), "t", [finite])
    images = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert all(data.endswith(b"IEND\xaeB`\x82") for data in images) and len(set(images)) == 3


def test_without_matplotlib(monkeypatch):
    assert heatmap.can_draw()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not heatmap.can_draw()


def test_panels_share_their_colors_up_to_twice_the_lowest_rate(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    heatmap.draw(str(tmp_path / "a.png"), "%WER", [replace(PANEL, rates=PANEL.rates + rate) for rate in (10, 3)])
    assert [axes.images[0].get_clim() for axes in drawn[0].axes if axes.images] == [(3.0, 7.0)] * 2
