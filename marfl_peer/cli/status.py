"""`marfl-peer status`: what a running peer says of itself, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marfl_peer.cli import loop
from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.config import parse_address


@click.command(
    epilog=manual(
        arguments={
            "HOST:PORT": "where the peer is reached, such as 192.168.1.10:7700 or [fd00::10]:7700",
        },
        examples=(
            "marfl-peer status 127.0.0.1:7700",
            "marfl-peer status 192.168.1.10:7700 --json | jq .iteration",
        ),
        exits={
            ExitCode.OK: "the peer answered",
            ExitCode.UNAVAILABLE: "nobody answered there in time",
            ExitCode.PROTOCOL: "what answered is no peer, or one of another protocol",
        },
        see_also=(
            "marfl-peer top",
            "docs/operations.md",
        ),
    ),
)
@click.argument("address", metavar="HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="print JSON in place of a table")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="seconds")
def status(address: str, as_json: bool, timeout_s: float) -> None:
    """Ask a running peer for its run, its view and how far it is."""
    from marfl_peer.peer.inquiry import ask_status

    host, port = parse_address(address)
    answer = loop.run(ask_status(host, port, timeout_s))
    if as_json:
        click.echo(json.dumps(answer, indent=2, sort_keys=True))
        return
    console = Console()
    for table in tables_of(answer, title=address):
        console.print(table)


def tables_of(answer: Mapping[str, object], *, title: str) -> list[Table]:
    """One table of what is single, and one for each list of rows."""
    single = Table("", "", title=Text(title), show_header=False)
    tables = [single]
    for name, value in answer.items():
        rows = _rows(value)
        if rows:
            tables.append(_table_of_rows(name, rows))
        elif isinstance(value, Mapping):
            for inner, part in value.items():
                single.add_row(_cell(f"{name}.{inner}"), _cell(part))
        else:
            single.add_row(_cell(name), _cell(value))
    return tables


def _rows(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    rows = [row for row in value if isinstance(row, Mapping)]
    return rows if len(rows) == len(value) else []


def _table_of_rows(name: str, rows: list[Mapping[str, object]]) -> Table:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(title=_cell(name))
    for column in columns:
        table.add_column(_cell(column))
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: object) -> Text:
    match value:
        case None:
            text = "-"
        case float():
            text = f"{value:.4g}"
        case list() | tuple():
            text = ", ".join(str(part) for part in value) or "-"
        case _:
            text = str(value)
    # What a remote peer sends must neither be markup, which a Text is not, nor steer the terminal.
    return Text(text if text.isprintable() else text.encode("unicode_escape").decode("ascii"))
