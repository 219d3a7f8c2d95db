"""Draws docs/images/top.svg: what `marfl-peer top` shows of a real swarm of 16 peers, one of which was just killed.

python scripts/make_top_picture.py
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from make_picture import FORMAT
from rich.console import Console

from marfl_peer.facts import IterationFinished, PeerStarted, decode_fact
from marfl_peer.observe.top.rows import COLUMNS, Row
from marfl_peer.observe.top.screen import Choice, draw
from marfl_peer.peer.canvass import Canvass

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "top.svg"
PEERS = 16
KILLED_IN = 30
WATCHED_FROM = 5
WIDTH, HEIGHT = 128, 23
PATIENCE_S = 300.0
CHURN = f"""
[[event]]
action = "kill"
iteration = {KILLED_IN}
peers = [5]
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "churn.toml")
        plan.write_text(CHURN, encoding="utf-8")
        command = [sys.executable, "-m", "marfl_peer", "swarm", "--peers", str(PEERS), "--run-id", "demo", "--plain"]
        command += ["--partition", "dirichlet:1.0", "--iterations", "4000", "--churn", str(plan)]
        with subprocess.Popen([*command, "--state-dir", folder], stdout=subprocess.DEVNULL) as swarm:
            try:
                picture = asyncio.run(picture_of(Path(folder)))
            finally:
                swarm.terminate()
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"wrote {PICTURE}")
    return 0


async def picture_of(folder: Path) -> str:
    """The view of the swarm in this folder. Raises: TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not (address := ready_peer(folder)):
        if time.monotonic() > deadline:
            raise TimeoutError("the swarm did not get that far")
        await asyncio.sleep(0.5)
    canvass = Canvass([address], timeout_s=3.0)
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        rows = await canvass.round()
        if any(row.trouble for row in rows):
            break
        if time.monotonic() > deadline:
            raise TimeoutError("nobody was killed")
        await asyncio.sleep(0.3)
    return drawn(rows, asked=f"{address[0]}:{address[1]}", seconds=loop.time() - began)


def drawn(rows: Sequence[Row], *, asked: str, seconds: float) -> str:
    """The picture of these rows, sorted by cell, below the command that shows them; `seconds` the round took."""
    choice = Choice(column=next(index for index, one in enumerate(COLUMNS) if one.title == "cell"))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f"$ [bold]marfl-peer top --peer {asked}[/]", highlight=False)
    console.print(draw(rows, choice, asked=asked, width=WIDTH, height=HEIGHT, seconds=seconds))
    return console.export_svg(title="marfl-peer", code_format=FORMAT, unique_id="top")


def ready_peer(folder: Path) -> tuple[str, int] | None:
    """Where the first peer is reached, once it is past the iteration that is wanted."""
    for path in folder.glob("*/peer-000/journal.jsonl"):
        facts = [decode_fact(line) for line in path.read_bytes().split(b"\n")[:-1]]
        finished = [fact.iteration for fact in facts if isinstance(fact, IterationFinished)]
        if finished and finished[-1] >= WATCHED_FROM:
            return next((fact.host, fact.port) for fact in facts if isinstance(fact, PeerStarted))
    return None


if __name__ == "__main__":
    sys.exit(main())
