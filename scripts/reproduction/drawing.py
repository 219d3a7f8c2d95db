"""Draws plots as SVG. Knows nothing of experiments; the same plot gives the same file. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # the back end is chosen first

from reproduction.parts import Line, Panel, Plot, Stroke

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000", "#999933")
"""Told apart by those who are blind to colours, too (Okabe and Ito)."""
MARKS = "osD^vPX*"
PANEL_INCHES = (5.6, 4.2)


def draw(plot: Plot, path: Path) -> None:
    """Panels without lines are left out; a plot without any must not be drawn."""
    panels = [panel for panel in plot.panels if panel.lines]
    with pyplot.rc_context({"svg.hashsalt": "marfl-peer", "font.size": 9, "svg.fonttype": "path"}):
        width, height = PANEL_INCHES
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(width * len(panels), height), squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            _panel(axis, panel)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _panel(axis: Any, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        _line(axis, line, line.colour if line.colour is not None else number)
    if panel.level is not None:
        axis.axhline(panel.level, color="0.6", linewidth=1, zorder=0)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    if panel.log_x:
        axis.set_xscale("log")
    if panel.log_y:
        axis.set_yscale("log")
    if panel.x_ticks:
        axis.set_xticks(list(panel.x_ticks), [f"{tick:g}" for tick in panel.x_ticks])
        axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if any(line.label for line in panel.lines):
        axis.legend(frameon=False, fontsize=8)


def _line(axis: Any, line: Line, colour: int) -> None:
    styles: dict[Stroke, dict[str, Any]] = {
        Stroke.MEASURED: {"marker": MARKS[colour % len(MARKS)], "linestyle": "-", "markersize": 3.5},
        Stroke.POINTS: {"marker": MARKS[colour % len(MARKS)], "linestyle": "", "markersize": 6},
        Stroke.FORMULA: {"marker": "", "linestyle": "--"},
    }
    axis.plot(
        [x for x, _ in line.points],
        [y for _, y in line.points],
        color=COLOURS[colour % len(COLOURS)],
        label=line.label or None,
        linewidth=1.2,
        **styles[line.stroke],
    )
