"""What a node asks of others: greeting, searching the nodes or the records of a key, storing. All under deadlines.

Nobody's silence or nonsense raises here: it leaves less to return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from kademlia.node import Node

from marfl_peer.clock import Clock, Deadline
from marfl_peer.ids import DhtKey
from marfl_peer.network.dht.binding import resolve
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.crawler import Ask, Crawl
from marfl_peer.network.dht.protocol import RecordProtocol
from marfl_peer.protocol.records import Record

MAX_PAGES = 16
"""Of one node under one key: 256 records of the usual size fill about ten datagrams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DhtOptions:
    """`replicas`: nodes that hold a key, and that a search ends at; `parallel`: questions open at a time in one
    search; `call_timeout_s` is for one call with its repetition, `search_timeout_s` for a whole search. A node
    refreshes its contacts after `first_refresh_s`, then ever more rarely until it is every `refresh_s`."""

    replicas: int = 8
    parallel: int = 4
    bucket_size: int = 20
    call_timeout_s: float = 1.0
    search_timeout_s: float = 5.0
    first_refresh_s: float = 1.0
    refresh_s: float = 300.0
    close_timeout_s: float = 2.0
    max_newcomers: int = 256


class Search:
    def __init__(
        self,
        *,
        protocol: RecordProtocol,
        contacts: Contacts,
        checker: RecordChecker,
        clock: Clock,
        options: DhtOptions,
    ) -> None:
        self._protocol = protocol
        self._contacts = contacts
        self._checker = checker
        self._clock = clock
        self._options = options

    async def greet(self, host: str, port: int) -> None:
        """Makes a contact of whoever listens there, if anybody answers."""
        deadline = self._deadline()
        address = await resolve(host, port, ip_version=self._contacts.ip_version, deadline=deadline)
        if address is not None and self._contacts.is_usable(address, port):
            await self._protocol.ping(address, port)

    async def nodes(self, target: bytes) -> list[Node]:
        """The nodes closest to the target that answered, closest first."""

        async def ask(node: Node) -> Sequence[Node] | None:
            return await self._protocol.find_node(node, target)

        return await self._crawl(target, ask)

    async def explore(self, target: bytes, guides: Sequence[Node]) -> list[Node]:
        """A wider search that asks some `guides` first, wherever they are.

        Nodes that started at the same time may know each other in circles that no search for the closest leaves:
        each names only nodes of its own circle. Somebody from elsewhere knows the way out.
        """

        async def ask(node: Node) -> Sequence[Node] | None:
            return await self._protocol.find_node(node, target)

        async with asyncio.TaskGroup() as asks:
            tasks = [asks.create_task(self._protocol.find_node(guide, target)) for guide in guides]
        named = [node for task in tasks for node in task.result() or []]
        return await self._crawl(target, ask, width=self._options.bucket_size, more=named)

    async def records(self, key: DhtKey) -> list[Record]:
        """All that the nodes closest to the key hold under it and that may be believed, unmerged."""
        found: list[Record] = []

        async def ask(node: Node) -> Sequence[Node] | None:
            return await self._read(node, key, found)

        await self._crawl(key, ask)
        return found

    async def store(self, nodes: Sequence[Node], key: DhtKey, records: list[bytes]) -> list[Node]:
        """Hands encoded records of one key to nodes; returns the nodes that hold all of them now."""
        async with asyncio.TaskGroup() as stores:
            tasks = [stores.create_task(self._protocol.store(node, key, records)) for node in nodes]
        return [node for node, task in zip(nodes, tasks, strict=True) if task.result() == len(records)]

    async def _crawl(
        self, target: bytes, ask: Ask, *, width: int | None = None, more: Sequence[Node] = ()
    ) -> list[Node]:
        width = width or self._options.replicas
        start = self._contacts.closest(target, width, now=self._clock.now())
        crawl = Crawl(
            target,
            [*start, *(node for node in more if node.id != self._contacts.own.id)],
            own_id=self._contacts.own.id,
            width=width,
            parallel=self._options.parallel,
        )
        return await crawl.run(ask, deadline=self._deadline())

    async def _read(self, node: Node, key: DhtKey, found: list[Record]) -> Sequence[Node] | None:
        """Reads page after page of one node; what a page brought stays found when a later one is lost."""
        named: Sequence[Node] | None = None
        after = ""
        for _ in range(MAX_PAGES):
            page = await self._protocol.find_records(node, key, after)
            if page is None:
                break
            now_wall = self._clock.wall()
            checked = [self._checker.accept(data, key=key, now_wall=now_wall) for data in page.records]
            found.extend(record for record in checked if record is not None)
            if named is None:
                named = self._protocol.nodes_of(page.nodes)
            if page.go_on <= after:
                break
            after = page.go_on
        return named

    def _deadline(self) -> Deadline:
        return Deadline(self._clock.now() + self._options.search_timeout_s)
