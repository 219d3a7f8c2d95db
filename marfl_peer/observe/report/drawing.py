"""Charts as pictures, by matplotlib: SVG for a page, in a light and a dark theme, and PNG for everything else.

The only module that knows matplotlib. No pyplot: nothing is kept between two pictures, and equal charts give equal
bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any  # matplotlib's keyword arguments have no type of their own

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from marfl_peer.observe.report.charts import Chart, Line, Panel, Scale, Stroke

WIDTH_IN, PANEL_IN, LOW_PANEL_IN = 4.8, 3.2, 1.6
DPI = 160
MOST_NAMED, LONGEST_NAME = 7, 22
"""So many lines, with names so short, are named where they end; more, or longer ones, in a legend below."""
NAME_GAP = 0.055
"""Between two names at the right edge, as a share of the panel's height."""
MARKED_POINTS = 40
"""Lines of so many points show them."""
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
GREYS = ("--", ":", "-.", (0, (1, 3)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours that people who are colour-blind tell apart too (after Okabe and Ito), and that their paper shows."""

    paper: str
    ink: str
    faint: str
    theory: str
    colours: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    ink="#24292f",
    faint="#d9dee3",
    theory="#737b84",
    colours=("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9", "#444444"),
)
DARK = Theme(
    paper="#14181d",
    ink="#e6e9ec",
    faint="#343b43",
    theory="#98a2ac",
    colours=("#56b4e9", "#ff9352", "#2fc59f", "#e29bc4", "#f0c24b", "#9ab6ff", "#e6e9ec"),
)


def svg(chart: Chart, theme: Theme) -> bytes:
    """The chart as an SVG file."""
    return _saved(chart, theme, "svg")


def png(chart: Chart) -> bytes:
    """The chart as a PNG file in the light theme."""
    return _saved(chart, LIGHT, "png")


def _saved(chart: Chart, theme: Theme, kind: str) -> bytes:
    content = io.BytesIO()
    # Names of runs are no formulas, and ids that are drawn from a hash make equal charts equal files.
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context(
            {"font.size": 10, "text.parse_math": False, "svg.hashsalt": "marfl-peer", "svg.fonttype": "path"}
        ),
    ):
        warnings.filterwarnings("ignore", message="Glyph")  # a name may be in any script: what lacks is a box
        figure = _drawn(chart, theme)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, dpi=DPI, facecolor=theme.paper, metadata=metadata)
    return content.getvalue()


def _drawn(chart: Chart, theme: Theme) -> Figure:
    heights = [PANEL_IN if len(chart.panels) == 1 else LOW_PANEL_IN for _ in chart.panels]
    names = list(dict.fromkeys(line.label for line in chart.lines))
    is_named = len(names) <= MOST_NAMED and all(len(name) <= LONGEST_NAME for name in names) and len(heights) == 1
    below = 0.0 if is_named or len(names) == 1 else 0.2 * len(names) + 0.1
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.5 + below), layout="constrained")
    looks = _Looks(chart, theme)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, chart.panels, strict=True):
        _draw_panel(axis, panel, looks, theme)
    _scale_x(axes[-1], chart)
    axes[-1].set_xlabel(chart.x_label)
    figure.suptitle(chart.title, x=0.02, ha="left", fontsize=11, fontweight="bold", color=theme.ink)
    if is_named and len(names) > 1:
        _name_lines(axes[0], chart.panels[0].lines, looks)
    elif len(names) > 1:
        _draw_legend(figure, chart.lines, looks, theme)
    return figure


def _draw_panel(axis: Axes, panel: Panel, looks: _Looks, theme: Theme) -> None:
    for line in panel.lines:
        axis.plot(*zip(*line.points, strict=True), **looks.of(line))
    if panel.y_scale.is_log:
        axis.set_yscale("log")
    else:
        axis.margins(y=0.08)
        _leave_room(axis, panel)
    _write_ticks(axis, panel.y_scale, vertical=True)
    axis.set_ylabel(panel.y_label)
    axis.set_facecolor(theme.paper)
    axis.grid(color=theme.faint, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(colors=theme.ink, which="both", length=0)
    for text in (axis.xaxis.label, axis.yaxis.label):
        text.set_color(theme.ink)
    for name, spine in axis.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(theme.faint)


def _leave_room(axis: Axes, panel: Panel) -> None:
    """Counts begin at 0, and an axis on which nothing happened still has a height."""
    if panel.y_scale is Scale.WHOLE:
        highest = max(y for line in panel.lines for _, y in line.points)
        axis.set_ylim(-0.04 * max(1.0, highest), 1.08 * max(1.0, highest))


class _Looks:
    """How the lines of a chart look: the colour says which run, grey is theory."""

    def __init__(self, chart: Chart, theme: Theme) -> None:
        self._theme = theme
        self._theories = list(dict.fromkeys(line.label for line in chart.lines if line.run is None))

    def of(self, line: Line) -> dict[str, Any]:
        if line.run is None:
            dash = GREYS[self._theories.index(line.label) % len(GREYS)]
            return {"color": self._theme.theory, "linewidth": 1.1, "linestyle": dash, "zorder": 3.0}
        turn, place = divmod(line.run, len(self._theme.colours))
        is_beside = line.stroke is Stroke.BESIDE
        return {
            "color": self._theme.colours[place],
            "linewidth": 1.6,
            "linestyle": DASHES[1] if is_beside else DASHES[2 * turn % len(DASHES)],
            "marker": "" if is_beside or len(line.points) > MARKED_POINTS else MARKERS[line.run % len(MARKERS)],
            "markersize": 4.0,
            "zorder": 2.0,
            "clip_on": False,  # a point at the edge is a point, too
        }


def _scale_x(axis: Axes, chart: Chart) -> None:
    xs = [x for line in chart.lines for x, _ in line.points]
    if chart.x_scale.is_log:
        axis.set_xscale("log")
    elif max(xs) > min(xs):
        axis.set_xlim(min(min(xs), 0.0 if chart.x_scale is Scale.BYTES else min(xs)), None)
    _write_ticks(axis, chart.x_scale, vertical=False)
    if chart.x_scale is Scale.LOG_WHOLE:
        runs = sorted({x for line in chart.lines if line.run is not None for x, _ in line.points})
        axis.xaxis.set_major_locator(FixedLocator(runs))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")


def _write_ticks(axis: Axes, scale: Scale, *, vertical: bool) -> None:
    ticks = axis.yaxis if vertical else axis.xaxis
    formatter = _FORMATS.get(scale)
    if formatter is not None:
        ticks.set_major_formatter(formatter())
    if scale.is_log:
        ticks.set_major_locator(LogLocator(numticks=7))
        ticks.set_minor_locator(NullLocator())
        low, high = axis.get_ylim() if vertical else axis.get_xlim()
        if high / low < 1000:  # a decade or two need more than their powers of ten
            ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 50 else (1.0, 3.0), numticks=12))
    elif scale is Scale.WHOLE:
        ticks.set_major_locator(MaxNLocator(integer=True, nbins=5 if vertical else 9))
    elif scale is Scale.BYTES:
        ticks.set_major_locator(MaxNLocator(nbins=5))


def _percent() -> Formatter:
    return PercentFormatter(xmax=1.0)


def _bytes() -> Formatter:
    return EngFormatter(unit="B")


def _powers() -> Formatter:
    """1e-12, but 0.01 and 200."""
    return FuncFormatter(lambda value, _: f"{value:g}" if 1e-2 <= value < 1e5 else f"{value:.0e}".replace("e-0", "e-"))


_FORMATS = MappingProxyType({Scale.LOG: _powers, Scale.PERCENT: _percent, Scale.BYTES: _bytes, Scale.LOG_BYTES: _bytes})


def _name_lines(axis: Axes, lines: Sequence[Line], looks: _Looks) -> None:
    """Writes each line's name beside the panel, at the height where it ends, or as near as the other names allow."""
    axis.figure.canvas.draw()  # limits are known only then
    to_height = axis.transData + axis.transAxes.inverted()
    ends = [(float(to_height.transform(line.points[-1])[1]), line) for line in lines]
    ends.sort(key=lambda end: end[0])
    heights = _kept_apart([height for height, _ in ends])
    for height, (_, line) in zip(heights, ends, strict=True):
        colour = looks.of(line)["color"]
        axis.text(1.02, height, line.label, transform=axis.transAxes, color=colour, va="center", fontsize=9)


def _kept_apart(heights: Sequence[float]) -> list[float]:
    """Ascending heights with a gap between any two, inside of the panel, each near where it was."""
    kept: list[float] = []
    for height in heights:
        kept.append(max(height, kept[-1] + NAME_GAP) if kept else max(height, 0.0))
    ceiling = 1.0
    for place in reversed(range(len(kept))):
        kept[place] = min(kept[place], ceiling)
        ceiling = kept[place] - NAME_GAP
    return kept


def _draw_legend(figure: Figure, lines: Sequence[Line], looks: _Looks, theme: Theme) -> None:
    shown: dict[str, Line2D] = {}
    for line in lines:
        shown.setdefault(line.label, Line2D([], [], **looks.of(line)))
    legend = figure.legend(
        list(shown.values()), list(shown), loc="outside lower left", ncols=1, frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_color(theme.ink)
