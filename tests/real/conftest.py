"""Real processes on loopback: the command line as a user runs it, and what the peers wrote down of their lives."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest

from marfl_peer.facts import AnyFact, decode_fact
from marfl_peer.lab.ports import free_ports

PATIENCE_S = 150.0
"""For anything that must come: other programs may want this machine, too."""
POLL_S = 0.1
COMMAND = (sys.executable, "-m", "marfl_peer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(2 * PATIENCE_S))


def environment(**more: str) -> dict[str, str]:
    """This process's, without settings of a peer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARFL_")}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def read_facts(folder: Path) -> list[AnyFact]:
    """The journal of one peer so far, without a line that is being written."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [decode_fact(line) for line in lines]


@pytest.fixture
def facts_of() -> Callable[[Path], list[AnyFact]]:
    return read_facts


class Program:
    """A running `marfl-peer`; its output goes to `log`."""

    def __init__(self, arguments: Sequence[str], folder: Path, name: str, **more: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], cwd=folder, env=environment(**more), stdout=log, stderr=log
            )

    def until(self, holds: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Returns when something holds. Raises: AssertionError if the process ends before, or it takes too long."""
        deadline = monotonic() + patience_s
        while not holds():
            assert monotonic() < deadline, f"it did not come to be: {self.log.read_text()[-2000:]}"
            try:
                code = self.process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
            assert holds(), f"it ended with {code}: {self.log.read_text()[-2000:]}"

    def end(self, *, patience_s: float = PATIENCE_S) -> int:
        """Waits for it and returns its exit code."""
        return self.process.wait(patience_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """`start("join", "--port", "0", name="peer")`: whatever still runs after the test is killed."""
    programs: list[Program] = []

    def run(*arguments: str, name: str = "program", **more: str) -> Program:
        programs.append(Program(arguments, tmp_path, name, **more))
        return programs[-1]

    yield run
    for program in programs:
        program.kill()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run("status", "127.0.0.1:7700")`: a command from start to end."""

    def to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
        )

    return to_its_end


@pytest.fixture(scope="session")
def commands() -> Callable[..., tuple[tuple[str, ...], dict[str, str], float]]:
    """For those who start it in their own way: the command, its environment, and how long it may take, in seconds."""
    return lambda *arguments: ((*COMMAND, *arguments), environment(), PATIENCE_S)


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    return free_ports(1, host="127.0.0.1", rng=random.Random())[0]
