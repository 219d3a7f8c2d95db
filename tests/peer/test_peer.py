"""Whole peers in one process: they find each other by the DHT, train on the digits, average, and stay the same."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch

from marfl_peer.config import Settings
from marfl_peer.errors import LocalProtocolError
from marfl_peer.facts import (
    Fact,
    IterationFinished,
    IterationSkipped,
    IterationStarted,
    LocalUpdateFinished,
    PeerSeen,
    PeerStarted,
    PeerStopped,
    RemoteFault,
    ShardClaimed,
    StateFetched,
    StateRejected,
    StateResumed,
    StateSaved,
)
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.network.links import bind_both
from marfl_peer.observe.status import Status, read_status
from marfl_peer.peer import entrance as entrance_module
from marfl_peer.peer.inquiry import ask_status
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.store import MANIFEST_FILE, load_manifest
from marfl_peer.protocol import deadlines
from marfl_peer.protocol.participation import Stage, participants

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits().load(None)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance_module, "POLL_S", 0.05)
    monkeypatch.setattr(entrance_module, "MAX_POLL_S", 0.3)


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)


class Swarm:
    """Peers on loopback that bootstrap from the first one's port."""

    def __init__(self, folder: Path, data: TaskData, **settings: object) -> None:
        self.folder, self.data, self.settings = folder, data, settings
        self.port = bind_both(HOST)
        self.facts: dict[str, list[Fact]] = {}

    def peer(self, name: str, **settings: object) -> Peer:
        first = name == next(iter(self.facts), name)
        self.facts[name] = []
        given = {"iterations": 3, "local_steps": 2, "seed": 5, **self.settings, **settings}
        of_run = Settings(
            host=HOST,
            port=self.port if first else 0,
            bootstrap=(f"{HOST}:{self.port}",),
            state_dir=self.folder / name,
        ).adopt(given)
        return Peer(of_run, Digits(), data=self.data, sinks=(self.facts[name].append,))

    def told(self, name: str, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts[name] if isinstance(fact, kind)]


def parameters_of(peer: Peer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in peer.model.parameters()])


async def live(peer: Peer) -> tuple[PeerStopped, torch.Tensor]:
    async with peer:
        stopped = await peer.run()
        return stopped, parameters_of(peer)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_peers_train_and_hold_the_same_model(on_loop, tmp_path: Path, data: TaskData, count: int) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=count, wait_for=count, group_size=3)
        lives = await asyncio.gather(*(live(swarm.peer(str(index))) for index in range(count)))
        for stopped, model in lives:
            assert (stopped.reason, stopped.iteration) == ("finished", 3)
            assert torch.equal(model, lives[0][1])
        owned = {claim.shard for name in swarm.facts for claim in swarm.told(name, ShardClaimed)}
        assert owned == set(range(count)), "a shard each"
        for name in swarm.facts:
            finished = swarm.told(name, IterationFinished)
            assert [fact.iteration for fact in finished] == [1, 2, 3]
            assert {fact.weight for fact in finished} == {len(data.train_labels)}, "all samples count, once"
            assert {fact.peers for fact in finished} == {count}
            assert finished[-1].dht_lookups == 0, "steady state asks no DHT"
            assert (sum(fact.dht_calls["answered"] for fact in finished) > 0) == (count > 1)
            assert not swarm.told(name, RemoteFault)
            # One that has ended the run is gone for whoever dials it only then.
            early = [seen for seen in swarm.told(name, PeerSeen) if seen.event != "joined" and seen.iteration < 3]
            assert early == []
        assert len({fact.projection for name in swarm.facts for fact in swarm.told(name, IterationFinished)[-1:]}) == 1

    on_loop(main())


