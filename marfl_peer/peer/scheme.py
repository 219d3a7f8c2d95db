"""A scheme of aggregation, as a peer's parts see it: who meets whom, and how bytes flow in a group; and the scheme of
this package, MAR: rounds of small groups along the axes of a grid, or in buckets of a hash.

Other schemes are handed to the peer by whoever makes it. MAR-FL (arXiv 2512.05234) Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.ids import PeerId, RunId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.peer.acquaintances import Acquaintances
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.announcements import Announcements
from marfl_peer.peer.flows import Flow, GroupFlow
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.hashed_placement import HashedPlacement
from marfl_peer.peer.placements import GridPlacement, Placement
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.hashed import Hashing

MAX_SEEDS = 32
"""Members to enter the DHT by, besides those that were known before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a placement is built on. `address()` is what this peer announces; `vector_bytes`: of what is exchanged."""

    settings: Settings
    identity: Identity
    links: Links
    dht: DhtNode
    acquaintances: Acquaintances
    address: Callable[[], tuple[str, int]]
    roster: Roster
    aggregator: Aggregator
    clock: Clock
    vector_bytes: int

    @property
    def me(self) -> PeerId:
        return self.identity.peer_id


class Scheme(Protocol):
    """`name`: the value of the setting `aggregation` that stands for it."""

    @property
    def name(self) -> str: ...

    def group_size(self, settings: Settings) -> int:
        """M: how long an axis of the view's grid may be."""
        ...

    def flow(self, settings: Settings) -> Flow: ...

    def placement(self, site: Site) -> Placement:
        """Raises: ConfigError for settings that it cannot do with."""
        ...


class Mar:
    """Moshpit All-Reduce in groups of `group_size`."""

    name = "mar"

    def group_size(self, settings: Settings) -> int:
        return settings.group_size

    def flow(self, settings: Settings) -> Flow:
        return GroupFlow(settings.exchange, settings.spans)

    def placement(self, site: Site) -> Placement:
        return PLACEMENTS[site.settings.placement](site)


def check_scheme(scheme: Scheme, settings: Settings) -> None:
    """Raises: ConfigError where a peer's scheme is not the one that its run names."""
    if scheme.name != settings.aggregation:
        remedy = (
            f"the peer was given the scheme {scheme.name!r}: hand over "
            f"scheme=SCHEMES[{settings.aggregation!r}] of marfl_peer.lab.baselines.registry"
        )
        raise ConfigError("aggregation", settings.aggregation, remedy)


def grid_placement(site: Site) -> Placement:
    """Lines of the grid that the view fills."""
    groups = Groups(
        me=site.me,
        run_id=RunId(site.settings.run_id),
        identity=site.identity,
        dht=site.dht,
        links=site.links,
        clock=site.clock,
        address=site.address,
    )
    return GridPlacement(site.me, groups=groups, aggregator=site.aggregator)


def hashed_placement(site: Site) -> Placement:
    """Buckets of a hash. Raises: ConfigError."""
    hashing = Hashing.of(site.settings)
    announcements = Announcements(
        hashing,
        identity=site.identity,
        dht=site.dht,
        links=site.links,
        clock=site.clock,
        address=site.address,
        seeds=lambda: [*site.acquaintances.addresses(), *site.roster.addresses()[:MAX_SEEDS]],
    )
    return HashedPlacement(
        hashing,
        me=site.me,
        announcements=announcements,
        links=site.links,
        aggregator=site.aggregator,
        vector_bytes=site.vector_bytes,
    )


PLACEMENTS: Mapping[str, Callable[[Site], Placement]] = MappingProxyType(
    {"grid": grid_placement, "hashed": hashed_placement}
)
"""By the setting's name."""
