from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal

import pytest
from click.testing import Result

from marfl_peer.cli.join import run_peer
from marfl_peer.cli.settings import Chosen
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, DhtError
from marfl_peer.facts import PeerStopped, Sink, ViewChanged, decode_fact
from marfl_peer.observe.position import Position

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]
Reason = Literal["finished", "target_reached", "left", "error"]
VIEW = ViewChanged(iteration=1, digest="00", peers=4, grid=(2, 2), cell=3)


@dataclass
class Rooms:
    """What the stand-ins for peer and learning were asked, and how they behave."""

    reason: Reason = "finished"
    adopted: dict[str, object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    settings: Settings | None = None
    stated: frozenset[str] = frozenset()
    task: str = ""
    threads: int = 0
    scheme: str = ""
    heap: Any = None
    during_run: Callable[[Sequence[Sink]], object] | None = None
    waits_for_leave: bool = False
    adoption_error: BaseException | None = None
    adoption_signal: int | None = None


@pytest.fixture
def rooms(stand_in: StandIn) -> Rooms:
    rooms = Rooms()

    class Heap:
        is_frugal = False

        def be_frugal(self) -> None:
            self.is_frugal = True

    class Peer:
        def __init__(self, settings: Settings, task: str, *, sinks: Sequence[Sink], heap: Heap, scheme: str) -> None:
            rooms.settings, rooms.task, rooms.heap, rooms.scheme = settings, task, heap, scheme
            self._sinks = sinks
            self._left = asyncio.Event()

        async def __aenter__(self) -> Peer:
            rooms.events.append("entered")
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            rooms.events.append("closed")

        async def run(self) -> PeerStopped:
            for sink in self._sinks:
                sink(VIEW)
            if rooms.during_run is not None:
                await asyncio.to_thread(rooms.during_run, self._sinks)
            if rooms.waits_for_leave:
                os.kill(os.getpid(), signal.SIGTERM)
                await self._left.wait()
                rooms.reason = "left"
            stopped = PeerStopped(reason=rooms.reason, iteration=1, detail="")
            for sink in self._sinks:
                sink(stopped)
            return stopped

        def leave(self) -> None:
            rooms.events.append("leave")
            self._left.set()

    async def adopt_run(settings: Settings, stated: frozenset[str]) -> Settings:
        rooms.stated = stated
        if rooms.adoption_error is not None:
            raise rooms.adoption_error
        if rooms.adoption_signal is not None:
            os.kill(os.getpid(), rooms.adoption_signal)
            await asyncio.Event().wait()
        return settings.adopt(rooms.adopted)

    def load_task(name: str, *, encoder: str, data_dir: Path | None, folder: Path | None) -> str:
        return f"task {name} {encoder} {data_dir}"

    stand_in("marfl_peer.learning.memory", Heap=Heap)
    stand_in("torch", set_num_threads=lambda count: setattr(rooms, "threads", count))
    stand_in("marfl_peer.learning.tasks.registry", load_task=load_task)
    stand_in("marfl_peer.peer.adoption", adopt_run=adopt_run)
    stand_in(
        "marfl_peer.lab.baselines.registry",
        scheme_of=lambda settings, *, peers: f"{settings.aggregation} of {peers}",
    )
    stand_in("marfl_peer.peer.peer", Peer=Peer)
    return rooms


def test_peer_gets_settings_task_and_what_was_stated(invoke: Invoke, rooms: Rooms) -> None:
    rooms.adopted = {"task": "mnist", "iterations": 7}
    result = invoke("join", "--port", "0", "--threads", "2", MARFL_SEED="3")
    assert result.exit_code == 0, result.output
    assert rooms.settings == Settings(port=0, threads=2, seed=3, task="mnist", iterations=7)
    assert rooms.stated == {"port", "threads", "seed"}
    assert (rooms.task, rooms.threads) == ("task mnist hashing None", 2)
    assert rooms.heap.is_frugal
    assert rooms.events == ["entered", "closed"]


def test_scheme_is_that_of_the_run(invoke: Invoke, rooms: Rooms) -> None:
    rooms.adopted = {"aggregation": "ring"}
    assert invoke("join", "--port", "0", "--wait-for", "9").exit_code == 0
    assert rooms.scheme == "ring of 9"


def test_peer_whose_texts_cannot_be_encoded_does_not_enter(invoke: Invoke, rooms: Rooms, stand_in: StandIn) -> None:
    asked: list[Settings] = []

    async def encode_ahead(settings: Settings, environment: Mapping[str, str]) -> int:
        asked.append(settings)
        return 2

    stand_in("marfl_peer.lab.encoding", encode_ahead=encode_ahead)
    rooms.adopted = {"task": "20news", "encoder": "minilm"}
    assert invoke("join", "--port", "0").exit_code == 2
    assert [settings.encoder for settings in asked] == ["minilm"]
    assert rooms.events == []


def test_facts_reach_journal_and_log(invoke: Invoke, rooms: Rooms) -> None:
    result = invoke("join", "--state-dir", "s")
    facts = [decode_fact(line) for line in Path("s/journal.jsonl").read_bytes().splitlines()]
    assert facts == [VIEW, PeerStopped(reason="finished", iteration=1, detail="")]
    assert "INFO    -        i- r- from iteration 1 on 4 peers, grid 2x2, own cell 3\n" in result.stderr
    assert result.stdout == ""


def test_quiet_log_level_prints_nothing(invoke: Invoke, rooms: Rooms) -> None:
    assert invoke("join", "--log-level", "warning").stderr == ""


def test_metrics_are_served_while_the_peer_runs(rooms: Rooms, tmp_path: Path) -> None:
    settings = Settings(host="127.0.0.1", metrics_port=0, state_dir=tmp_path)
    kinds: list[str] = []
    rooms.during_run = lambda sinks: kinds.extend(type(sink).__name__ for sink in sinks)
    chosen = Chosen(settings=settings, stated=frozenset(), peers=16)
    assert asyncio.run(run_peer(chosen, Position())) == 0
    assert sorted(kinds) == ["FactLog", "Health", "Journal", "Metrics", "Position"]


def test_metrics_port_in_use_is_one_line(invoke: Invoke, rooms: Rooms) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("join", "--host", "127.0.0.1", "--metrics-port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert result.stderr.startswith("marfl-peer: error: metrics-port: ")
    assert rooms.events == []


@pytest.mark.parametrize(("reason", "exit_code"), [("finished", 0), ("target_reached", 0), ("left", 0), ("error", 1)])
def test_exit_code_says_how_the_peer_ended(invoke: Invoke, rooms: Rooms, reason: Reason, exit_code: int) -> None:
    rooms.reason = reason
    assert invoke("join").exit_code == exit_code


def test_sigterm_makes_the_peer_leave_gracefully(invoke: Invoke, rooms: Rooms) -> None:
    rooms.waits_for_leave = True
    assert invoke("join").exit_code == 0
    assert rooms.events == ["entered", "leave", "closed"]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_before_there_is_a_peer_ends_the_command(
    invoke: Invoke, rooms: Rooms, number: int, exit_code: int
) -> None:
    rooms.adoption_signal = number
    result = invoke("join")
    assert (result.exit_code, result.output, rooms.events) == (exit_code, "", [])


def test_cancellation_by_somebody_else_is_passed_on(rooms: Rooms, tmp_path: Path) -> None:
    rooms.adoption_error = asyncio.CancelledError()
    chosen = Chosen(settings=Settings(state_dir=tmp_path), stated=frozenset(), peers=16)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run_peer(chosen, Position()))


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigError("group-size", 5, "the run has 4: leave the flag out"), 2),
        (DhtError("no bootstrap peer answers"), 69),
    ],
)
def test_error_before_the_peer_is_one_line(invoke: Invoke, rooms: Rooms, error: Exception, exit_code: int) -> None:
    rooms.adoption_error = error
    result = invoke("join")
    assert (result.exit_code, result.stderr) == (exit_code, f"marfl-peer: error: {error}\n")