def test_only_the_updates_of_participants_are_averaged(on_loop, tmp_path: Path, data: TaskData) -> None:
    shares = {"participation_update": 0.6, "participation_aggregate": 0.5}

    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=5, wait_for=5, group_size=3, iterations=6, **shares)
        lives = await asyncio.gather(*(live(swarm.peer(str(index))) for index in range(5)))
        assert all(torch.equal(model, lives[0][1]) for _, model in lives)
        names = {swarm.told(name, PeerStarted)[0].peer_id: name for name in swarm.facts}
        samples = {name: swarm.told(name, ShardClaimed)[0].samples for name in swarm.facts}
        for turn in range(6):

            def drawn(stage: Stage, share: float, iteration: int = turn + 1) -> set[str]:
                lucky = participants(stage, names, seed=5, iteration=iteration, share=share)
                return {names[peer] for peer in lucky}

            trained, counted = drawn(Stage.UPDATE, 0.6), drawn(Stage.AGGREGATE, 0.5)
            assert (len(trained), len(counted)) == (3, 3)
            updates = {name: swarm.told(name, LocalUpdateFinished)[turn] for name in swarm.facts}
            assert {name for name, fact in updates.items() if fact.batches} == trained
            assert all(fact.loss is None and fact.samples == 0 for fact in updates.values() if not fact.batches)
            loss_sum = sum((fact.loss or 0.0) * fact.samples for fact in updates.values())
            loss = loss_sum / sum(fact.samples for fact in updates.values())
            for name in swarm.facts:
                finished = swarm.told(name, IterationFinished)[turn]
                assert finished.weight == sum(samples[peer] for peer in trained & counted)
                assert finished.train_loss == pytest.approx(loss)
                assert finished.peers == 5

    on_loop(main())


def test_iteration_in_which_nobody_counts_changes_nothing(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        # Of two, one trains and one counts: in every other iteration the same.
        shares = {"participation_update": 0.5, "participation_aggregate": 0.5}
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2, iterations=60, **shares)
        one, other = swarm.peer("one"), swarm.peer("other")
        weights: set[int] = set()
        async with entered(one, other):
            while weights != {0, 7}:
                before = parameters_of(one)
                for peer in (one, other):
                    if peer.is_to_update:
                        peer.trainer.local_update()
                outcomes = await asyncio.gather(
                    *(peer.aggregate(peer.model, peer.optimizer, samples=7) for peer in (one, other))
                )
                assert torch.equal(parameters_of(one), parameters_of(other))
                assert torch.equal(parameters_of(one), before) == (outcomes[0].weight == 0)
                weights.add(outcomes[0].weight)

    on_loop(main())


def test_late_joiner_gets_in_and_ends_with_the_same_model(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=3, wait_for=2, iterations=40)
        founders = [asyncio.create_task(live(swarm.peer(name))) for name in ("a", "b")]
        await until(lambda: any(swarm.told("a", IterationFinished)))
        late = await live(swarm.peer("late", wait_for=1))
        others = await asyncio.gather(*founders)
        assert [stopped.reason for stopped, _ in (late, *others)] == ["finished"] * 3
        assert torch.equal(late[1], others[0][1])
        assert torch.equal(others[0][1], others[1][1])
        (fetched,) = swarm.told("late", StateFetched)
        first = swarm.told("late", IterationFinished)[0]
        assert first.iteration == fetched.iteration + 1 > 1
        assert swarm.told("a", IterationFinished)[-1].peers == 3
        assert [claim.shard for claim in swarm.told("late", ShardClaimed)] == [2]

    on_loop(main())


@contextlib.asynccontextmanager
async def entered(*peers: Peer) -> AsyncIterator[None]:
    """All peers inside of the swarm; they found it together."""
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(peer) for peer in peers))
        yield


def test_own_loop_averages_model_and_momentum_by_samples(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2)
        one, other = swarm.peer("one"), swarm.peer("other")
        async with entered(one, other):
            for peer, value in ((one, 1.0), (other, 4.0)):
                with torch.no_grad():
                    for parameter in peer.model.parameters():
                        parameter.fill_(value)
            outcomes = await asyncio.gather(
                one.aggregate(one.model, one.optimizer, samples=20),
                other.aggregate(other.model, other.optimizer, samples=10),
            )
            for peer, outcome in zip((one, other), outcomes, strict=True):
                assert outcome.took_part
                assert (outcome.iteration, outcome.peers, outcome.weight) == (1, 2, 30)
                assert torch.allclose(parameters_of(peer), torch.full_like(parameters_of(peer), 2.0))
                assert peer.iteration == 1
            assert torch.equal(parameters_of(one), parameters_of(other))

    on_loop(main())


