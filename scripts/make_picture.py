"""Draws docs/images/swarm.svg: the live view of a real swarm, three quarters through its run, and its closing table.

python scripts/make_picture.py
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.lab.closing import closing_table
from marfl_peer.lab.plan import HOST, make_folder, peer_settings, run_settings
from marfl_peer.lab.ports import free_ports
from marfl_peer.lab.progress import PANEL_WIDTH, Snapshot, panel
from marfl_peer.lab.swarm import PEER_ENTRY, Swarm
from marfl_peer.lab.warden import Patience

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "swarm.svg"
PEERS = 16
SHOWN_AT = 0.75
# Without the web font: a picture that fetches something is not shown everywhere.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


class Keeper:
    """A view that draws nothing and keeps the first snapshot that satisfies `wanted`."""

    def __init__(self, wanted: Callable[[Snapshot], bool]) -> None:
        self.kept: Snapshot | None = None
        self._wanted = wanted

    def __enter__(self) -> Self:
        return self

    def update(self, snapshot: Snapshot) -> None:
        if self.kept is None and self._wanted(snapshot):
            self.kept = snapshot

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def main() -> int:
    settings = Settings(task="digits", partition="dirichlet:1.0", iterations=30, shards=PEERS, run_id="demo")
    run = run_settings(settings, PEERS)
    view = Keeper(lambda snapshot: snapshot.progress >= SHOWN_AT and snapshot.pss_mib_mean is not None)
    with tempfile.TemporaryDirectory() as state:
        ports = free_ports(PEERS, host=HOST, rng=random.Random())
        folder = make_folder(Path(state), run.run_id, at=datetime.now())
        plans = [peer_settings(run, index, ports=ports, folder=folder) for index in range(PEERS)]
        swarm = Swarm(run, plans, folder=folder, view=view, patience=Patience())
        asyncio.run(swarm.run(entry=PEER_ENTRY, environment=os.environ))
    if view.kept is None or swarm.warden.exit_code() != 0:
        print("the swarm did not run to its end: there is nothing to draw", file=sys.stderr)
        return 1
    console = Console(record=True, width=PANEL_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ [bold]make demo[/]")
    console.print(panel(view.kept))
    console.print(closing_table(swarm.summary(), startup_s=swarm.startup_s))
    PICTURE.parent.mkdir(exist_ok=True)
    # One id for ever: a picture made again differs only where its figures do.
    console.save_svg(str(PICTURE), title="marfl-peer", code_format=FORMAT, unique_id="swarm")
    print(f"wrote {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
