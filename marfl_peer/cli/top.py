"""`marfl-peer top`: a live view of a running swarm, from any machine that reaches one of its peers."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import click
import msgspec
from rich.console import Console
from rich.live import Live

from marfl_peer.cli import loop
from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.config import parse_address
from marfl_peer.observe.top.keys import KeyReader
from marfl_peer.observe.top.rows import COLUMNS, Row, sorted_rows
from marfl_peer.observe.top.screen import Choice, draw, page_of
from marfl_peer.observe.top.terminal import Keyboard
from marfl_peer.observe.top.watching import Look, Watching

TITLES = {column.title.replace(" ", "-"): index for index, column in enumerate(COLUMNS)}
WIDE = 200
"""Characters a line where nobody says how many there are: a file is not cut."""


@click.command(
    epilog=manual(
        notes="Keys: q quit, s or right: sort by the next column, S or left: by the one before, r reverse, up, down, "
        "space, b: scroll. Without a terminal, or with --once, one table is printed.",
        examples=(
            "marfl-peer top --peer 192.168.1.10:7700",
            "marfl-peer top --peer 127.0.0.1:7700 --once --sort accuracy",
        ),
        exits={
            ExitCode.OK: "the view was ended by a key or a signal, or somebody answered",
            ExitCode.UNAVAILABLE: "with --once or --json: no peer answered",
        },
        see_also=(
            "marfl-peer status",
            "marfl-peer report",
            "docs/operations.md",
        ),
    ),
)
@click.option("--peer", "peers", metavar="HOST:PORT", multiple=True, required=True, help="a peer of the swarm; again")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="seconds"
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="seconds")
@click.option("--sort", "sort_by", type=click.Choice(list(TITLES)), default="peer", show_default=True)
@click.option("--reverse", "is_reversed", is_flag=True, help="the other way round")
@click.option("--once", is_flag=True, help="print one table and end")
@click.option("--json", "as_json", is_flag=True, help="print one JSON list of what all peers answered, and end")
@click.pass_context
def top(
    ctx: click.Context,
    /,
    peers: Sequence[str],
    interval_s: float,
    timeout_s: float,
    sort_by: str,
    is_reversed: bool,
    once: bool,
    as_json: bool,
) -> None:
    """Watch a running swarm: all peers that one of them knows, each asked for itself.

    Peers that do not answer are shown with the reason. The exit code is 69 if none of them answers with --once or
    --json.
    """
    from marfl_peer.peer.canvass import Canvass

    canvass = Canvass([parse_address(address) for address in peers], timeout_s=timeout_s)
    choice = Choice(column=TITLES[sort_by], is_reversed=is_reversed)
    console = Console()
    if not (once or as_json) and console.is_terminal and sys.stdin.isatty():
        loop.run(watch(canvass.round, console, asked=peers[0], interval_s=interval_s, choice=choice))
        return
    rows = loop.run(canvass.round())
    if as_json:
        ordered = sorted_rows(rows, COLUMNS[choice.column], is_reversed=is_reversed)
        click.echo(json.dumps([as_dict(row) for row in ordered], indent=2))
    else:
        width = console.width if console.is_terminal else WIDE
        Console(width=width).print(draw(rows, choice, asked=peers[0], width=width))
    if all(row.trouble for row in rows):
        ctx.exit(ExitCode.UNAVAILABLE)


async def watch(look: Look, console: Console, *, asked: str, interval_s: float, choice: Choice) -> None:
    """The live view on this terminal, until a key or a signal ends it; the terminal is then what it was."""
    live = Live(console=console, screen=True, auto_refresh=False)
    keys = KeyReader()

    def show(rows: Sequence[Row], choice: Choice, seconds: float) -> None:
        width, height = console.size
        live.update(draw(rows, choice, asked=asked, width=width, height=height, seconds=seconds), refresh=True)

    def typed(data: bytes) -> None:
        for key in keys.feed(data):
            watching.press(key)

    watching = Watching(look, show, page=lambda: page_of(console.size.height), interval_s=interval_s, choice=choice)
    running = asyncio.get_running_loop()
    with live, Keyboard(sys.stdin.fileno(), typed), ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            running.add_signal_handler(number, watching.stop)
            stack.callback(running.remove_signal_handler, number)
        running.add_signal_handler(signal.SIGWINCH, watching.draw)
        stack.callback(running.remove_signal_handler, signal.SIGWINCH)
        watching.draw()
        await watching.run()


def as_dict(row: Row) -> dict[str, object]:
    """A row for programs; `status` is the last answer, None where there never was one."""
    status = None if row.status is None else msgspec.to_builtins(row.status)
    return {"address": row.address, "peer_id": row.peer_id, "trouble": row.trouble or None, "status": status}
