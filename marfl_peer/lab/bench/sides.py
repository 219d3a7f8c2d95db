"""The sides of a comparison: peers of this package, ranks of gloo, averagers of hivemind, each as many processes.

Knows how each of them is started and told its role; what they do is theirs.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from marfl_peer.config import SameMachine, Settings
from marfl_peer.ids import Round
from marfl_peer.lab.bench.conductor import Conductor, Member
from marfl_peer.lab.bench.vectors import shared_base
from marfl_peer.lab.bench.words import Done, GlooRole, HivemindRole, PeerRole
from marfl_peer.lab.links import INTERFACE, Land
from marfl_peer.lab.plan import BOOTSTRAP_PEERS, HOST, peer_settings, run_settings
from marfl_peer.lab.ports import free_ports
from marfl_peer.network import neighbours
from marfl_peer.protocol.grid import Grid

RUN_ID = "bench"
ENDLESS = 1_000_000
"""Iterations: more than anybody measures, so that no peer is ever through."""
FLOAT_BYTES = 4


@dataclass(slots=True, kw_only=True)
class Side:
    """`members` average together; `what` tells them how, where there is a choice. `measured` fills as they do."""

    name: str
    members: Sequence[Member]
    what: str = ""
    measured: list[list[Done]] = field(default_factory=list)


def bench_settings(settings: Settings, peers: int) -> Settings:
    """Those of a run without training, tests and saved states; group size, scheme, exchange, spans, codec and
    how peers of one machine talk are kept."""
    bare = Settings(
        run_id=RUN_ID,
        group_size=settings.group_size,
        exchange=settings.exchange,
        spans=settings.spans,
        codec=settings.codec,
        same_machine=settings.same_machine,
        aggregation=settings.aggregation,
        rounds=settings.rounds,
        iterations=ENDLESS,
        evaluate_every=ENDLESS,
        save_every=ENDLESS,
        wait_timeout_s=240.0,
        shards=peers,
        log_level="warning",
    )
    return run_settings(bare, peers)


def way_of(run: Settings, land: Land | None = None) -> SameMachine:
    """How peers of this run are connected here: unix, or tcp. In namespaces of their own they are no neighbours."""
    return run.same_machine if land is None and neighbours.can_be() else "tcp"


async def peers_side(
    conductor: Conductor,
    run: Settings,
    peers: int,
    vector_bytes: int,
    land: Land | None = None,
    *,
    is_watched: bool = False,
) -> Side:
    """Whole peers, in one view; each in its namespace of `land`, if there is one. Raises: MarflError."""
    ports = free_ports(peers, host=HOST, rng=random.Random())
    plans = [peer_settings(run, index, ports=ports, folder=conductor.folder) for index in range(peers)]
    if land is not None:
        plans = [moved(plan, land.addresses, ports, index) for index, plan in enumerate(plans)]
    members = conductor.start("watched" if is_watched else "peer", plans)
    floats, homes = vector_bytes // FLOAT_BYTES, namespaces(land, peers)
    base = conductor.folder / f"base-{floats}"
    shared_base(base, floats)
    roles = [
        PeerRole(rank=rank, ranks=peers, floats=floats, base=str(base), namespace=homes[rank], is_watched=is_watched)
        for rank in range(peers)
    ]
    await conductor.enter(members, roles)
    return Side(name="peers", members=members)


def moved(plan: Settings, addresses: Sequence[str], ports: Sequence[int], index: int) -> Settings:
    """The plan of a peer that has an address of its own, as all others have."""
    others = [f"{address}:{port}" for address, port in zip(addresses, ports, strict=True)][:BOOTSTRAP_PEERS]
    own = f"{addresses[index]}:{ports[index]}"
    bootstrap = tuple(address for address in others if address != own)
    return dataclasses.replace(plan, host=addresses[index], bootstrap=bootstrap)


def namespaces(land: Land | None, members: int) -> Sequence[str]:
    return [""] * members if land is None else land.namespaces


async def gloo_ranks(
    conductor: Conductor, run: Settings, ranks: int, vector_bytes: int, land: Land | None = None
) -> list[Member]:
    """Processes that can do both, all-reduce in the groups of the peers' grid and in one of all. Raises: MarflError."""
    grid = Grid.for_peers(ranks, run.group_size)
    members = conductor.start("gloo", [run] * ranks)
    lines, homes = lines_of(grid, ranks), namespaces(land, ranks)
    roles = [
        GlooRole(
            rank=rank,
            ranks=ranks,
            floats=vector_bytes // FLOAT_BYTES,
            store=str(conductor.folder / "gloo-store"),
            lines=lines,
            is_exact=grid.cells == ranks,
            namespace=homes[rank],
            interface="" if land is None else INTERFACE,
        )
        for rank in range(ranks)
    ]
    await conductor.enter(members, roles)
    return members


def lines_of(grid: Grid, ranks: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """For every round the ranks of each group of two or more; empty cells, which peers play besides, are left out."""
    rounds = []
    for round in range(1, grid.rounds + 1):
        lines = (tuple(int(cell) for cell in line if cell < ranks) for line in grid.lines(Round(round)))
        rounds.append(tuple(line for line in lines if len(line) > 1))
    return tuple(rounds)


async def hivemind_side(conductor: Conductor, run: Settings, ranks: int, vector_bytes: int) -> Side:
    """hivemind's averagers: the first is entered alone, the others start from it. Raises: MarflError."""
    role = HivemindRole(
        rank=0,
        ranks=ranks,
        floats=vector_bytes // FLOAT_BYTES,
        group_size=run.group_size,
        rounds=Grid.for_peers(ranks, run.group_size).rounds,
        contacts=(),
    )
    members = conductor.start("hivemind", [run] * ranks)
    (first,) = await conductor.enter(members[:1], [role])
    others = [msgspec.structs.replace(role, rank=rank, contacts=first.contacts) for rank in range(1, ranks)]
    await conductor.enter(members[1:], others)
    return Side(name="hivemind", members=members)
