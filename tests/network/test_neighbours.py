"""Peers on one machine, on both event loops: by a Unix socket where both have it, by TCP where not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from linked_nodes import Node, part, swarm, two

from marfl_peer.network import connection as connection_module
from marfl_peer.network import links as links_module
from marfl_peer.network import neighbours
from marfl_peer.network.connection import Connection
from marfl_peer.network.neighbours import Neighbour, name_of, neighbour_of

pytestmark = pytest.mark.skipif(not neighbours.can_be(), reason="no Unix sockets without a file on this system")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is measured in turns of the loop here."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.02)


def by_tcp() -> Node:
    node = Node()
    node.links._door._knows_neighbours = False
    return node


def family(connection: Connection) -> int:
    return int(connection._socket.family)


@contextlib.contextmanager
def taken(name: str) -> Iterator[socket.socket]:
    """Somebody else listens there, and answers nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(1)
        yield listener


async def talk(one: Node, other: Node) -> tuple[Connection, Connection]:
    """Both say something; returns the connections that they use."""
    one.knows(other)
    one.links.send(other.me, part(1), b"there")
    await other.until(lambda: bool(other.frames))
    other.links.send(one.me, part(2), b"back")
    await one.until(lambda: bool(one.frames))
    assert (other.frames, one.frames) == ([(one.me, part(1), b"there")], [(other.me, part(2), b"back")])
    (mine,), (its,) = one.connections(other.me), other.connections(one.me)
    return mine, its


def test_neighbours_talk_by_a_unix_socket(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            mine, its = await talk(one, other)
            assert family(mine) == family(its) == socket.AF_UNIX
            assert (mine.remote, its.remote) == (f"127.0.0.1:{other.port}", f"process {os.getpid()} of this machine")
            for connection in (mine, its):
                assert connection.is_local
                assert connection.is_near
                assert connection.counters() is None
                granted = connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
                assert granted >= 2 * 200_000  # what any Linux grants; what was asked for where it may be so much

    on_both_loops(main())


def test_bulk_goes_through_with_back_pressure(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the kernel and the queue hold, read in many portions, into memory that its reader named."""
    monkeypatch.setattr(connection_module, "NEIGHBOUR_SEND_BUFFER_BYTES", 64 * 1024)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            payload = os.urandom(3_000_000)
            one.links.send(other.me, part(0))
            await other.until(lambda: len(other.frames) == 1)
            connection = one.links.connection(other.me)
            assert connection is not None
            for number in range(1, 9):
                connection.send(part(number), payload)
                assert await connection.drained()
            await other.until(lambda: len(other.frames) == 9)
            assert other.offsets() == list(range(9))
            assert all(received == payload for _, _, received in other.frames[1:])

    on_both_loops(main())


@pytest.mark.parametrize("who", ["dialler", "listener"])
def test_tcp_connects_where_one_of_them_wants_no_neighbours(on_both_loops, who: str) -> None:
    async def main() -> None:
        one, other = sorted((Node(), by_tcp()), key=lambda node: node.links._door._knows_neighbours)
        if who == "listener":
            one, other = other, one
        async with swarm(one, other):
            mine, its = await talk(one, other)
            assert family(mine) == family(its) == socket.AF_INET
            assert mine.is_local

    on_both_loops(main())


def test_peer_whose_name_is_taken_listens_by_tcp_alone(on_both_loops) -> None:
    async def main() -> None:
        node, other = two()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with taken(name_of(node.me, port)) as thief:
            await node.links.listen("127.0.0.1", port)
            thief.close()
            async with swarm(other):
                node.port = port
                mine, its = await talk(other, node)
                assert family(mine) == family(its) == socket.AF_INET
                await node.links.close()

    on_both_loops(main())


def test_processes_of_other_users_are_dialled_by_tcp(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            monkeypatch.setattr(neighbours.os, "geteuid", lambda: os.getuid() + 1)
            mine, its = await talk(one, other)
            assert family(mine) == family(its) == socket.AF_INET

    on_both_loops(main())


def test_tcp_connects_where_a_neighbour_has_no_room(on_both_loops) -> None:
    """Its queue of those who wait is full: a socket that would block is none."""

    async def main() -> None:
        one = Node()
        with taken(name_of(one.me, 7700)), contextlib.ExitStack() as waiting:
            for _ in range(2):
                dialler = waiting.enter_context(socket.socket(socket.AF_UNIX))
                dialler.connect(name_of(one.me, 7700))
            assert not await neighbours.dial(asyncio.Protocol(), one.me, 7700)

    on_both_loops(main())


def test_peer_with_another_port_is_no_neighbour(on_both_loops) -> None:
    """The same identity elsewhere, as behind a router that maps ports: only who listens there is dialled."""

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            assert not await neighbours.dial(asyncio.Protocol(), other.me, other.port + 1)
            assert not await neighbours.dial(asyncio.Protocol(), Node().me, other.port)

    on_both_loops(main())


def test_who_listens_at_the_name_must_be_the_peer(on_both_loops) -> None:
    """A name proves nothing: one that holds another's is turned away by the handshake."""

    async def main() -> None:
        one, thief = two()
        victim = Node()
        async with swarm(one, thief):
            loop = asyncio.get_running_loop()
            server = await loop.create_unix_server(thief.links._door._accepted, name_of(victim.me, 7700))
            reason = await one.links._door.dial(victim.me, ("127.0.0.1", 7700))
            assert reason == "other_peer"
            assert one.refusals() == [("other_peer", True)]
            assert one.links.connected() == []
            server.close()

    on_both_loops(main())


def test_neighbour_that_dies_is_down_at_once(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            await talk(one, other)
            for connection in other.connections(one.me):
                connection.fail(ConnectionAbortedError())
            await one.until(lambda: ("down", other.me) in one.events)

    on_both_loops(main())


def test_name_is_free_again_when_the_door_is_shut(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            await talk(one, other)
        with taken(name_of(other.me, other.port)):
            pass  # bound without an error

    on_both_loops(main())


def test_kernel_says_which_process_it_is() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert neighbour_of(one) == Neighbour(pid=os.getpid(), uid=os.getuid())
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + sys.argv[1]); s.listen();"
        "print(flush=True); sys.stdin.read()"
    )
    name = f"marfl-peer-test/{os.getpid()}"
    with subprocess.Popen((sys.executable, "-c", code, name), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with socket.socket(socket.AF_UNIX) as dialler:
            dialler.connect("\0" + name)
            assert neighbour_of(dialler) == Neighbour(pid=program.pid, uid=os.getuid())
        assert program.stdin is not None
        program.stdin.close()


def test_no_tcp_socket_has_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert neighbour_of(None) is None
    with socket.socket() as tcp:
        assert neighbour_of(tcp) is None
    monkeypatch.setattr(neighbours.sys, "platform", "darwin")
    with socket.socket(socket.AF_UNIX) as unix:
        assert neighbour_of(unix) is None


@pytest.mark.parametrize("reason", ["system", "loop"])
def test_nobody_listens_where_there_are_no_such_sockets(
    on_loop: Callable, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    async def main() -> None:
        if reason == "system":
            monkeypatch.setattr(neighbours.sys, "platform", "darwin")
        else:
            loop = asyncio.AbstractEventLoop()  # simulated worlds' loops have none either
            monkeypatch.setattr(neighbours.asyncio, "get_running_loop", lambda: loop)
        assert await neighbours.listen(asyncio.Protocol, Node().me, 7700, backlog=1) is None

    on_loop(main())
