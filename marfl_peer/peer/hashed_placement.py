"""Placement by hash: in every round a peer meets those that announced themselves under its bucket's key.

Announcements go out one iteration ahead, before this peer looks for its own groups: so who exchanged with others has
announced itself for the next iteration, too. The rules are `protocol.hashed`'s; no view is needed to find a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.announcements import Announcements
from marfl_peer.peer.rounds import Rounds
from marfl_peer.protocol.hashed import Hashing, in_samples, in_units
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View

MAX_LOOKS = 4
"""When this peer is new others may announce themselves at this moment: it looks until it finds the same twice."""
LONELY_PAUSES_S = (0.25, 0.5, 1.0, 2.0)
"""Who finds nobody in any round, but knows others, looks again: alone it would run away from them."""
KEPT_LINKS = 96
"""Groups are drawn anew in every round: without a limit a peer would come to be connected with everybody."""


class HashedPlacement:
    """`vector_bytes`: of what is exchanged."""

    is_exact = False
    follows_views = False

    def __init__(
        self,
        hashing: Hashing,
        *,
        me: PeerId,
        announcements: Announcements,
        links: Links,
        aggregator: Aggregator,
        vector_bytes: int,
    ) -> None:
        self._hashing, self._me, self._announcements = hashing, me, announcements
        self._links, self._aggregator, self._vector_bytes = links, aggregator, vector_bytes
        self._met: dict[PeerId, Iteration] = {}
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    @property
    def lookups(self) -> int:
        return self._announcements.lookups

    def shape(self, view: View) -> tuple[int, ...]:
        return ()

    def begin(self, view: View, *, update_times_s: Collection[float], gone: Collection[PeerId]) -> Rounds:
        """Who is `gone` is found out anew: whoever is announced is dialled."""
        aggregation = HashedAggregation(
            me=self._me,
            hashing=self._hashing,
            iteration=view.iteration,
            vector_bytes=self._vector_bytes,
            slowest_link_bytes_per_s=self._aggregator.measure(view.iteration),
            update_times_s=update_times_s,
            speeds=self._aggregator.speeds,
        )
        rounds = self._aggregator.begin_with(aggregation)
        self._tasks.start(self._find_groups(rounds, aggregation))
        return rounds

    def meet(self, view: View, round: Round) -> None:
        """Nothing: the look-up that `begin` started lets this peer into its group."""

    def brought(self, holding: Holding) -> Holding:
        return in_units(holding)

    def told(self, holding: Holding) -> Holding:
        return in_samples(holding)

    # finding groups

    async def _find_groups(self, rounds: Rounds, aggregation: HashedAggregation) -> None:
        """Announces this peer for the next iteration, then lets it into its groups of this one."""
        iteration, announcements = aggregation.iteration, self._announcements
        looks = 1 if announcements.is_announced(iteration) else MAX_LOOKS
        announcements.forget_before(iteration)
        self._close_idle_links(iteration)
        async with asyncio.TaskGroup() as work:
            work.create_task(announcements.announce(iteration))
            work.create_task(announcements.announce(Iteration(iteration + 1)))
        empty = await self._look(rounds, aggregation, looks)
        for pause_s in LONELY_PAUSES_S:
            if len(empty) < self._hashing.rounds or not self._links.connected():
                break
            await asyncio.sleep(pause_s)
            await announcements.enter_dht()
            empty = await self._look(rounds, aggregation, 1)
        for round in empty:
            self._let_in(rounds, aggregation, round, [])

    async def _look(self, rounds: Rounds, aggregation: HashedAggregation, looks: int) -> list[Round]:
        """Looks for the groups of all rounds; lets this peer into those that it finds, and returns the others."""
        numbers = [Round(round) for round in range(1, self._hashing.rounds + 1)]
        found = await asyncio.gather(*(self._find_group(rounds, aggregation, round, looks) for round in numbers))
        return [round for round, is_found in zip(numbers, found, strict=True) if not is_found]

    async def _find_group(self, rounds: Rounds, aggregation: HashedAggregation, round: Round, looks: int) -> bool:
        found: list[PeerId] = []
        for _ in range(looks):
            before, found = found, await self._announcements.look_up(aggregation.iteration, round)
            if found and found == before:
                break
        if found:
            self._let_in(rounds, aggregation, round, found)
        return bool(found)

    def _let_in(self, rounds: Rounds, aggregation: HashedAggregation, round: Round, found: list[PeerId]) -> None:
        for peer in found:
            self._met[peer] = aggregation.iteration
            self._links.connect(peer)
        rounds.happen(lambda now: aggregation.found(round, found, now=now))

    def _close_idle_links(self, iteration: Iteration) -> None:
        """Where there are too many; those that were met in the iteration before may not be through with it."""
        self._met = {peer: met for peer, met in self._met.items() if met >= iteration - 1}
        connected = self._links.connected()
        idle = [peer for peer in connected if peer not in self._met]
        for peer in idle[: max(len(connected) - KEPT_LINKS, 0)]:
            self._links.forget(peer)
