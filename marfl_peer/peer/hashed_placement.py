"""Placement by hash: in every round a peer meets those that announced themselves under its bucket's key.

Announcements go out one iteration ahead, before this peer looks for its own groups: so who exchanged with others has
announced itself for the next iteration, too. The rules are `protocol.hashed`'s; no view is needed to find a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from marfl_peer.clock import Clock
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.ids import DhtKey, Iteration, PeerId, Round
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.placements import ASSUMED_LINK_BYTES_PER_S
from marfl_peer.peer.rounds import Rounds
from marfl_peer.protocol.hashed import Hashing, in_samples, in_units, seat_number
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.records import GroupBody, decode_body, encode_body
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View

LIFETIME_S = 120
"""Of an announcement; while it is needed the DHT's upkeep renews it."""
MAX_LOOKS = 4
KEPT_LINKS = 96
"""Groups are drawn anew in every round: without a limit a peer would come to be connected with everybody."""


class HashedPlacement:
    """`vector_bytes`: of what is exchanged. `address()` is where this peer listens."""

    is_exact = False
    follows_views = False

    def __init__(
        self,
        hashing: Hashing,
        *,
        me: PeerId,
        identity: Identity,
        dht: DhtNode,
        links: Links,
        aggregator: Aggregator,
        clock: Clock,
        address: Callable[[], tuple[str, int]],
        vector_bytes: int,
    ) -> None:
        self.lookups = 0
        self._hashing, self._me = hashing, me
        self._identity, self._dht, self._links, self._aggregator = identity, dht, links, aggregator
        self._clock, self._address, self._vector_bytes = clock, address, vector_bytes
        self._announced: dict[Iteration, list[DhtKey]] = {}
        self._met: dict[PeerId, Iteration] = {}
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    def shape(self, view: View) -> tuple[int, ...]:
        return ()

    def begin(self, view: View, *, update_times_s: Collection[float], gone: Collection[PeerId]) -> Rounds:
        """Who is `gone` is found out anew: a peer is dialled when it was announced."""
        aggregation = HashedAggregation(
            me=self._me,
            hashing=self._hashing,
            iteration=view.iteration,
            vector_bytes=self._vector_bytes,
            slowest_link_bytes_per_s=ASSUMED_LINK_BYTES_PER_S,
            update_times_s=update_times_s,
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

    # announcing and finding

    async def _find_groups(self, rounds: Rounds, aggregation: HashedAggregation) -> None:
        iteration = aggregation.iteration
        is_new_here = iteration not in self._announced
        self._forget_before(iteration)
        numbers = [Round(round) for round in range(1, self._hashing.rounds + 1)]
        async with asyncio.TaskGroup() as work:
            for ahead in (iteration, Iteration(iteration + 1)):
                if ahead not in self._announced:
                    self._announced[ahead] = []
                    for round in numbers:
                        work.create_task(self._announce(ahead, round))
        looks = MAX_LOOKS if is_new_here else 1
        async with asyncio.TaskGroup() as work:
            for round in numbers:
                work.create_task(self._find_group(rounds, aggregation, round, looks))

    async def _announce(self, iteration: Iteration, round: Round) -> None:
        host, port = self._address()
        key = self._hashing.key(iteration, round, self._hashing.bucket(self._me, iteration, round))
        self._announced[iteration].append(key)
        body = GroupBody(host=host, port=port, cell=seat_number(self._me), iteration=iteration)
        record = self._identity.sign_record(
            key=key, body=encode_body(body), expires_at=int(self._clock.wall()) + LIFETIME_S
        )
        try:
            await self._dht.publish(record, purpose="group")
        except DhtError:
            return  # whom this peer finds hears of it from itself

    async def _find_group(self, rounds: Rounds, aggregation: HashedAggregation, round: Round, looks: int) -> None:
        """Lets this peer into a round's group with those that it finds there."""
        found: list[PeerId] = []
        for _ in range(looks):
            before, found = found, await self._look_up(aggregation.iteration, round)
            if found and found == before:
                break
        for peer in found:
            self._met[peer] = aggregation.iteration
            self._links.connect(peer)
        rounds.happen(lambda now: aggregation.found(round, found, now=now))

    async def _look_up(self, iteration: Iteration, round: Round) -> list[PeerId]:
        """The others that announced themselves in this peer's bucket, ascending; none where the DHT is down."""
        bucket = self._hashing.bucket(self._me, iteration, round)
        self.lookups += 1
        try:
            records = await self._dht.lookup(self._hashing.key(iteration, round, bucket), purpose="group")
        except DhtError:
            return []
        found: list[PeerId] = []
        for record in records:
            peer = PeerId(record.peer_id)
            if peer == self._me or record.is_tombstone or self._hashing.bucket(peer, iteration, round) != bucket:
                continue
            try:
                body = decode_body(record.body)
            except RemoteProtocolError:
                continue
            if isinstance(body, GroupBody) and body.iteration == iteration:
                self._links.learn(peer, (body.host, body.port))
                found.append(peer)
        return sorted(found)

    # forgetting

    def _forget_before(self, iteration: Iteration) -> None:
        """Announcements of iterations that are over may expire, and connections that were not used for long may go."""
        for past in [past for past in self._announced if past < iteration]:
            for key in self._announced.pop(past):
                self._dht.let_expire(key)
        # Those that were met in the iteration before may not be through with it.
        self._met = {peer: met for peer, met in self._met.items() if met >= iteration - 1}
        connected = self._links.connected()
        idle = [peer for peer in connected if peer not in self._met]
        for peer in idle[: max(len(connected) - KEPT_LINKS, 0)]:
            self._links.forget(peer)
