"""What churn did to which peer, as JSON lines in a file: for whoever judges a run by its peers' journals."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from marfl_peer.lab.churn.plan import Action
from marfl_peer.lab.churn.steps import Restart, Step

CHURN_LOG = "churn.jsonl"


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: seconds since the epoch. `action`: of a plan; "resume" and "restart" also where they came by themselves."""

    at: float
    action: str
    peer: int
    iteration: int


class ChurnLog:
    """Appends deeds to a file, which is made with the first. Slow peers are told of once."""

    def __init__(self, path: Path, *, wall: Callable[[], float] = time.time) -> None:
        self._path, self._wall = path, wall
        self._slow: set[int] = set()

    def note(self, step: Step) -> None:
        """Raises: OSError."""
        if isinstance(step, Restart):
            self._write(step, "restart")
        elif step.action is not Action.SLOW:
            self._write(step, "resume" if step.number.name == "SIGCONT" else step.action.value)
        elif step.index not in self._slow:
            self._slow.add(step.index)
            self._write(step, step.action.value)

    def _write(self, step: Step, action: str) -> None:
        deed = Deed(at=self._wall(), action=action, peer=step.index, iteration=step.iteration)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(deed) + b"\n")


def read_deeds(path: Path) -> list[Deed]:
    """The deeds of a run, in their order; none where nothing was done."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Deed) for line in path.read_bytes().splitlines()]
