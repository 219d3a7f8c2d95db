"""Peers that only average: real links on loopback, real rounds, vectors in place of models.

A peer can be killed as a process is: its connections are aborted, its port is closed, and it does nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool, SegmentPool
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.strategies.registry import STRATEGIES
from marfl_peer.clock import Clock
from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.config import Settings, Spans
from marfl_peer.errors import DhtError
from marfl_peer.facts import Fact, GroupFinished, RemoteFault
from marfl_peer.ids import DhtKey, Iteration, PeerId, RunId
from marfl_peer.network.handshake import Doorman, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.network.traffic import Traffic
from marfl_peer.network.uplink import SAMPLES
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.feedback import Feedback
from marfl_peer.peer.flows import Flow, GroupFlow
from marfl_peer.peer.rounds import BaseState, Rounds, RoundTools
from marfl_peer.peer.seals import Sealer
from marfl_peer.peer.statements import Statements
from marfl_peer.peer.switchboard import Switchboard
from marfl_peer.peer.transfer import TransferTools
from marfl_peer.protocol.exchange import SEGMENT_FLOATS
from marfl_peer.protocol.records import Record
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, View

RUN = "run"


def _difference(running: int, iteration: int) -> int:
    return iteration - running


def statements_of(identity: Identity, port: int) -> Statements:
    """What a peer of the run `run` says of itself."""
    return Statements(
        identity=identity,
        settings=Settings(run_id="run"),
        schema_digest="",
        clock=Clock(),
        address=lambda: ("127.0.0.1", port),
    )


class Averager:
    """One peer. `own` [n] is its local update, `weight` its samples."""

    def __init__(
        self,
        length: int,
        *,
        exchange: ExchangeKind,
        layout: Layout | None = None,
        spans: Spans = "measured",
        flow: Flow | None = None,
    ) -> None:
        self.identity = Identity.ephemeral()
        self.me: PeerId = self.identity.peer_id
        self.facts: list[Fact] = []
        self.traffic = Traffic()
        self.is_dead = False
        self.others_views: list[PeerId] = []
        self.behind: list[int] = []
        self.beats: list[int] = []
        self.unheard: list[int] = []
        self.own = torch.empty(0)
        self.weight = 0
        self.rounds: Rounds | None = None
        self.switchboard = Switchboard(status=lambda: b"{}", run_record=lambda: b"")
        self.links = Links(
            me=self.me,
            doorman=Doorman(self.identity, self._introduction(0)),
            listener=self.switchboard,
            traffic=self.traffic,
            tell=self.facts.append,
            clock=Clock(),
            nonce=lambda: os.urandom(16),
        )
        self.tools = RoundTools(
            me=self.me,
            run_id=RunId(RUN),
            transfer=TransferTools(
                links=self.links,
                pool=BufferPool(length),
                segments=SegmentPool(length),
                strategy=STRATEGIES["mean"],
                sealer=Sealer(self.identity, RUN),
                scratch=np.empty(SEGMENT_FLOATS, np.float32),
            ),
            flow=flow or GroupFlow(exchange, spans),
            layout=layout or Layout((Section(0, length, FLOAT32, is_delta=False),)),
            feedback=Feedback(),
            clock=Clock(),
            tell=self.facts.append,
        )
        self.reborn: list[PeerId] = []
        self.aggregator = Aggregator(
            self.tools,
            on_other_view=self.others_views.append,
            on_behind=self.behind.append,
            is_reborn=lambda peer, view: peer in self.reborn,
            steps=_difference,
        )
        self.switchboard.aggregator = self.aggregator
        self.port = 0

    @staticmethod
    def _introduction(port: int) -> Introduction:
        return Introduction(
            role="peer", run_id=RUN, settings_digest="ab", schema_digest="cd", host="127.0.0.1", port=port
        )

    async def open(self) -> None:
        self.port = await self.links.listen("127.0.0.1", 0)
        self.links.doorman.introduction = self._introduction(self.port)

    async def close(self) -> None:
        self.aggregator.close()
        await self.links.close()

    def begin(self, view: View) -> Rounds:
        self.rounds = self.aggregator.begin(view, update_times_s=(), gone=())
        return self.rounds

    def measured(self, bytes_per_s: float) -> None:
        """As if that were what the kernel said of exchanges before."""
        self.links.uplink._samples.extend([bytes_per_s] * SAMPLES)

    def holding(self) -> Holding:
        return Holding(weight=self.weight, sums=(float(self.weight), 1.0), maxima=(self.weight,))

    async def average(self, base: BaseState | None = None) -> tuple[Tensor, Holding]:
        """All rounds of the iteration that was begun."""
        assert self.rounds is not None
        self.rounds.arrive(self.own.clone(), self.holding(), update_s=0.0, base=base)
        for round in range(1, self.rounds.aggregation.rounds + 1):
            await self.rounds.round(round)
        return self.rounds.result()

    def die(self) -> None:
        """As a killed process: nothing is said, everything is closed."""
        self.is_dead = True
        self.links._closing = True
        self.links._door.shut()
        self.links._tasks.cancel()
        self.aggregator.close()
        for link in self.links._links.values():
            for connection in link.connections():
                connection.fail(ConnectionAbortedError())
        for connection in list(self.links._door.strangers):
            connection.fail(ConnectionAbortedError())

    def outcomes(self) -> list[tuple[int, str]]:
        return [(fact.round, fact.outcome) for fact in self.facts if isinstance(fact, GroupFinished)]

    def faults(self) -> list[tuple[str, str]]:
        return [(fact.code, fact.remote) for fact in self.facts if isinstance(fact, RemoteFault)]


@contextlib.asynccontextmanager
async def averagers(
    count: int,
    length: int,
    *,
    exchange: ExchangeKind = "butterfly",
    seed: int = 1,
    connect: bool = True,
    layout: Layout | None = None,
    spans: Spans = "measured",
    flow: Flow | None = None,
) -> AsyncIterator[list[Averager]]:
    """`count` peers, ascending by id, with vectors and unequal weights from a seed, all connected."""
    generator = torch.Generator().manual_seed(seed)
    peers = [Averager(length, exchange=exchange, layout=layout, spans=spans, flow=flow) for _ in range(count)]
    peers.sort(key=lambda peer: peer.me)
    for index, peer in enumerate(peers):
        peer.own = torch.randn(length, generator=generator)
        peer.weight = 50 + 37 * index % 211
        await peer.open()
    for peer in peers:
        for other in peers:
            peer.links.learn(other.me, ("127.0.0.1", other.port))
    if connect:
        for peer in peers:
            for other in peers:
                if peer.me < other.me:
                    peer.links.connect(other.me)
        await until(lambda: all(len(peer.links.connected()) == count - 1 for peer in peers))
    try:
        yield peers
    finally:
        for peer in peers:
            await peer.close()


def view_of(peers: Sequence[Averager], group_size: int, iteration: int = 1) -> View:
    membership = Membership()
    membership.add(MembershipEvent(peer_id=peer.me, incarnation=0, kind="joined", iteration=FOUNDING) for peer in peers)
    return membership.view(Iteration(iteration), group_size)


def weighted_mean(peers: Sequence[Averager]) -> Tensor:
    """In double precision."""
    total = sum(peer.weight for peer in peers)
    return sum((peer.own.double() * (peer.weight / total) for peer in peers), torch.zeros(len(peers[0].own)).double())


def relative_error(result: Tensor, exact: Tensor) -> float:
    return float((result.double() - exact).norm() / exact.norm())


async def average_all(peers: Sequence[Averager], group_size: int, iteration: int = 1) -> list[tuple[Tensor, Holding]]:
    view = view_of(peers, group_size, iteration)
    for peer in peers:
        peer.begin(view)
    return await asyncio.gather(*(peer.average() for peer in peers))


class Shelf:
    """Stands for the DHT: one place that everybody reads."""

    def __init__(self) -> None:
        self.records: dict[bytes, dict[str, Record]] = {}
        self.lookups: list[DhtKey] = []
        self.purposes: list[str] = []
        self.is_down = False
        self.let_go: list[DhtKey] = []
        self.contacts: list[tuple[str, int]] = []
        self.entered_by: list[list[tuple[str, int]]] = []

    def let_expire(self, key: DhtKey) -> None:
        self.let_go.append(key)

    async def bootstrap(self, addresses: Sequence[tuple[str, int]]) -> int:
        self.entered_by.append(list(addresses))
        return len(addresses)

    async def publish(self, record: Record, *, purpose: str) -> int:
        if self.is_down:
            raise DhtError("nobody stored it")
        self.purposes.append(purpose)
        self.records.setdefault(record.key, {})[record.peer_id] = record
        return 1

    async def lookup(self, key: DhtKey, *, purpose: str) -> list[Record]:
        self.lookups.append(key)
        return [] if self.is_down else list(self.records.get(key, {}).values())


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)
