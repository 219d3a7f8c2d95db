from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import UplinkMeasured
from marfl_peer.lab.bench import peer_rank
from marfl_peer.lab.bench.callbacks import CallbackWatch
from marfl_peer.lab.bench.judging import Judgement, judge_encoded
from marfl_peer.lab.bench.peer_rank import Gate, LastWord, PeerRank
from marfl_peer.lab.bench.sides import bench_settings
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.bench.words import Done, Ended, PeerRole, Ready
from marfl_peer.peer.peer import Peer

FLOATS = 64
WAIT_S = 0.05


def alone(tmp_path: Path, codec: str) -> Settings:
    return bench_settings(Settings(codec=codec), 1).adopt({"host": "127.0.0.1", "port": 0, "state_dir": tmp_path})


async def measured(tmp_path: Path, ranks: int, count: int = 1, codec: str = "float32") -> tuple[list[Done], int]:
    """What a peer that is alone says of its aggregations, and how often it waited at the gate."""
    task, told, met = BenchTask(FLOATS // 2, 1), LastWord(), 0

    async def meet(where: Ready | Ended) -> None:
        nonlocal met
        met += isinstance(where, Ended)
        await asyncio.sleep(0)

    async with Peer(alone(tmp_path, codec), task, data=task.load(None), sinks=(told.note,)) as peer:
        role = PeerRole(rank=0, ranks=ranks, floats=FLOATS, base=str(tmp_path / "base"))
        rank = PeerRank(peer, role, Gate(peer, meet), told)
        return [await rank.measure(checked=number != 1) for number in range(count)], met


def test_peer_averages_its_vector_and_tells_what_it_took(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path
) -> None:
    (first, second, third), met = on_loop(measured(tmp_path, 1, count=3))
    assert met == 3
    assert first.error is not None
    assert first.error < 1e-6
    assert len(first.digest) == 64
    assert (second.error, second.digest) == (None, "")
    assert third.error is not None
    assert third.error < 1e-6
    assert third.digest == first.digest  # back where it was: updates take turns in sign
    assert first.bytes_sent.keys() == {"tensor", "control", "dht", "state"}
    assert all(done.ended >= done.began > 0 for done in (first, second))


def test_who_has_its_result_leaves_its_model_alone_until_all_have_theirs(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path
) -> None:
    async def main() -> None:
        task, told = BenchTask(FLOATS // 2, 1), LastWord()
        seen: list[type[Ready | Ended]] = []
        async with Peer(alone(tmp_path, "float32"), task, data=task.load(None), sinks=(told.note,)) as peer:

            async def meet(where: Ready | Ended) -> None:
                await asyncio.sleep(WAIT_S)
                seen.append(type(where))
                assert told.finished is None, "nothing was adopted yet"

            gate = Gate(peer, meet)
            role = PeerRole(rank=0, ranks=1, floats=FLOATS, base=str(tmp_path / "base"))
            before = time.monotonic()
            done = await PeerRank(peer, role, gate, told).measure(checked=False)
            took_s = time.monotonic() - before
        assert seen == [Ready, Ended]
        assert done.call_s < took_s - 1.5 * WAIT_S, "the waits for the others are not the call's"

    on_loop(main())


def test_judging_leaves_the_loop_to_the_peer(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges: list[threading.Thread] = []

    def judge(*args: Any, **kwargs: Any) -> Judgement:
        judges.append(threading.current_thread())
        return judge_encoded(*args, **kwargs)

    monkeypatch.setattr(peer_rank, "judge_encoded", judge)
    on_loop(measured(tmp_path, 1))
    assert len(judges) == 1
    assert judges[0] is not threading.current_thread()


def test_last_word_is_the_last_of_each_kind() -> None:
    told = LastWord()
    assert (told.finished, told.uplink_bytes_per_s) == (None, 0.0)
    for speed in (9.0, 2.0):
        told.note(UplinkMeasured(bytes_per_s=speed))
    assert (told.finished, told.uplink_bytes_per_s) == (None, 2.0)


def test_mean_is_judged_only_where_nothing_was_left_over(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path
) -> None:
    (first, _, third), _ = on_loop(measured(tmp_path, 1, count=3, codec="int8"))
    assert (first.error is None, third.error) == (False, None)
    assert len(third.digest) == 64


def test_callbacks_of_a_watched_peer_are_told(tmp_path: Path) -> None:
    async def live(watch: CallbackWatch) -> list[Done]:
        task, told = BenchTask(FLOATS // 2, 1), LastWord()

        async def meet(where: Ready | Ended) -> None:
            await asyncio.sleep(0)

        async with Peer(alone(tmp_path, "float32"), task, data=task.load(None), sinks=(told.note,)) as peer:
            role = PeerRole(rank=0, ranks=1, floats=FLOATS, base=str(tmp_path / "base"), is_watched=True)
            rank = PeerRank(peer, role, Gate(peer, meet), told, watch)
            return [await rank.measure(checked=False) for _ in range(2)]

    with CallbackWatch() as watch, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        first, second = runner.run(live(watch))
    assert min(len(first.callbacks), len(second.callbacks)) > 0
    assert any("PeerRank" not in found.name for found in second.callbacks)
    assert any(found.name.endswith("Learner.in_thread") for found in second.callbacks)


def test_aggregation_without_all_peers_is_an_error(
    on_loop: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Path
) -> None:
    with pytest.raises(MarflError, match="only 1 of 2 peers averaged"):
        on_loop(measured(tmp_path, 2))
