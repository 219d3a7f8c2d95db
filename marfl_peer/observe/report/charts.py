"""The words of a chart: lines of points in panels, before anybody draws them. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

Point = tuple[float, float]


class Scale(Enum):
    """How the values of an axis are written and spaced."""

    NUMBER = "number"
    WHOLE = "whole numbers"
    LOG = "logarithmic"
    PERCENT = "percent"
    BYTES = "bytes"
    LOG_BYTES = "bytes, logarithmic"
    LOG_WHOLE = "whole numbers, logarithmic"

    @property
    def is_log(self) -> bool:
        return self in (Scale.LOG, Scale.LOG_BYTES, Scale.LOG_WHOLE)


class Stroke(Enum):
    """MEASURED: what was seen. BESIDE: the same run by another measure. THEORY: what a formula says; grey."""

    MEASURED = "measured"
    BESIDE = "beside"
    THEORY = "theory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`run`: the place of its run among all, from which its colour follows; None for what is of no run."""

    label: str
    points: tuple[Point, ...]
    run: int | None
    stroke: Stroke = Stroke.MEASURED


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over one axis of values; all panels of a chart share the other axis."""

    y_label: str
    y_scale: Scale
    lines: tuple[Line, ...]
    top: float | None = None
    """Where the axis ends; None: where the values do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`name` is that of its file; `meaning` says in a sentence or two what there is to see."""

    name: str
    title: str
    meaning: str
    x_label: str
    x_scale: Scale
    panels: tuple[Panel, ...]

    @property
    def lines(self) -> list[Line]:
        return [line for panel in self.panels for line in panel.lines]


def line_of(label: str, points: Sequence[Point], run: int | None, stroke: Stroke = Stroke.MEASURED) -> tuple[Line, ...]:
    """The line, or none where there are no points."""
    return (Line(label=label, points=tuple(points), run=run, stroke=stroke),) if points else ()


def spread(values: Sequence[float]) -> float:
    """The largest of the positive values in units of the smallest; 1.0 for none."""
    positive = [value for value in values if value > 0]
    return max(positive) / min(positive) if positive else 1.0
