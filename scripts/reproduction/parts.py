"""The parts that a page is made of: sections with tables and plots, as data. Knows no files, and not how to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Stroke(Enum):
    """How a line is drawn."""

    MEASURED = "points and a line"
    FORMULA = "dashes"
    POINTS = "points alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`points` are (x, y). Lines of one `colour` belong together; None: its own."""

    label: str
    points: Sequence[tuple[float, float]]
    stroke: Stroke = Stroke.MEASURED
    colour: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes; without lines it is not drawn. `level` is a value of y that is marked."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    level: float | None = None
    x_ticks: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """`text` says what is to be seen, for those who do not see it."""

    name: str
    text: str
    panels: Sequence[Panel]

    @property
    def is_empty(self) -> bool:
        return not any(panel.lines for panel in self.panels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`lead` comes before it. All cells are texts."""

    lead: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What an experiment gave. `answer` is of its figures and empty where they do not suffice."""

    answer: str
    tables: Sequence[Table]
    plots: Sequence[Plot]
    notes: Sequence[str] = ()


NO_VALUE = "-"


def percent(value: float | None, digits: int = 2) -> str:
    """Of a share: 94.25%."""
    return NO_VALUE if value is None else f"{100 * value:.{digits}f}%"


def in_points(value: float) -> str:
    """Of a difference of shares, in percentage points, with its sign."""
    return f"{100 * value:+.2f}"


def megabytes(value: float | None) -> str:
    """1e6 bytes, with three digits that count, or all before the point."""
    if value is None:
        return NO_VALUE
    millions = value / 1e6
    return f"{millions:,.0f}" if millions >= 1000 else f"{millions:.3g}"


def scientific(value: float | None) -> str:
    return NO_VALUE if value is None else "0" if value == 0 else f"{value:.1e}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
