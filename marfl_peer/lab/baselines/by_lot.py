"""Schemes whose groups are drawn by lot from the view: random groups, and pairwise gossip.

A group is a bucket whose members the view names, so that nobody is looked up; all else is as where placement is by
hash: members leave with the group's mean and an equal part of its weight, and who is lost takes its weight along.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from marfl_peer.config import Settings
from marfl_peer.ids import PeerId, Round
from marfl_peer.lab.baselines.drawing import Drawing
from marfl_peer.lab.baselines.traffic import PAIR
from marfl_peer.network.links import Links
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.flows import Flow, GroupFlow
from marfl_peer.peer.placements import Placement
from marfl_peer.peer.rounds import Rounds
from marfl_peer.peer.scheme import Site
from marfl_peer.protocol.hashed import in_samples, in_units
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View


class LotPlacement:
    """`draw(view)`: the groups of an iteration. `vector_bytes`: of what is exchanged."""

    is_exact = False
    follows_views = True
    lookups = 0

    def __init__(
        self, me: PeerId, *, draw: Callable[[View], Drawing], links: Links, aggregator: Aggregator, vector_bytes: int
    ) -> None:
        self._me, self._draw, self._links = me, draw, links
        self._aggregator, self._vector_bytes = aggregator, vector_bytes
        self._drawing: Drawing | None = None

    def shape(self, view: View) -> tuple[int, ...]:
        return ()

    def begin(self, view: View, *, update_times_s: Collection[float], gone: Collection[PeerId]) -> Rounds:
        self._drawing = drawing = self._draw(view)
        aggregation = HashedAggregation(
            me=self._me,
            hashing=drawing,
            view=view,
            iteration=view.iteration,
            vector_bytes=self._vector_bytes,
            slowest_link_bytes_per_s=self._aggregator.measure(view.iteration),
            update_times_s=update_times_s,
            speeds=self._aggregator.speeds,
        )
        rounds = self._aggregator.begin_with(aggregation)
        for peer in sorted(self._aggregator.gone_in(view, gone)):
            rounds.gone(peer)
        for number in range(1, drawing.rounds + 1):
            self._let_in(rounds, aggregation, Round(number))
        return rounds

    def meet(self, view: View, round: Round) -> None:
        """Dials the members of the round's group that are not connected."""
        assert self._drawing is not None
        for mate in self._drawing.mates(self._me, round):
            if mate != self._me:
                self._links.connect(mate)

    def brought(self, holding: Holding) -> Holding:
        return in_units(holding)

    def told(self, holding: Holding) -> Holding:
        return in_samples(holding)

    async def close(self) -> None:
        """Nothing runs beside the rounds."""

    def _let_in(self, rounds: Rounds, aggregation: HashedAggregation, round: Round) -> None:
        assert self._drawing is not None
        mates = self._drawing.mates(self._me, round)
        rounds.happen(lambda now: aggregation.found(round, mates, now=now))


@dataclass(frozen=True, slots=True)
class ByLot:
    """`is_in_pairs`: groups are of two, whatever `group_size` says, and there is one round unless `rounds` says so."""

    name: str
    is_in_pairs: bool = False

    def group_size(self, settings: Settings) -> int:
        return settings.group_size

    def flow(self, settings: Settings) -> Flow:
        return GroupFlow(settings.exchange, settings.spans)

    def draw(self, settings: Settings, view: View) -> Drawing:
        """The groups of a view: as many rounds as its grid would have."""
        usual = 1 if self.is_in_pairs else max(view.grid.rounds, 1)
        size = PAIR if self.is_in_pairs else settings.group_size
        return Drawing(view, seed=settings.seed, size=size, rounds=settings.rounds or usual)

    def placement(self, site: Site) -> Placement:
        return LotPlacement(
            site.me,
            draw=lambda view: self.draw(site.settings, view),
            links=site.links,
            aggregator=site.aggregator,
            vector_bytes=site.vector_bytes,
        )