def test_own_loop_refuses_a_model_of_another_shape(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=1)
        async with entered(peer := swarm.peer("one")):
            with pytest.raises(LocalProtocolError, match="schema"):
                await peer.aggregate(torch.nn.Linear(2, 2))

    on_loop(main())


def test_peer_that_leaves_says_so_and_the_other_goes_on(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2, iterations=25)
        leaver = swarm.peer("leaver")
        stays = asyncio.create_task(live(swarm.peer("stays")))
        leaving = asyncio.create_task(live(leaver))
        await until(lambda: swarm.told("leaver", IterationFinished))
        leaver.leave()
        assert (await leaving)[0].reason == "left"
        assert (await stays)[0].reason == "finished"
        assert [fact.event for fact in swarm.told("stays", PeerSeen)][-1] == "left"
        assert swarm.told("stays", IterationFinished)[-1].peers == 1

    on_loop(main())


def test_target_ends_the_run_at_everybody(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2, iterations=30, target_accuracy=0.05, local_steps=4)
        lives = await asyncio.gather(*(live(swarm.peer(name)) for name in ("a", "b")))
        assert {stopped.reason for stopped, _ in lives} == {"target_reached"}
        assert len({stopped.iteration for stopped, _ in lives}) == 1
        assert torch.equal(lives[0][1], lives[1][1])

    on_loop(main())


def test_status_tells_who_and_where_a_peer_is(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2)
        one, other = swarm.peer("one"), swarm.peer("other")
        async with entered(one, other):
            status = await ask_status(HOST, swarm.port)
            assert status["peer_id"] == one.peer_id
            assert status["address"] == f"{HOST}:{swarm.port}"
            assert status["started"] is True
            assert [row["peer_id"] for row in status["peers"]] == sorted([one.peer_id, other.peer_id])
            assert status["grid"] == [2]

    on_loop(main())


def test_status_tells_everything_that_its_schema_names(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=2, wait_for=2, iterations=3)
        one, other = swarm.peer("one"), swarm.peer("other")
        async with entered(one, other):
            await asyncio.gather(one.run(), other.run())
            status = await ask_status(HOST, swarm.port)
        assert list(status) == list(Status.__struct_fields__)
        private = {"epsilon_mate", "epsilon_outsider", "delta", "releases"}
        assert {name for name, value in status.items() if value is None} == {"round", "last_failure"} | private
        read = read_status(status)
        assert read.peers is not None
        assert [row.connected for row in read.peers] == [True, True]
        assert (read.iteration, read.finished, read.iterations, read.rounds) == (3, 3, 3, 1)
        assert read.coordinates == (read.cell,)
        assert read.group == tuple(sorted([one.peer_id, other.peer_id]))

    on_loop(main())


def test_peer_used_before_it_is_entered_is_an_error(tmp_path: Path, data: TaskData) -> None:
    peer = Peer(Settings(state_dir=tmp_path), Digits(), data=data)
    with pytest.raises(LocalProtocolError, match="async with"):
        _ = peer.iteration


