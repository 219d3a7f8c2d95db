import asyncio
import itertools
import socket

import pytest
from kademlia.node import Node

from marfl_peer.clock import Clock, Deadline
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.binding import bind
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.protocol import RecordProtocol
from marfl_peer.network.dht.responder import Responder
from marfl_peer.network.dht.storage import RecordStorage
from marfl_peer.network.rejections import Rejections

HOST = "127.0.0.1"


class End:
    """One protocol on a socket of its own; a context manager."""

    def __init__(self, number, call_timeout_s=2.0):
        self.id = number.to_bytes(20, "big")
        self.contacts = Contacts(self.id, bucket_size=20)
        self.rejections = Rejections(None)
        self.counter = itertools.count()
        self.call_timeout_s = call_timeout_s
        self.newcomers = []

    def make(self):
        clock = Clock()
        responder = Responder(
            contacts=self.contacts,
            storage=RecordStorage(self.id),
            checker=RecordChecker(self.rejections),
            clock=clock,
        )
        return RecordProtocol(
            contacts=self.contacts,
            responder=responder,
            rejections=self.rejections,
            clock=clock,
            entropy=lambda size: next(self.counter).to_bytes(size, "big"),
            call_timeout_s=self.call_timeout_s,
        )

    async def __aenter__(self):
        deadline = Deadline(asyncio.get_running_loop().time() + 5)
        self.protocol = await bind(self.make, HOST, 0, deadline=deadline)
        self.protocol.on_newcomer = self.newcomers.append
        self.port = self.protocol.transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *error):
        self.protocol.transport.close()
        await self.protocol.closed
        self.rejections.close()

    @property
    def node(self):
        return Node(self.id, HOST, self.port)


def test_ping_makes_contacts_of_both(run):
    async def go():
        async with End(1) as one, End(2) as two:
            found = await one.protocol.ping(HOST, two.port)
            assert (found.id, found.port) == (two.id, two.port)
            assert [node.id for node in one.contacts.all()] == [two.id]
            assert [node.id for node in two.contacts.all()] == [one.id]
            assert [node.id for node in one.newcomers + two.newcomers] == [two.id, one.id]
            assert one.protocol.bytes_sent == two.protocol.bytes_received > 0
            assert one.protocol.calls["answered"] == two.protocol.calls["served"] > 0
            assert one.protocol.calls["missed"] == two.protocol.calls["answered"] == 0
            assert two.protocol.bytes_sent == one.protocol.bytes_received > 0

    run(go())


def test_ping_of_itself_is_no_contact(run):
    async def go():
        async with End(1) as one:
            assert await one.protocol.ping(HOST, one.port) is None
            assert len(one.contacts) == 0

    run(go())


def test_call_of_somebody_silent_is_sent_twice_and_missed_in_time(run):
    async def go():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind((HOST, 0))
            mute.settimeout(5)
            async with End(1, call_timeout_s=0.02) as one:
                silent = Node(bytes(19) + b"\x07", HOST, mute.getsockname()[1])
                one.contacts.heard(silent.id, silent.ip, silent.port, answered=True)
                assert await one.protocol.find_node(silent, bytes(20)) is None
                assert one.protocol.calls["missed"] == 1
                assert mute.recv(9000) == mute.recv(9000)
                now = asyncio.get_running_loop().time()
                other = Node(bytes(19) + b"\x08", HOST, 9)
                one.contacts.heard(other.id, other.ip, other.port, answered=True)
                assert [node.id for node in one.contacts.closest(bytes(20), 8, now=now)] == [other.id]

    run(go())


def test_answer_that_comes_late_is_a_sign_of_life_and_no_garbage(run):
    async def go():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind((HOST, 0))
            async with End(1, call_timeout_s=0.02) as one:
                slow = Node(bytes(19) + b"\x07", HOST, mute.getsockname()[1])
                assert await one.protocol.find_node(slow, bytes(20)) is None
                message_id = mute.recv(9000)[1:21]
                late = wire.encode_answer(message_id, wire.FoundNodes([]))
                one.protocol.datagram_received(late, (HOST, slow.port))
                assert [node.id for node in one.contacts.all()] == [slow.id]
                assert not one.rejections.total
                one.protocol.datagram_received(late, (HOST, slow.port))
                assert one.rejections.total == {"dht_unasked": 1}

    run(go())


def test_lost_datagram_is_made_good_by_the_second(run):
    async def go():
        async with End(1, call_timeout_s=1.0) as one, End(2) as two:
            send, sent = one.protocol._send, []

            def lossy(data, address):
                sent.append(data)
                if len(sent) > 1:
                    send(data, address)

            one.protocol._send = lossy
            assert await one.protocol.ping(HOST, two.port) is not None
            assert len(sent) == 2

    run(go())


@pytest.mark.parametrize("value", [b"\x90", b"\x01", b"\xa1x", b"\x91\x92\x01\x02"])
def test_answer_that_is_nonsense_counts_as_none(run, value):
    async def go():
        async with End(1) as one:
            async with asyncio.TaskGroup() as tasks:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
                    liar.bind((HOST, 0))
                    node = Node(bytes(19) + b"\x07", HOST, liar.getsockname()[1])
                    call = tasks.create_task(one.protocol.find_node(node, bytes(20)))
                    await asyncio.sleep(0)
                    answer = b"\x01" + liar.recv(9000)[1:21] + value
                    liar.sendto(answer, (HOST, one.port))
                    assert await call is None
            assert one.rejections.total == {"dht_answer": 1}

    run(go())


def test_garbage_is_counted_and_the_node_goes_on(run):
    async def go():
        async with End(1) as one, End(2) as two:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hostile:
                for data in (b"", b"x", bytes(30), b"\x00" + bytes(20) + b"\xc1", bytes(20_000)):
                    hostile.sendto(data, (HOST, two.port))
                hostile.sendto(b"\x01" + bytes(20) + b"\xc0", (HOST, two.port))
            assert await one.protocol.ping(HOST, two.port) is not None
            assert two.rejections.total == {"dht_malformed": 4, "dht_oversized": 1, "dht_unasked": 1}

    run(go())


def test_calls_end_at_once_when_the_socket_closes(run):
    async def go():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind((HOST, 0))
            async with End(1, call_timeout_s=1000.0) as one:
                async with asyncio.TaskGroup() as tasks:
                    call = tasks.create_task(one.protocol.ping(HOST, mute.getsockname()[1]))
                    await asyncio.sleep(0)
                    one.protocol.transport.close()
                    assert await call is None
                assert await one.protocol.ping(HOST, mute.getsockname()[1]) is None

    run(go())


def test_nodes_of_leaves_out_whom_nobody_could_ask(run):
    async def go():
        async with End(1) as one:
            hosts = ["127.0.0.1", "host.example", "::1", "239.1.1.1"]
            addresses = [wire.NodeAddress(bytes(20), host, 1) for host in hosts]
            assert [node.ip for node in one.protocol.nodes_of(addresses)] == ["127.0.0.1"]

    run(go())


def test_unknown_attribute_is_an_error_and_no_remote_call(run):
    async def go():
        async with End(1) as one:
            with pytest.raises(AttributeError):
                one.protocol.stun  # noqa: B018

    run(go())
