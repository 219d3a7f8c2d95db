"""A node's background work: publishing again what would expire, refreshing contacts, serving newcomers.

Runs until cancelled. What a node does when somebody asks it to is in `node`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from kademlia.node import Node

from marfl_peer.clock import Clock
from marfl_peer.ids import DhtKey
from marfl_peer.network.dht import handover, wire
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.published import Published, Statement
from marfl_peer.network.dht.search import DhtOptions, Search
from marfl_peer.network.dht.storage import RecordStorage

SHORTEST_SLEEP_S = 0.01
"""Wall time is too coarse a number to sleep until it to the last bit: that would be to wake again and again."""
REFRESH_FACTOR = 4.0


class Upkeep:
    """`renew`, `repeat` and `refresh` are the node's; `entropy` spreads many nodes' refreshes over time."""

    def __init__(
        self,
        *,
        search: Search,
        storage: RecordStorage,
        contacts: Contacts,
        published: Published,
        clock: Clock,
        options: DhtOptions,
        entropy: Callable[[int], bytes],
        renew: Callable[[Statement], Awaitable[None]],
        repeat: Callable[[Statement], Awaitable[None]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._search = search
        self._storage = storage
        self._contacts = contacts
        self._published = published
        self._clock = clock
        self._options = options
        self._entropy = entropy
        self._renew = renew
        self._repeat = repeat
        self._refresh = refresh
        self._has_news = asyncio.Event()
        self._newcomers: asyncio.Queue[Node] = asyncio.Queue(options.max_newcomers)

    def note_publication(self) -> None:
        """Something was published: it may be due sooner than all the rest."""
        self._has_news.set()

    def note_newcomer(self, node: Node) -> None:
        """A node became a contact."""
        with contextlib.suppress(asyncio.QueueFull):  # it gets its records when their peers publish again
            self._newcomers.put_nowait(node)

    async def keep_fresh(self) -> None:
        wait_s = self._options.first_refresh_s
        refresh_at = self._clock.now() + self._jittered(wait_s)
        while True:
            self._has_news.clear()
            sleep_s = refresh_at - self._clock.now()
            due_at = self._published.next_due_at()
            if due_at is not None:
                sleep_s = min(sleep_s, due_at - self._clock.wall())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(sleep_s, SHORTEST_SLEEP_S)):
                    await self._has_news.wait()
            for statement in self._published.take_renewals(self._clock.wall()):
                await self._renew(statement)
            for statement in self._published.take_repeats(self._clock.wall()):
                await self._repeat(statement)
            if self._clock.now() >= refresh_at:
                wait_s = min(wait_s * REFRESH_FACTOR, self._options.refresh_s)
                refresh_at = self._clock.now() + self._jittered(wait_s)
                self._storage.sweep(self._clock.wall())
                await self._refresh()

    async def hand_over(self) -> None:
        while True:
            newcomer = await self._newcomers.get()
            for key in self._storage.keys:
                near = self._contacts.closest(key, self._options.replicas + 1, now=self._clock.now())
                if handover.is_due(
                    key,
                    own_id=self._contacts.own.id,
                    newcomer_id=newcomer.id,
                    others=[node.id for node in near],
                    replicas=self._options.replicas,
                ):
                    await self._give(newcomer, key)

    async def _give(self, newcomer: Node, key: DhtKey) -> None:
        after, is_over = "", False
        while not is_over:
            page = self._storage.page(key, after, budget_bytes=wire.RECORDS_BUDGET_BYTES, now_wall=self._clock.wall())
            is_over = not page.go_on
            after = page.go_on
            if page.records and not await self._search.store([newcomer], key, page.records):
                return  # it is gone, or full

    def _jittered(self, wait_s: float) -> float:
        """Between 3/4 and 5/4 of it, so that nodes that started together drift apart."""
        return wait_s * (0.75 + self._entropy(1)[0] / 510)
