from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, DhtError, LocalProtocolError
from marfl_peer.facts import Fact, GroupFinished, IterationFinished, PeerStarted, PeerStopped
from marfl_peer.lab.ports import free_ports
from marfl_peer.peer.blocking import BlockingPeer

HOST = "127.0.0.1"


def settings_of(folder: Path, **given: object) -> Settings:
    return Settings(host=HOST, port=0, state_dir=folder).adopt(
        {"iterations": 3, "local_steps": 2, "shards": 2, "seed": 5, **given}
    )


def in_thread(work: Callable[[], object]) -> Future[object]:
    future: Future[object] = Future()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call).start()
    return future


class Told:
    """A sink that keeps what it was told."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.started = threading.Event()

    def __call__(self, fact: Fact) -> None:
        self.facts.append(fact)
        if isinstance(fact, PeerStarted):
            self.started.set()

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def parameters_of(peer: BlockingPeer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in peer.model.parameters()])


def own_loop(settings: Settings, samples: int, told: Told) -> torch.Tensor:
    with BlockingPeer(settings, sinks=(told,)) as peer:
        while not peer.is_over:
            peer.trainer.local_update()
            outcome = peer.aggregate(peer.model, peer.optimizer, samples=samples)
            assert outcome.took_part
            assert outcome.peers == 2
            assert outcome.weight == 40  # both peers' samples
        assert peer.iteration == 3
        return parameters_of(peer)


def test_two_scripts_hold_the_same_model_after_every_iteration(tmp_path: Path) -> None:
    (port,) = free_ports(1, host=HOST, rng=random.Random())
    first = settings_of(tmp_path / "a", port=port, wait_for=2)
    second = settings_of(tmp_path / "b", bootstrap=(f"{HOST}:{port}",), wait_for=2)
    told = Told()
    other = in_thread(lambda: own_loop(second, 30, Told()))
    mine = own_loop(first, 10, told)
    theirs = other.result(60)
    assert isinstance(theirs, torch.Tensor)
    assert torch.equal(mine, theirs)
    assert len(told.of(GroupFinished)) == 3
    (stopped,) = told.of(PeerStopped)
    assert isinstance(stopped, PeerStopped)
    assert stopped.reason == "finished"


def test_run_trains_to_the_end(tmp_path: Path) -> None:
    told = Told()
    with BlockingPeer(settings_of(tmp_path), sinks=(told,)) as peer:
        before = parameters_of(peer).clone()
        stopped = peer.run()
        assert not torch.equal(before, parameters_of(peer))
    assert (stopped.reason, stopped.iteration) == ("finished", 3)
    assert told.of(PeerStopped) == [stopped]


def test_leaving_early_tells_that_the_peer_left(tmp_path: Path) -> None:
    told = Told()
    with BlockingPeer(settings_of(tmp_path), sinks=(told,)) as peer:
        peer.aggregate(peer.model, peer.optimizer)
    (stopped,) = told.of(PeerStopped)
    assert isinstance(stopped, PeerStopped)
    assert (stopped.reason, stopped.iteration) == ("left", 1)


def test_an_error_of_the_script_is_the_one_that_it_sees(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(ZeroDivisionError), BlockingPeer(settings_of(tmp_path), sinks=(told,)):
        _ = 1 // 0
    assert len(told.of(PeerStopped)) == 1
    with BlockingPeer(settings_of(tmp_path)) as again:  # the state directory's lock is free again
        assert not again.is_over


def test_an_error_of_a_call_reaches_the_script_and_the_peer_lives_on(tmp_path: Path) -> None:
    with BlockingPeer(settings_of(tmp_path)) as peer:
        with pytest.raises(LocalProtocolError, match="schema"):
            peer.aggregate(torch.nn.Linear(2, 2))
        assert peer.aggregate(peer.model, peer.optimizer).iteration == 1


def test_overlap_is_not_for_a_training_loop_of_ones_own(tmp_path: Path) -> None:
    with BlockingPeer(settings_of(tmp_path, overlap=True)) as peer:
        with pytest.raises(ConfigError, match=r"overlap.*true.*run\(\)") as caught:
            peer.aggregate(peer.model, peer.optimizer)
        assert caught.value.what == "overlap"
        assert peer.iteration == 0
        assert peer.run().reason == "finished"


def test_an_error_on_entering_reaches_the_script(tmp_path: Path) -> None:
    (port,) = free_ports(1, host=HOST, rng=random.Random())
    nobody = settings_of(tmp_path, bootstrap=(f"{HOST}:{port}",), wait_timeout_s=0.0)
    with pytest.raises(DhtError, match="nobody answers"), BlockingPeer(nobody):
        pass


def test_a_failing_sink_on_leaving_reaches_the_script(tmp_path: Path) -> None:
    def fail_at_the_end(fact: Fact) -> None:
        if isinstance(fact, PeerStopped):
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk"), BlockingPeer(settings_of(tmp_path), sinks=(fail_at_the_end,)):
        pass


def interrupt_at(kind: type[Fact]) -> Callable[[Fact], None]:
    """A sink that does what Ctrl+C does, once."""
    done = threading.Event()

    def sink(fact: Fact) -> None:
        if isinstance(fact, kind) and not done.is_set():
            done.set()
            os.kill(os.getpid(), signal.SIGINT)

    return sink


def test_interrupt_while_the_swarm_is_sought_ends_the_peer(tmp_path: Path) -> None:
    alone = settings_of(tmp_path, wait_for=2)
    with pytest.raises(KeyboardInterrupt), BlockingPeer(alone, sinks=(interrupt_at(PeerStarted),)):
        pass
    assert "marfl-peer" not in [thread.name for thread in threading.enumerate()]


def test_interrupt_of_a_call_leaves_the_swarm(tmp_path: Path) -> None:
    endless, told = settings_of(tmp_path, iterations=10**9), Told()
    sinks = (told, interrupt_at(IterationFinished))
    with pytest.raises(KeyboardInterrupt), BlockingPeer(endless, sinks=sinks) as peer:
        peer.run()
    (stopped,) = told.of(PeerStopped)
    assert isinstance(stopped, PeerStopped)
    assert stopped.reason == "left"
    assert "marfl-peer" not in [thread.name for thread in threading.enumerate()]


def test_use_outside_of_its_block_is_refused(tmp_path: Path) -> None:
    peer = BlockingPeer(settings_of(tmp_path))
    with pytest.raises(LocalProtocolError, match="with"):
        _ = peer.model
    with peer:
        assert peer.iteration == 0
    with pytest.raises(LocalProtocolError, match="with"):
        _ = peer.iteration


def test_a_run_is_adopted_unless_a_setting_contradicts_it(tmp_path: Path) -> None:
    (port,) = free_ports(1, host=HOST, rng=random.Random())
    told = Told()
    founder = settings_of(tmp_path / "a", port=port, wait_for=2, lr=0.25)
    other = in_thread(lambda: own_loop(founder, 30, told))
    assert told.started.wait(20)
    here = {"bootstrap": (f"{HOST}:{port}",), "wait_for": 2, "host": HOST, "port": 0}
    contrary = Settings(state_dir=tmp_path / "c", lr=0.5).adopt(here)
    with pytest.raises(ConfigError, match="lr"), BlockingPeer(contrary):
        pass
    willing = Settings(state_dir=tmp_path / "b").adopt(here)
    with BlockingPeer(willing) as peer:
        assert (peer.settings.lr, peer.settings.iterations) == (0.25, 3)
        while not peer.is_over:
            peer.aggregate(peer.model, peer.optimizer, samples=10)
    assert isinstance(other.result(60), torch.Tensor)
