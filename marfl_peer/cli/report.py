"""`marfl-peer report`: what runs came to, as a table, a page and pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual

if TYPE_CHECKING:
    from marfl_peer.lab.reporting import Pen
    from marfl_peer.observe.report.overview import Overview

OUT = "marfl-report"
TITLE = "marfl-peer report"
TITLES_WIDTH, RUN_WIDTH = 28, 17
"""Of the column of titles, and of a run's; longer texts are wrapped."""


@click.command(
    epilog=manual(
        arguments={
            "RUN...": "a summary (FILE of --summary), a folder of a swarm's run, of a peer, or of such folders",
        },
        examples=(
            "marfl-peer report marfl-state",
            "marfl-peer report summary.json",
            'marfl-peer report marfl-state/default-* --out comparison --title "int8 against float32"',
        ),
        exits={
            ExitCode.OK: "the page is written",
        },
        see_also=(
            "marfl-peer swarm",
            "marfl-peer simulate",
            "docs/operations.md",
        ),
    ),
)
@click.argument("places", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default=Path(OUT),
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="folder to write to",
)
@click.option("--title", default=TITLE, show_default=True, metavar="TEXT", help="of the page")
def report(places: tuple[Path, ...], out: Path, title: str) -> None:
    """Compare runs: a table here, and a page with charts, all of it in one file, and the charts as PNG.

    A RUN is a summary (--summary FILE), the folder of a swarm's run, the state folder of a peer, or a folder of such
    folders. Where a folder has no summary, its journals are added up.
    """
    from marfl_peer.lab.reporting import WITHOUT_CHARTS, write_report

    pen = _pen()
    written = write_report(places, out=out, title=title, pen=pen)
    console = Console()
    for table in tables_of(written.overview, width=console.width):
        console.print(table)
    for reason in written.left_out:
        click.echo(f"left out: {reason}", err=True)
    if pen is None:
        click.echo(WITHOUT_CHARTS, err=True)
    click.echo(f"{written.page}" + (f" and {len(written.pictures)} charts as PNG" if written.pictures else ""))


def _pen() -> Pen | None:
    """None where there is no matplotlib to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        return None

    from marfl_peer.lab.reporting import Pen
    from marfl_peer.observe.report import drawing
    from marfl_peer.observe.report.page import Picture

    return Pen(
        picture=lambda chart: Picture(
            chart=chart, light=drawing.svg(chart, drawing.LIGHT), dark=drawing.svg(chart, drawing.DARK)
        ),
        png=drawing.png,
    )


def tables_of(overview: Overview, *, width: int) -> list[Table]:
    """A column a run, as many beside each other as a terminal of that width takes; below, what all have in common."""
    beside = max(1, (width - TITLES_WIDTH) // RUN_WIDTH)
    tables = []
    for first in range(0, len(overview.labels), beside):
        shown = slice(first, first + beside)
        table = Table(box=SIMPLE_HEAD)
        for heading in ("", *overview.labels[shown]):
            table.add_column(_text(heading), justify="right" if heading else "left")
        for column in overview.columns:
            table.add_row(column.title, *map(_text, column.cells[shown]))
        tables.append(table)
    common = ", ".join(f"{title} {text}" for title, text in overview.common)
    tables[-1].caption = _text(f"in all runs: {common}") if common else None
    return tables


def _text(text: str) -> Text:
    """What a summary says must neither be markup nor steer the terminal."""
    return Text(text if text.isprintable() else text.encode("unicode_escape").decode("ascii"))
