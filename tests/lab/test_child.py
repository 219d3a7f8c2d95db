import asyncio
import io
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.facts import AnyFact, PeerStarted, PeerStopped
from marfl_peer.lab.child import Leaving, live, prepare
from marfl_peer.lab.fact_stream import FactServer
from marfl_peer.lab.jobs import Job, Start
from marfl_peer.lab.swarm import run_swarm
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.registry import load_task
from marfl_peer.observe.position import Position


@pytest.fixture(scope="module")
def digits() -> TaskData:
    return load_task("digits").load(None)


def lone(folder: Path, *, wait_for: int = 1) -> Settings:
    return Settings(
        host="127.0.0.1",
        port=0,
        metrics_port=0,
        iterations=2,
        local_steps=2,
        shards=1,
        shard="0/1",
        wait_for=wait_for,
        state_dir=folder,
    )


async def life(settings: Settings, digits: TaskData, folder: Path, heard: list[AnyFact], *, leave: bool) -> PeerStopped:
    """A peer in this process; with `leave` it gets SIGTERM as soon as it listens."""

    def hear(index: int, fact: AnyFact) -> None:
        assert index == 5
        heard.append(fact)
        if leave and isinstance(fact, PeerStarted):
            os.kill(os.getpid(), signal.SIGTERM)

    async with FactServer(folder / "facts", hear) as server:
        start = Start(index=5, settings=settings)
        try:
            task, facts_path = load_task("digits"), str(folder / "facts")
            return await live(start, task=task, data=digits, facts_path=facts_path, position=Position())
        finally:
            await server.drained(asyncio.get_running_loop().time() + 5)


def test_peer_tells_its_life_to_launcher_and_journal(tmp_path: Path, digits: TaskData) -> None:
    heard: list[AnyFact] = []
    stopped = asyncio.run(life(lone(tmp_path), digits, tmp_path, heard, leave=False))
    assert stopped.reason == "finished"
    assert isinstance(heard[0], PeerStarted) and heard[-1] == stopped
    assert (tmp_path / "journal.jsonl").read_bytes().count(b"\n") == len(heard)


def test_peer_that_is_still_entering_is_given_up_at_sigterm(tmp_path: Path, digits: TaskData) -> None:
    heard: list[AnyFact] = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(life(lone(tmp_path, wait_for=2), digits, tmp_path, heard, leave=True))
    assert not any(isinstance(fact, PeerStopped) for fact in heard)


def test_leaving_is_the_peers_own_once_it_is_in() -> None:
    class Guest:
        asked = 0

        def leave(self) -> None:
            self.asked += 1

    async def scenario() -> int:
        leaving = Leaving()
        guest = leaving.peer = Guest()  # type: ignore[assignment]  # a peer as far as this goes
        leaving.ask()
        leaving.ask()
        await asyncio.sleep(0)
        return guest.asked

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(shards=100_000), "100000"),
        (Settings(task="no.such.module:factory"), "no.such.module"),
        (Settings(task="mnist", data_dir=Path("/nonexistent")), "nonexistent"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_the_first_fork(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(Job(entry="", settings=settings, facts_path=""))


def test_swarm_of_one_real_peer_learns_in_a_process_of_its_own(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    settings = Settings(shards=1, iterations=2, local_steps=2, state_dir=tmp_path)
    assert run_swarm(settings, 1, summary=None, plain=True, console=console) == 0
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"nursery.log", "peer-000", "summary.json"}
    assert (folder / "peer-000" / "peer.log").read_text().count(" iteration 2/2, ") == 1
    assert {"journal.jsonl", "peer.log", "identity.pem"} <= {path.name for path in (folder / "peer-000").iterdir()}
