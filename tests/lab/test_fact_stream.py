import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from marfl_peer.clock import Deadline
from marfl_peer.facts import AnyFact, IterationStarted
from marfl_peer.lab.fact_stream import FactSender, FactServer

Heard = list[tuple[int, AnyFact]]


async def until(is_so: Callable[[], bool]) -> None:
    """Lets the loop work until it is so."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # nothing tells: the loop's own work is what is waited for
            await asyncio.sleep(0)


def soon() -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + 10)


def test_facts_of_many_senders_arrive_whole_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> Heard:
        heard: Heard = []
        async with FactServer(tmp_path / "s", lambda index, fact: heard.append((index, fact))) as server:
            async with FactSender(str(tmp_path / "s"), 0) as first, FactSender(str(tmp_path / "s"), 7) as second:
                for iteration in range(1, 200):
                    first(IterationStarted(iteration=iteration))
                    second(IterationStarted(iteration=-iteration))
            await until(lambda: len(heard) == 398)
            assert await server.drained(soon())
            assert server.damaged == 0
        return heard

    heard = asyncio.run(scenario())
    for index, sign in ((0, 1), (7, -1)):
        own = [fact for teller, fact in heard if teller == index]
        assert own == [IterationStarted(iteration=sign * iteration) for iteration in range(1, 200)]


def test_leaving_the_sender_writes_out_what_is_left(tmp_path: Path) -> None:
    async def scenario() -> int:
        heard: Heard = []
        async with FactServer(tmp_path / "s", lambda index, fact: heard.append((index, fact))) as server:
            async with FactSender(str(tmp_path / "s"), 0) as sender:
                for iteration in range(20_000):  # far more than a socket buffer holds
                    sender(IterationStarted(iteration=iteration))
            assert sender.dropped == 0
            await server.drained(soon())
        return len(heard)

    assert asyncio.run(scenario()) == 20_000


def test_sender_without_room_drops_instead_of_waiting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> int:
        async with FactServer(tmp_path / "s", lambda index, fact: None):
            async with FactSender(str(tmp_path / "s"), 0, max_unsent_bytes=1000) as sender:
                for iteration in range(20_000):  # without an await: the loop has no chance to send
                    sender(IterationStarted(iteration=iteration))
            return sender.dropped

    assert 0 < asyncio.run(scenario()) < 20_000
    assert "could not be streamed" in caplog.text


def test_sender_survives_the_end_of_its_launcher(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with FactServer(tmp_path / "s", lambda index, fact: None) as server:
            sender = await FactSender(str(tmp_path / "s"), 0).__aenter__()
            await until(lambda: server.connected == 1)
        sent = 0
        while not sender.dropped:
            sender(IterationStarted(iteration=1))
            sent += 1
            await asyncio.sleep(0)
        await sender.__aexit__(None, None, None)
        return sent

    assert asyncio.run(scenario()) > 0


def test_sender_after_its_end_only_counts(tmp_path: Path) -> None:
    sender = FactSender(str(tmp_path / "nowhere"), 0)
    sender(IterationStarted(iteration=1))
    assert sender.dropped == 1


@pytest.mark.parametrize(
    "sent", [b"nonsense\n", b'{"index":1}\nnonsense\n', b'{"index":1}\n{"fact":"Iter', b"x" * (2 << 20)]
)
def test_stream_that_is_damaged_is_given_up_and_counted(tmp_path: Path, sent: bytes) -> None:
    async def scenario() -> tuple[int, Heard]:
        heard: Heard = []
        async with FactServer(tmp_path / "s", lambda index, fact: heard.append((index, fact))) as server:
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(sent)
            writer.close()
            await until(lambda: server.damaged == 1)
            return server.damaged, heard

    assert asyncio.run(scenario()) == (1, [])


def test_drained_gives_up_at_its_deadline(tmp_path: Path) -> None:
    async def scenario() -> bool:
        async with (
            FactServer(tmp_path / "s", lambda index, fact: None) as server,
            FactSender(str(tmp_path / "s"), 0),
        ):
            await until(lambda: server.connected == 1)
            return await server.drained(Deadline(asyncio.get_running_loop().time()))

    assert asyncio.run(scenario()) is False
