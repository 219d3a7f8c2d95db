"""Calls and answers over UDP: kademlia's protocol with its faults mended.

Hostile datagrams are counted and dropped without a task or an exception; a call is sent twice within its
time-out, which is short; a missed answer is told to the contacts, which decide; bytes are counted at the socket.
This file wraps an untyped package: `KademliaProtocol` and its nodes are `Any`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast, get_args

from kademlia.node import Node
from kademlia.protocol import KademliaProtocol

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import DhtCall
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.responder import Responder
from marfl_peer.network.rejections import Rejections

SENDINGS = 2
MAX_OVER = 256
Address = tuple[str, int]


class RecordProtocol(KademliaProtocol):  # type: ignore[misc]  # kademlia has no types
    """`on_newcomer` is told of every node that becomes a contact; `entropy` makes message ids. One that does not
    `serve` gives no id when it asks, so that nobody remembers it, and answers nobody."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        responder: Responder,
        rejections: Rejections,
        clock: Clock,
        entropy: Callable[[int], bytes],
        call_timeout_s: float,
        serves: bool = True,
    ) -> None:
        super().__init__(contacts.own, None, contacts.table.ksize)
        self.router = contacts.table
        self.bytes_sent = 0
        self.bytes_received = 0
        self.calls: dict[DhtCall, int] = dict.fromkeys(get_args(DhtCall), 0)
        self.closed = asyncio.get_running_loop().create_future()
        self._contacts = contacts
        self._own_id: bytes = contacts.own.id
        self._serves = serves
        self._sender = self._own_id if serves else wire.NOBODY
        self._responder = responder
        self._rejections = rejections
        self._clock = clock
        self._entropy = entropy
        self._call_timeout_s = call_timeout_s
        self.on_newcomer: Callable[[Node], None] | None = None
        self._open_calls: dict[bytes, asyncio.Future[object]] = {}
        self._over: dict[bytes, Node | None] = {}

    def __getattr__(self, name: str) -> object:
        """rpcudp makes a remote call of every unknown attribute; here a call is a method or it is an error."""
        raise AttributeError(name)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        sockname = transport.get_extra_info("sockname")
        self._contacts.ip_version = 6 if sockname and ":" in sockname[0] else 4

    def connection_lost(self, error: Exception | None) -> None:
        for answer in self._open_calls.values():
            answer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def error_received(self, error: Exception) -> None:
        """A datagram of ours could not be delivered: its call will miss its answer, which says enough."""

    def datagram_received(self, data: bytes, address: tuple[str | int, ...]) -> None:
        self.bytes_received += len(data)
        host, port = str(address[0]), int(address[1])
        try:
            incoming = wire.decode(data)
        except RemoteProtocolError as error:
            self._rejections.count(error.code)
            return
        if isinstance(incoming, wire.IncomingAnswer):
            self._accept(incoming)
            return
        if not self._serves:
            return
        self._heard(incoming.call.sender, host, port, answered=False)
        answer = self._responder.answer(incoming.call, host)
        self.calls["served"] += 1
        self._send(wire.encode_answer(incoming.message_id, answer), (host, port))

    # calls to others

    async def ping(self, host: str, port: int) -> Node | None:
        """The node that listens there, which is a contact from now on; None if nobody answers."""
        value = await self._call(None, (host, port), wire.Ping(self._sender))
        pong = self._checked(value, wire.Pong)
        if pong is None or pong.node_id == self._own_id:
            return None
        self._heard(pong.node_id, host, port, answered=True)
        return Node(pong.node_id, host, port)

    async def find_node(self, node: Node, target: bytes) -> list[Node] | None:
        """The nodes closest to the target that `node` knows; None if it does not answer."""
        found = self._checked(await self._call_node(node, wire.FindNode(self._sender, target)), wire.FoundNodes)
        return None if found is None else self.nodes_of(found.nodes)

    async def find_records(self, node: Node, key: bytes, after: str) -> wire.FoundRecords | None:
        """What `node` holds under the key of peers with ids above `after`; None if it does not answer."""
        value = await self._call_node(node, wire.FindRecords(self._sender, key, after))
        return self._checked(value, wire.FoundRecords)

    async def store(self, node: Node, key: bytes, records: list[bytes]) -> int:
        """How many of the records `node` holds now; 0 if it does not answer."""
        stored = self._checked(await self._call_node(node, wire.Store(self._sender, key, records)), wire.Stored)
        return 0 if stored is None else min(max(stored.count, 0), len(records))

    def nodes_of(self, addresses: Sequence[wire.NodeAddress]) -> list[Node]:
        """Nodes at the addresses that somebody named, without those that nobody could ask."""
        return [
            Node(address.node_id, address.host, address.port)
            for address in addresses
            if self._contacts.is_usable(address.host, address.port)
        ]

    async def _call_node(self, node: Node, call: wire.Call) -> object:
        value = await self._call(node, (node.ip, node.port), call)
        if value is None:
            self._contacts.missed(node.id, now=self._clock.now())
        else:
            self._heard(node.id, node.ip, node.port, answered=True)
        return value

    async def _call(self, node: Node | None, address: Address, call: wire.Call) -> object:
        """The unchecked answer, or None after the time-out. The second sending is for a lost datagram: all
        calls may be carried out twice."""
        if self.closed.done():
            return None
        message_id = self._entropy(wire.MESSAGE_ID_BYTES)
        data = wire.encode_call(message_id, call)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._open_calls[message_id] = answer
        try:
            for _ in range(SENDINGS):
                self._send(data, address)
                await asyncio.wait([answer], timeout=self._call_timeout_s / SENDINGS)
                if answer.done() and not answer.cancelled():
                    self.calls["answered"] += 1
                    return answer.result()
                if answer.cancelled():  # closed meanwhile
                    return None
        finally:
            del self._open_calls[message_id]
            answer.cancel()
            self._remember(message_id, node)  # an answer may still come, late or twice: it is no garbage
        self.calls["missed"] += 1
        return None

    def _checked(self, value: object, kind: type[wire.AnswerT]) -> wire.AnswerT | None:
        if value is None:
            return None
        try:
            return wire.decode_answer(value, kind)
        except RemoteProtocolError as error:
            self._rejections.count(error.code)
            return None

    def _accept(self, incoming: wire.IncomingAnswer) -> None:
        answer = self._open_calls.get(incoming.message_id)
        if answer is not None:
            if not answer.done():
                answer.set_result(incoming.value)
        elif incoming.message_id in self._over:
            node = self._over.pop(incoming.message_id)
            if node is not None:
                self._heard(node.id, node.ip, node.port, answered=True)
        else:
            self._rejections.count("dht_unasked")

    def _remember(self, message_id: bytes, node: Node | None) -> None:
        while len(self._over) >= MAX_OVER:
            del self._over[next(iter(self._over))]
        self._over[message_id] = node

    def _heard(self, node_id: bytes, host: str, port: int, *, answered: bool) -> None:
        newcomer = self._contacts.heard(node_id, host, port, answered=answered)
        if newcomer is not None and self.on_newcomer is not None:
            self.on_newcomer(newcomer)

    def _send(self, data: bytes, address: Address) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        try:
            self.transport.sendto(data, address)
        except (OSError, ValueError):  # ValueError: uvloop's, for an address of another family
            return
        self.bytes_sent += len(data)
