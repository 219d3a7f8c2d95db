from __future__ import annotations

import importlib.util
import random
import re
import threading
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.config import Settings
from marfl_peer.facts import Fact, PeerSeen, PeerStopped
from marfl_peer.lab.ports import free_ports
from marfl_peer.peer.blocking import BlockingPeer

EXAMPLE = Path(__file__).parents[2] / "examples" / "join_swarm.py"
HOST = "127.0.0.1"
ALONE, ITERATIONS = 3, 12


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("join_swarm", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Founder(threading.Thread):
    """A swarm of one that trains for a while, waits until somebody asks to join, and goes on to the end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="founder")
        self.is_running, self.somebody_joined = threading.Event(), threading.Event()
        self.peers: list[int] = []
        self.took_part: list[bool] = []
        self.stopped: PeerStopped | None = None
        self._settings = settings

    def run(self) -> None:
        with BlockingPeer(self._settings, sinks=(self._note,)) as peer:
            while not peer.is_over:
                if peer.iteration == ALONE:
                    self.is_running.set()
                    assert self.somebody_joined.wait(60)
                peer.trainer.local_update()
                outcome = peer.aggregate(peer.model, peer.optimizer, samples=peer.trainer.samples)
                self.peers.append(outcome.peers)
                self.took_part.append(outcome.took_part)

    def _note(self, fact: Fact) -> None:
        if isinstance(fact, PeerSeen) and fact.event == "joined":
            self.somebody_joined.set()
        if isinstance(fact, PeerStopped):
            self.stopped = fact


def test_join_swarm_is_taken_into_a_running_swarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (port,) = free_ports(1, host=HOST, rng=random.Random())
    settings = Settings(host=HOST, port=port, iterations=ITERATIONS, local_steps=3, state_dir=tmp_path / "founder")
    founder = Founder(settings)
    founder.start()
    assert founder.is_running.wait(60)
    example().main(f"{HOST}:{port}", str(tmp_path / "joiner"))
    founder.join(60)
    assert founder.stopped is not None
    assert founder.stopped.reason == "finished"
    assert all(founder.took_part)
    assert founder.peers[:ALONE] == [1] * ALONE
    assert founder.peers[-1] == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"iteration {ITERATIONS}: 2 peers, accuracy 0.")
    assert all(re.fullmatch(r"iteration \d+: 2 peers, accuracy .+", line) for line in lines)


def test_join_swarm_takes_at_most_ten_lines() -> None:
    body = EXAMPLE.read_text(encoding="utf-8").partition("def main(")[2].partition("\n\n\n")[0].splitlines()[1:]
    assert 0 < len(body) <= 10