def test_state_directory_that_cannot_be_written_is_one_line(invoke: Invoke, rooms: Rooms) -> None:
    Path("file").write_text("")
    result = invoke("join", "--state-dir", "file/state")
    assert result.exit_code == 2
    assert "file/state/journal.jsonl: cannot be written" in result.stderr
    assert "choose another --state-dir" in result.stderr


def test_log_is_json_where_it_is_asked_for(invoke: Invoke, rooms: Rooms) -> None:
    result = invoke("join", MARFL_LOG_FORMAT="json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["code"] for line in lines] == ["view_changed", "peer_stopped"]
    assert lines[0]["fields"]["grid"] == [2, 2]


def test_number_of_buckets_follows_from_who_is_waited_for(invoke: Invoke, rooms: Rooms) -> None:
    result = invoke("join", "--placement", "hashed", "--wait-for", "30")
    assert result.exit_code == 0, result.output
    assert rooms.settings is not None
    assert rooms.settings.buckets == 8


def test_number_of_buckets_is_that_of_the_run(invoke: Invoke, rooms: Rooms) -> None:
    rooms.adopted = {"placement": "hashed", "buckets": 5}
    assert invoke("join", "--wait-for", "30").exit_code == 0
    assert rooms.settings is not None
    assert rooms.settings.buckets == 5
