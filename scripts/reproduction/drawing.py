"""Draws plots as SVG. Knows nothing of experiments; the same plot gives the same file. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # the back end is chosen first
from matplotlib.ticker import FormatStrFormatter, LogFormatter, MaxNLocator

from reproduction.parts import Line, Panel, Plot, Stroke

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000", "#999933")
"""Told apart by those who are blind to colours, too (Okabe and Ito)."""
MARKS = "osD^vPX*"
PANEL_INCHES = (5.6, 4.2)
LEGEND_COLUMNS = 3
"""A panel."""


def draw(plot: Plot, path: Path) -> None:
    """Panels without lines are left out; a plot without any must not be drawn. All panels share one legend."""
    panels = [panel for panel in plot.panels if panel.lines]
    with pyplot.rc_context({"svg.hashsalt": "marfl-peer", "font.size": 9}):
        width, height = PANEL_INCHES
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(width * len(panels), height), squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            _panel(axis, panel)
        handles = {label: handle for axis in axes[0] for handle, label in _labelled(axis)}
        columns = min(len(handles), LEGEND_COLUMNS * len(panels))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _labelled(axis: Any) -> list[tuple[Any, str]]:
    return list(zip(*axis.get_legend_handles_labels(), strict=True))


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
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(3, 0.5)))
    elif all(isinstance(x, int) for line in panel.lines for x, _ in line.points):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.log_y:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(3, 0.5)))
    if panel.x_ticks:
        axis.set_xticks(list(panel.x_ticks), [f"{tick:g}" for tick in panel.x_ticks])
        axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _line(axis: Any, line: Line, colour: int) -> None:
    mark = {"marker": MARKS[colour % len(MARKS)], "markerfacecolor": "none"}  # what lies below is seen through it
    styles: dict[Stroke, dict[str, Any]] = {
        Stroke.MEASURED: {**mark, "linestyle": "-", "markersize": 5},
        Stroke.POINTS: {**mark, "linestyle": "", "markersize": 8},
        Stroke.FORMULA: {"marker": "", "linestyle": "--"},
    }
    axis.plot(
        [x for x, _ in line.points],
        [y for _, y in line.points],
        color=COLOURS[colour % len(COLOURS)],
        label=line.label or None,
        linewidth=1.2,
        zorder=20 - colour,  # the first on top
        **styles[line.stroke],
    )