def test_next_life_has_the_same_id_and_a_higher_incarnation(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        lives = []
        for _ in range(2):
            swarm = Swarm(tmp_path, data, shards=1, iterations=1)
            async with entered(peer := swarm.peer("one")):
                lives.append((peer.peer_id, peer.status()["incarnation"]))
        assert lives[0][0] == lives[1][0]
        assert lives[1][1] == lives[0][1] + 1

    on_loop(main())


def test_peer_that_fell_behind_takes_the_state_of_the_others(
    on_loop, tmp_path: Path, data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it longer than D_g; when it comes back it has what the others agreed on."""
    monkeypatch.setattr(deadlines, "MIN_PATIENCE_S", 0.1)
    monkeypatch.setattr(deadlines, "ROUND_OVERHEAD_S", 0.1)

    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=3, wait_for=3, iterations=100)
        slow, *others = [swarm.peer(name) for name in ("slow", "b", "c")]
        async with entered(slow, *others):

            async def go(peer: Peer) -> None:
                while peer.iteration < 6:
                    with torch.no_grad():
                        for parameter in peer.model.parameters():
                            parameter.add_(1.0)
                    await peer.aggregate(peer.model, peer.optimizer, samples=10)

            await asyncio.gather(*(go(peer) for peer in others))
            with torch.no_grad():
                for parameter in slow.model.parameters():
                    parameter.fill_(1000.0)
            while slow.iteration < 6:
                await slow.aggregate(slow.model, slow.optimizer, samples=10)
            assert torch.equal(parameters_of(slow), parameters_of(others[0]))
            assert torch.equal(parameters_of(others[0]), parameters_of(others[1]))
            assert any(swarm.told("slow", IterationSkipped))
            assert any(swarm.told("slow", StateFetched))
            assert not any(swarm.told(name, RemoteFault) for name in swarm.facts)

    on_loop(main())


def test_peer_alone_resumes_alone(on_loop, tmp_path: Path, data: TaskData) -> None:
    """Two lives are as one that was not interrupted: model, momentum and place in the data."""

    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=1)
        _, through = await live(swarm.peer("through", iterations=6))
        _, half = await live(swarm.peer("halves", iterations=3, port=0, bootstrap=()))
        assert not torch.equal(half, through)
        stopped, whole = await live(swarm.peer("halves", iterations=6, port=0, bootstrap=()))
        assert (stopped.reason, stopped.iteration) == ("finished", 6)
        assert torch.equal(whole, through)
        assert [fact.iteration for fact in swarm.told("halves", StateResumed)] == [3]
        assert [fact.iteration for fact in swarm.told("halves", IterationFinished)] == [4, 5, 6]

    on_loop(main())


def test_run_that_is_finished_on_disk_ends_at_once(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=1, bootstrap=())
        _, model = await live(swarm.peer("one"))
        stopped, again = await live(swarm.peer("one", wait_for=9))
        assert (stopped.reason, stopped.iteration) == ("finished", 3)
        assert torch.equal(again, model)
        assert not swarm.told("one", IterationStarted)

    on_loop(main())


def test_target_that_was_reached_in_an_earlier_life_is_reached(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=1, bootstrap=(), iterations=30, target_accuracy=0.01)
        first, _ = await live(swarm.peer("one"))
        again, _ = await live(swarm.peer("one"))
        assert (again.reason, again.iteration) == ("finished", first.iteration)
        further, _ = await live(swarm.peer("one", target_accuracy=None, iterations=first.iteration + 1))
        assert further.iteration == first.iteration + 1

    on_loop(main())


def test_whole_swarm_that_was_stopped_goes_on_as_if_it_had_not_been(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        shards = {name: f"{index}/4" for index, name in enumerate("abcd")}

        async def run(swarm: Swarm, iterations: int) -> list[tuple[PeerStopped, torch.Tensor]]:
            peers = [swarm.peer(name, shard=shard, iterations=iterations) for name, shard in shards.items()]
            return await asyncio.gather(*(live(peer) for peer in peers))

        through = Swarm(tmp_path / "through", data, shards=4, wait_for=4, group_size=2)
        ((_, uninterrupted), *_) = await run(through, 6)
        swarm = Swarm(tmp_path, data, shards=4, wait_for=4, group_size=2)
        await run(swarm, 3)
        lives = await run(swarm, 6)
        for name, (stopped, model) in zip(shards, lives, strict=True):
            assert (stopped.reason, stopped.iteration) == ("finished", 6)
            assert torch.equal(model, lives[0][1])
            assert torch.allclose(model, uninterrupted, atol=1e-4), "ids differ, and with them the order of sums"
            assert [fact.iteration for fact in swarm.told(name, StateResumed)] == [3]
            assert not swarm.told(name, StateFetched), "everybody held it"
            assert [fact.iteration for fact in swarm.told(name, IterationFinished)] == [4, 5, 6]

    on_loop(main())


def test_founders_of_different_iterations_go_on_after_the_latest(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        names = ("a", "b", "c")
        swarm = Swarm(tmp_path, data, shards=3, wait_for=3)
        await asyncio.gather(*(live(swarm.peer(name)) for name in names))
        shards = {name: swarm.told(name, ShardClaimed)[0].shard for name in names}
        earlier = {path: path.read_bytes() for name in ("a", "b") for path in (tmp_path / name).glob("state*")}
        await asyncio.gather(*(live(swarm.peer(name, iterations=5)) for name in names))
        for path in [path for name in ("a", "b") for path in (tmp_path / name).glob("state*")]:
            path.unlink()
        for path, content in earlier.items():  # two of three are two iterations behind, as after a long outage
            path.write_bytes(content)
        lives = await asyncio.gather(*(live(swarm.peer(name, iterations=7)) for name in names))
        for name, (stopped, model) in zip(names, lives, strict=True):
            assert (stopped.reason, stopped.iteration) == ("finished", 7)
            assert torch.equal(model, lives[0][1])
            assert [fact.iteration for fact in swarm.told(name, IterationFinished)] == [6, 7]
            assert [fact.iteration for fact in swarm.told(name, StateResumed)] == [5 if name == "c" else 3]
            assert [fact.shard for fact in swarm.told(name, ShardClaimed)] == [shards[name]], "each keeps its data"
        # Who has taken it may give it to the other.
        sources = {name: [fact.source for fact in swarm.told(name, StateFetched)] for name in names}
        ids = {name: load_manifest(tmp_path / name).peer_id for name in names}
        assert sources["c"] == []
        assert [len(sources[name]) for name in ("a", "b")] == [1, 1]
        assert sources["a"][0] in (ids["b"], ids["c"])
        assert sources["b"][0] in (ids["a"], ids["c"])
        assert ids["c"] in sources["a"] + sources["b"]

    on_loop(main())


def test_founder_that_is_behind_takes_what_the_others_hold(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        names = ("a", "b", "c")
        swarm = Swarm(tmp_path, data, shards=3, wait_for=3)
        await asyncio.gather(*(live(swarm.peer(name)) for name in names))
        saved = {name: (tmp_path / name / MANIFEST_FILE).read_bytes() for name in names}
        (tmp_path / "b" / MANIFEST_FILE).unlink()
        damaged = bytearray(saved["c"])
        damaged[len(damaged) // 2] ^= 1
        (tmp_path / "c" / MANIFEST_FILE).write_bytes(damaged)
        lives = await asyncio.gather(*(live(swarm.peer(name, iterations=5)) for name in names))
        for name, (stopped, model) in zip(names, lives, strict=True):
            assert (stopped.reason, stopped.iteration) == ("finished", 5)
            assert torch.equal(model, lives[0][1])
            assert [fact.iteration for fact in swarm.told(name, IterationFinished)] == [4, 5]
        assert [bool(swarm.told(name, StateFetched)) for name in names] == [False, True, True]
        assert [bool(swarm.told(name, StateResumed)) for name in names] == [True, False, False]
        assert [[fact.reason for fact in swarm.told(name, StateRejected)] for name in names] == [[], [], ["damaged"]]

    on_loop(main())


def test_peer_that_was_killed_comes_back_to_the_running_swarm(on_loop, tmp_path: Path, data: TaskData) -> None:
    async def main() -> None:
        names = ("a", "b", "c", "d")
        swarm = Swarm(tmp_path, data, shards=4, wait_for=4, group_size=2, iterations=60)
        peers = {name: swarm.peer(name) for name in names}
        lives = {name: asyncio.create_task(live(peers[name])) for name in names}
        await until(lambda: len(swarm.told("d", StateSaved)) >= 5)
        lives["d"].cancel()
        await asyncio.wait([lives["d"]])
        saved = load_manifest(tmp_path / "d")
        position = peers["d"].trainer.position
        lives["d"] = asyncio.create_task(live(again := swarm.peer("d", wait_for=1)))
        await until(lambda: bool(swarm.told("d", StateResumed)))
        (resumed,) = swarm.told("d", StateResumed)
        assert resumed.iteration == saved.iteration >= 5
        assert (resumed.epoch, resumed.offset) == (saved.epoch, saved.offset)
        ends = await asyncio.gather(*lives.values())
        for stopped, model in ends:
            assert (stopped.reason, stopped.iteration) == ("finished", 60)
            assert torch.equal(model, ends[0][1])
        assert again.trainer.position != position
        (fetched,) = swarm.told("d", StateFetched)
        assert fetched.iteration + 1 == swarm.told("d", IterationFinished)[0].iteration
        assert not any(swarm.told(name, RemoteFault) for name in names)

    on_loop(main())


def test_peer_keeps_its_state_where_the_swarm_has_not_got_that_far(on_loop, tmp_path: Path, data: TaskData) -> None:
    """Those that were ahead with it are gone; the others, of whom one alone moves nobody, come to it by themselves."""

    async def main() -> None:
        behind, names = ("a", "b", "c"), ("a", "b", "c", "d")
        swarm = Swarm(tmp_path, data, shards=4, wait_for=4)
        await asyncio.gather(*(live(swarm.peer(name)) for name in names))
        earlier = {path: path.read_bytes() for name in behind for path in (tmp_path / name).glob("state*")}
        await asyncio.gather(*(live(swarm.peer(name, iterations=6)) for name in names))
        for path in [path for name in behind for path in (tmp_path / name).glob("state*")]:
            path.unlink()
        for path, content in earlier.items():
            path.write_bytes(content)
        peers = {name: swarm.peer(name, iterations=9, wait_for=3) for name in names}

        async def average(those: tuple[str, ...]) -> None:
            taking_part = [peers[name] for name in those]
            await asyncio.gather(*(peer.aggregate(peer.model, peer.optimizer, samples=5) for peer in taking_part))

        async with contextlib.AsyncExitStack() as stack:
            await asyncio.gather(*(stack.enter_async_context(peers[name]) for name in behind))
            await stack.enter_async_context(peers["d"])
            assert [fact.iteration for fact in swarm.told("d", StateResumed)] == [6]
            for _ in range(3):
                await average(behind)
            assert [peers[name].iteration for name in names] == [6, 6, 6, 6]
            assert not torch.equal(parameters_of(peers["a"]), parameters_of(peers["d"])), "it is still its own"
            await average(names)
            for name in names:
                assert swarm.told(name, IterationFinished)[-1].iteration == 7
                assert swarm.told(name, IterationFinished)[-1].weight == 20
                assert torch.equal(parameters_of(peers[name]), parameters_of(peers["a"]))
                assert not swarm.told(name, StateFetched)
                assert not swarm.told(name, StateRejected)

    on_loop(main())


def test_last_state_that_is_on_disk_is_not_downloaded_again(on_loop, tmp_path: Path, data: TaskData) -> None:
    """The run is over when it comes back; the others vote for the very state that it holds."""

    async def main() -> None:
        swarm = Swarm(tmp_path, data, shards=3, wait_for=3, iterations=4)
        names = ("a", "b", "c")
        async with contextlib.AsyncExitStack() as stack:
            peers = [swarm.peer(name) for name in names]
            await asyncio.gather(*(stack.enter_async_context(peer) for peer in peers))
            for _ in range(3):
                for peer in peers:
                    peer.trainer.local_update()
                await asyncio.gather(*(peer.aggregate(peer.model, peer.optimizer, samples=5) for peer in peers))
            await asyncio.gather(*(peer._parts.training._saver.flush() for peer in peers))
            for path in [*(tmp_path / "c").glob("state*"), tmp_path / "c" / "peers.json"]:
                (tmp_path / "copy").mkdir(exist_ok=True)
                shutil.copy(path, tmp_path / "copy" / path.name)
            wish = peers[2]._parts.iterations
            state = await wish.catch_up()
            assert state is wish.states.agreed
            assert not swarm.told("c", StateFetched)

    on_loop(main())
