"""What `top` shows: a head line and the rows, in the order and from the row that its user chose, as many as fit.

Draws; knows neither the terminal nor how rows came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from marfl_peer.observe.top.keys import Key
from marfl_peer.observe.top.rows import COLUMNS, Column, Row, printable, sorted_rows

AROUND = 5
"""Lines that are no rows: head, titles, rule, rest, keys."""
PADDING = 2
"""Between columns: one of the table's own, one of its cells."""
FLEXIBLE = {"last failure": 24, "group-mates": 14, "address": 15}
"""Columns that may be cut, and the fewest characters that still say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the user chose: the column to sort by, whether its order is reversed, and how many rows are above."""

    column: int = 0
    is_reversed: bool = False
    above: int = 0

    def after(self, key: Key, *, rows: int, page: int) -> Choice:
        """The choice after a key, with so many rows, of which a page has so many."""
        last = max(rows - page, 0)
        match key:
            case Key.SORT_NEXT | Key.SORT_BEFORE:
                step = 1 if key is Key.SORT_NEXT else -1
                return replace(self, column=(self.column + step) % len(COLUMNS), is_reversed=False)
            case Key.REVERSE:
                return replace(self, is_reversed=not self.is_reversed)
            case Key.DOWN | Key.UP | Key.PAGE_DOWN | Key.PAGE_UP:
                step = 1 if key in (Key.DOWN, Key.UP) else page
                moved = self.above + (step if key in (Key.DOWN, Key.PAGE_DOWN) else -step)
                return replace(self, above=min(max(moved, 0), last))
            case Key.QUIT:
                return self


def page_of(height: int) -> int:
    """How many rows fit on a screen of so many lines."""
    return max(height - AROUND, 1)


def draw(
    rows: Sequence[Row], choice: Choice, *, asked: str, width: int, height: int | None = None, seconds: float = 0.0
) -> RenderableType:
    """The screen of `width` characters and `height` lines; without a height all rows, and no line about keys."""
    column = COLUMNS[choice.column]
    ordered = sorted_rows(rows, column, is_reversed=choice.is_reversed)
    page = len(ordered) if height is None else page_of(height)
    above = min(choice.above, max(len(ordered) - page, 0))
    shown = ordered[above : above + page]
    parts: list[RenderableType] = [head(rows, asked=asked, seconds=seconds, width=width)]
    parts.append(_table(shown, ordered, column, choice, width))
    hidden = len(ordered) - len(shown)
    if hidden:
        parts.append(Text(f"{above} above, {hidden - above} below", style="dim"))
    if height is not None:
        keys = "q quit   s/S, left/right: sort   r reverse   up/down, space/b: scroll"
        parts.append(Text(keys, style="dim", overflow="ellipsis", no_wrap=True))
    return Group(*parts)


def head(rows: Sequence[Row], *, asked: str, seconds: float, width: int) -> Text:
    """The swarm on one line: run, task, peers, grid, iterations, accuracy, bytes, and how long asking took."""
    told = [row.status for row in rows if row.status is not None and not row.trouble]
    parts = []
    for name, values in (("run", [status.run_id for status in told]), ("task", [status.task for status in told])):
        common = Counter(value for value in values if value).most_common(1)
        if common:
            parts.append(f"{name} {printable(common[0][0], 32)}")
    silent = sum(1 for row in rows if row.trouble)
    parts.append(f"{len(rows)} peers" + (f", {silent} unreachable" if silent else ""))
    grids = Counter(status.grid for status in told if status.grid).most_common(1)
    if grids and grids[0][0] is not None:
        parts.append("grid " + "x".join(map(str, grids[0][0])))
    iterations = [status.iteration for status in told if status.iteration is not None]
    if iterations:
        low, high = min(iterations), max(iterations)
        parts.append(f"iteration {low}" if low == high else f"iterations {low}-{high}")
    accuracies = [status.test_accuracy for status in told if status.test_accuracy is not None]
    if accuracies:
        parts.append(f"accuracy {sum(accuracies) / len(accuracies):.2%}")
    parts.append(f"asked {asked} in {seconds:.1f} s" if seconds else f"asked {asked}")
    text = Text(" | ".join(parts), style="bold", overflow="ellipsis", no_wrap=True)
    text.truncate(width, overflow="ellipsis")
    return text


def _table(shown: Sequence[Row], ordered: Sequence[Row], column: Column, choice: Choice, width: int) -> Table:
    """Widths follow from all rows, so that scrolling moves no column."""
    texts = {one.title: [printable(one.text(row)) for row in ordered] for one in COLUMNS}
    wanted = {one.title: max([len(one.title) + 1, *map(len, texts[one.title])]) for one in COLUMNS}
    widths = fitting(wanted, width, keep=column.title)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, PADDING - 1, 0, 0), pad_edge=False)
    chosen = [one for one in COLUMNS if one.title in widths]
    is_falling = column.is_descending is not choice.is_reversed
    for one in chosen:
        mark = ("▼" if is_falling else "▲") if one is column else ""
        table.add_column(
            Text(one.title + mark, style="bold cyan" if one is column else "bold"),
            justify="right" if one.is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=widths[one.title],
        )
    for row in shown:
        style = "red" if row.trouble else "yellow" if row.status is not None and row.status.last_failure else ""
        table.add_row(*(_cell(one, row, style) for one in chosen))
    return table


def fitting(wanted: dict[str, int], width: int, *, keep: str) -> dict[str, int]:
    """Which columns are shown, and how wide: all of them if they fit, cut where that is not too much, else without
    those that matter least. `keep` stays, and so does the first."""
    titles = [one.title for one in sorted(COLUMNS, key=lambda one: one.rank)]
    titles.sort(key=lambda title: title != keep)  # stable: the others by rank
    while True:
        widths = {title: wanted[title] for title in titles}
        over = sum(widths.values()) + PADDING * len(widths) - width
        for title in sorted(FLEXIBLE, key=lambda title: -widths.get(title, 0)):
            if over > 0 and title in widths:
                cut = min(over, max(widths[title] - FLEXIBLE[title], 0))
                widths[title] -= cut
                over -= cut
        if over <= 0 or len(titles) <= 2:
            return widths
        titles.pop()


def _cell(column: Column, row: Row, style: str) -> Text:
    is_about_failure = column.title in ("last failure", "phase") and (row.trouble or column.title == "last failure")
    return Text(printable(column.text(row)), style=style if is_about_failure else "")
