"""One question to a peer, one answer, or why there is none."""

from __future__ import annotations

import asyncio
import socket

import pytest
from averaging_peers import Averager, averagers, until

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import RunId
from marfl_peer.peer.inquiry import NoAnswer, ask_run, ask_status
from marfl_peer.peer.roster import Roster

HOST = "127.0.0.1"


def be_built(peer: Averager) -> None:
    """Gives it a roster: before, a peer has nothing to tell."""
    peer.switchboard.roster = Roster(
        me=peer.me,
        run_id=RunId("run"),
        group_size=4,
        links=peer.links,
        clock=Clock(),
        tell=peer.facts.append,
        on_news=lambda events: None,
    )


def test_status_and_run_record_are_answered(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            be_built(peer)
            peer.switchboard._status = lambda: b'{"iteration": 4}'
            peer.switchboard._run_record = lambda: b"record"
            assert await ask_status(HOST, peer.port) == {"iteration": 4}
            assert await ask_run(HOST, peer.port) == b"record"
            await until(lambda: not peer.links._guests)

    on_both_loops(main())


@pytest.mark.parametrize("answer", [b"not json", b"[1]", b"\xff"])
def test_status_that_is_none_is_the_other_sides_fault(on_loop, answer: bytes) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            be_built(peer)
            peer.switchboard._status = lambda: answer
            with pytest.raises(RemoteProtocolError) as caught:
                await ask_status(HOST, peer.port)
            assert caught.value.code == "bad_message"
            await until(lambda: not peer.links._guests)

    on_loop(main())


def test_nobody_there_says_where_and_what_to_check(on_both_loops) -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(NoAnswer, match=f"{HOST}:{port} does not answer") as caught:
            await ask_status(HOST, port)
        assert caught.value.reason == "Connection refused"

    on_both_loops(main())


def test_somebody_who_says_nothing_is_given_up(on_both_loops) -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as silent, pytest.raises(NoAnswer, match="in time") as caught:
            await ask_status(HOST, silent.getsockname()[1], timeout_s=0.05)
        assert caught.value.reason == "no answer in time"

    on_both_loops(main())


def test_somebody_who_is_no_peer_is_the_other_sides_fault(on_both_loops) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        with pytest.raises(RemoteProtocolError) as caught:
            await ask_status(HOST, server.sockets[0].getsockname()[1])
        assert caught.value.code == "bad_frame"
        server.close()
        await server.wait_closed()

    on_both_loops(main())
