"""The search through the DHT: asks ever closer nodes about a target until the closest have all been asked.

Unlike kademlia's crawlers it hears everybody out instead of stopping at the first value or voting among values,
does not wait for the slowest of a batch, and ends at a deadline with what it has. What is asked is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kademlia.node import Node, NodeHeap

from marfl_peer.clock import Deadline

VISITS_PER_WIDTH = 4
"""Of a search for the w closest nodes: at most 4 w are asked, whoever claims to know closer ones."""

Ask = Callable[[Node], Awaitable[Sequence[Node] | None]]
"""Asks one node; returns the nodes that it named, or None if it did not answer. It must not raise."""


class Crawl:
    """One search for the `width` nodes closest to `target`, with at most `parallel` questions open at a time."""

    def __init__(self, target: bytes, start: Sequence[Node], *, own_id: bytes, width: int, parallel: int) -> None:
        self._heap = NodeHeap(Node(target), width)
        self._heap.push(list(start))
        self._own_id = own_id
        self._width = width
        self._parallel = parallel
        self._visits = 0
        self._answered: set[bytes] = set()

    async def run(self, ask: Ask, *, deadline: Deadline) -> list[Node]:
        """The closest nodes among those that answered in time, closest first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._visit_all(ask)
        except TimeoutError:
            pass  # what has been found by now is the result
        return [node for node in self._heap if node.id in self._answered]

    async def _visit_all(self, ask: Ask) -> None:
        async with asyncio.TaskGroup() as visits:
            open_visits: set[asyncio.Task[None]] = set()
            while True:
                for node in self._next_nodes(self._parallel - len(open_visits)):
                    open_visits.add(visits.create_task(self._visit(node, ask)))
                if not open_visits:
                    return
                _, open_visits = await asyncio.wait(open_visits, return_when=asyncio.FIRST_COMPLETED)

    def _next_nodes(self, count: int) -> list[Node]:
        count = min(count, VISITS_PER_WIDTH * self._width - self._visits)
        chosen: list[Node] = self._heap.get_uncontacted()[: max(count, 0)]
        for node in chosen:
            self._heap.mark_contacted(node)
        self._visits += len(chosen)
        return chosen

    async def _visit(self, node: Node, ask: Ask) -> None:
        named = await ask(node)
        if named is None:
            self._heap.remove([node.id])
            return
        self._answered.add(node.id)
        # a node that was asked and removed is in `contacted`: naming it again does not bring it back
        self._heap.push([other for other in named if self._is_new(other)])

    def _is_new(self, node: Node) -> bool:
        return node.id != self._own_id and node.id not in self._heap.contacted
