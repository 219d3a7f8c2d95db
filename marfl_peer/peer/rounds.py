"""The rounds of one iteration on the wire: carries out what `protocol.iteration` says, one event after the other.

Holds the vectors by name (the own update, each line's result), the transfers that run, and the one timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.strategies.mean import weighted_mean_
from marfl_peer.clock import Clock
from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import GroupFinished, RemoteFault, Sink
from marfl_peer.ids import PeerId
from marfl_peer.peer.fetching import Fetched, Fetching
from marfl_peer.peer.transfer import Transfer, TransferTools
from marfl_peer.protocol.exchange import plan_exchange
from marfl_peer.protocol.instructions import (
    AbortExchange,
    FetchResult,
    FindPlayer,
    FinishLine,
    Instruction,
    OpenExchange,
    ReleaseResult,
    Send,
    Tell,
)
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import (
    Ballot,
    ChunkDigest,
    Fetch,
    LineMessage,
    LineName,
    Message,
    NoResult,
    Part,
    Ready,
    ResultOffer,
    ResultPart,
)
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.walks import VectorName

Attempt = tuple[LineName, Ballot]

MAX_EARLY = 256
"""Ballots that others were ready for before their proposal reached this peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTools:
    """What the rounds of every iteration use."""

    me: PeerId
    transfer: TransferTools
    pool: BufferPool
    exchange: ExchangeKind
    clock: Clock
    tell: Sink


class Rounds:
    """One iteration's aggregation. `close` it when neither this peer nor a late one needs its vectors."""

    def __init__(self, tools: RoundTools, aggregation: Aggregation, *, on_unneeded: Callable[[], None]) -> None:
        self.aggregation = aggregation
        self.vectors: dict[VectorName, Tensor] = {}
        self.moved = False
        self._tools = tools
        self._transfers: dict[Attempt, Transfer] = {}
        self._early_ready: dict[Attempt, set[PeerId]] = {}
        self._seals: dict[LineName, Transfer | Fetched] = {}
        self._unreleased: set[LineName] = set()
        self._progress = asyncio.Event()
        self._on_unneeded = on_unneeded
        self._timer: asyncio.TimerHandle | None = None
        self._events: deque[Callable[[], list[Instruction]]] = deque()
        self._draining = False
        self._closed = False
        self._aborted = False
        self._complete = self._partial = 0
        self._fetching = Fetching(
            links=tools.transfer.links,
            sealer=tools.transfer.sealer,
            pool=tools.pool,
            clock=tools.clock,
            tell=tools.tell,
        )

    # the iteration loop's side

    def arrive(self, vector: Tensor, holding: Holding, *, update_s: float) -> None:
        """The local update is over; `vector` [n] belongs to these rounds from now on."""
        self.vectors[None] = vector
        self._happen(lambda: self.aggregation.arrive(holding, update_s=update_s, now=self._now()))

    async def round(self, round: int) -> None:
        """Returns when this peer's own cell is through with the round."""
        while self.aggregation.home_round() <= round and not self._closed and not self.moved:
            self._progress.clear()
            await self._progress.wait()

    def result(self) -> tuple[Tensor, Holding]:
        """The vector and the holding that this peer's own cell has now."""
        stand = self.aggregation.home_stand()
        return self.vectors[stand.vector], stand.holding

    def move(self) -> None:
        """These rounds lead nowhere: the view changed, or the swarm went on. Whoever waits is let go."""
        self.moved = True
        self._progress.set()

    def has_exchanged_nothing(self) -> bool:
        """Whether no result and no transfer would be lost if the rounds began again."""
        return not self._seals and not self._transfers

    async def unneeded(self) -> None:
        """Returns when nobody needs these rounds any more."""
        while self.is_needed() and not self._closed:
            self._progress.clear()
            await self._progress.wait()

    def is_needed(self) -> bool:
        """Whether somebody may still ask for a result, or a cell that this peer plays is still on its way."""
        return bool(self._unreleased) or not self.aggregation.through()

    def group_counts(self) -> tuple[int, int]:
        """(complete, partial) groups of this peer so far."""
        return self._complete, self._partial

    def rest(self) -> None:
        """Nobody asks for a result any more: keeps only what a cell of a peer that is lost now is played from."""
        wanted = self.aggregation.kept_for_others()
        kept = self.vectors.get(self.aggregation.home_stand().vector)
        for transfer in self._transfers.values():
            transfer.abort()
        self._transfers.clear()
        self._seals.clear()
        for name in [name for name in self.vectors if name not in wanted]:
            vector = self.vectors.pop(name)
            if vector is not kept and not self._aborted:
                self._tools.pool.give(vector)

    def close(self) -> None:
        """Stops and gives the vectors back, but for the one that `result` names."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._fetching.close()
        clean = not self._unreleased and not self._aborted
        for transfer in self._transfers.values():
            transfer.abort()
        self._progress.set()
        kept = self.vectors.get(self.aggregation.home_stand().vector) if self.vectors else None
        for vector in self.vectors.values():
            if clean and vector is not kept:
                self._tools.pool.give(vector)

    # the network's side

    def heard(self, sender: PeerId, message: LineMessage) -> None:
        self._happen(lambda: self.aggregation.heard(sender, message, now=self._now()))

    def gone(self, peer: PeerId) -> None:
        self._fetching.gone(peer)
        self._happen(lambda: self.aggregation.gone(peer, now=self._now()))

    def back(self, peer: PeerId) -> None:
        self._happen(lambda: self.aggregation.back(peer, now=self._now()))

    def ready(self, sender: PeerId, message: Ready) -> None:
        attempt = (message.name, message.ballot)
        transfer = self._transfers.get(attempt)
        if transfer is not None:
            transfer.ready(sender)
        elif len(self._early_ready) < MAX_EARLY:
            self._early_ready.setdefault(attempt, set()).add(sender)

    def part_room(self, sender: PeerId, part: Part, length: int) -> memoryview | None:
        """Where a part's payload belongs; None where no transfer waits for it. Raises: RemoteProtocolError."""
        transfer = self._transfers.get((part.name, part.ballot))
        return None if transfer is None else transfer.room(sender, part, length)

    def part_arrived(self, sender: PeerId, part: Part, length: int) -> None:
        transfer = self._transfers.get((part.name, part.ballot))
        if transfer is not None:
            transfer.part_arrived(sender, part, length)

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        transfer = self._transfers.get((digest.name, digest.ballot))
        if transfer is not None:
            transfer.digest_arrived(sender, digest)

    def result_room(self, sender: PeerId, part: ResultPart, length: int) -> memoryview | None:
        return self._fetching.room(sender, part, length)

    def result_part_arrived(self, sender: PeerId, part: ResultPart, length: int) -> None:
        self._fetching.part_arrived(sender, part, length)

    def asked_for_result(self, sender: PeerId, message: Fetch | ResultOffer | NoResult) -> None:
        match message:
            case Fetch():
                self._serve(sender, message)
            case ResultOffer():
                self._fetching.offered(sender, message)
            case NoResult():
                self._fetching.refused(sender, message.name, message.ballot)

    def _serve(self, sender: PeerId, message: Fetch) -> None:
        name = message.name
        stand = self.aggregation.result_of(name)
        source = self._seals.get(name)
        if stand is None or source is None or self.aggregation.completed(name) != message.ballot:
            links = self._tools.transfer.links
            links.send(sender, NoResult(name=name, ballot=message.ballot))
            return
        if isinstance(source, Transfer):
            members, chunks = source.plan.members, tuple(source.digests[start] for start in sorted(source.digests))
        else:
            assert source.offer is not None
            members, chunks = tuple(PeerId(member) for member in source.offer.members), source.offer.chunks
        offer = ResultOffer(
            name=name,
            ballot=message.ballot,
            weight=stand.holding.weight,
            sums=stand.holding.sums,
            maxima=stand.holding.maxima,
            members=members,
            chunks=chunks,
        )
        self._fetching.serve(sender, offer, source.result if isinstance(source, Transfer) else source.vector)

    # carrying out

    def _now(self) -> float:
        return self._tools.clock.now()

    def _happen(self, event: Callable[[], list[Instruction]]) -> None:
        """Feeds the machine one event after the other, also where carrying out one makes the next happen."""
        self._events.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._events and not self._closed:
                for step in self._events.popleft()():
                    self._carry_out(step)
        finally:
            self._draining = False
        if not self._closed:
            self._progress.set()
            self._set_timer()
            if not self.is_needed():
                self._on_unneeded()

    def _carry_out(self, step: Instruction) -> None:
        match step:
            case Send():
                self._send(step.to, step.message)
            case OpenExchange():
                self._open(step)
            case AbortExchange():
                self._abort((step.name, step.ballot))
            case FetchResult():
                self._fetch(step)
            case FinishLine():
                self._finish(step)
            case ReleaseResult():
                self._unreleased.discard(step.name)
            case Tell():
                self._tools.tell(step.fact)
            case FindPlayer():  # the aggregation keeps these for itself
                pass

    def _send(self, to: PeerId, message: Message) -> None:
        self._tools.transfer.links.send(to, message)

    def _open(self, step: OpenExchange) -> None:
        attempt = (step.name, step.ballot)
        seats = next(member.seats for member in step.members if member.peer_id == self._tools.me)
        length = self._tools.pool.length
        transfer = Transfer(
            tools=self._tools.transfer,
            name=step.name,
            ballot=step.ballot,
            me=self._tools.me,
            plan=plan_exchange(step.members, length=length, kind=self._tools.exchange),
            contribution=self._contribution(step.name, [seat.cell for seat in seats]),
            result=self._tools.pool.take(),
            on_complete=lambda: self._exchanged(attempt),
            on_culprit=lambda culprit: self._blame(attempt, culprit),
        )
        self._transfers[attempt] = transfer
        transfer.start()
        for peer in sorted(self._early_ready.pop(attempt, ())):
            transfer.ready(peer)

    def _contribution(self, name: LineName, cells: list[int]) -> Tensor:
        """What this peer brings to a line: its cell's vector, or the weighted mean of its cells' there."""
        held = self.aggregation.contribution(name, cells)
        weighty = [(vector, weight) for vector, weight in held if weight]
        if len({vector for vector, _ in weighty}) <= 1:
            return self.vectors[weighty[0][0] if weighty else held[0][0]]
        mean = self._tools.pool.take()
        vectors = [self.vectors[vector] for vector, _ in weighty]
        weighted_mean_(mean, vectors, [weight for _, weight in weighty], mean.new_empty(mean.numel()))
        return mean

    def _exchanged(self, attempt: Attempt) -> None:
        name, ballot = attempt
        transfer = self._transfers[attempt]

        def event() -> list[Instruction]:
            if not self.aggregation.awaits(name, ballot):
                return []
            self.vectors[name] = transfer.result
            self._seals[name] = transfer
            return self.aggregation.exchanged(name, ballot, now=self._now())

        self._happen(event)

    def _blame(self, attempt: Attempt, culprit: PeerId) -> None:
        name, ballot = attempt
        if culprit != self._tools.me:
            text = f"values that are not finite in round {name.round} of iteration {name.iteration}"
            error = RemoteProtocolError("not_finite", text)
            self._tools.tell(RemoteFault(code=error.code, remote=culprit, detail=text))
        self._happen(lambda: self.aggregation.blame(name, ballot, culprit, now=self._now()))

    def _abort(self, attempt: Attempt) -> None:
        transfer = self._transfers.pop(attempt, None)
        if transfer is not None:
            # Its memory may still stand in a socket's queue: it is not used again.
            self._aborted = True
            transfer.abort()

    def _fetch(self, step: FetchResult) -> None:
        def ended(fetched: Fetched | None) -> None:
            self._happen(lambda: self._fetched(step.name, step.ballot, fetched))

        self._fetching.fetch(step.name, step.ballot, step.sources, ended)

    def _fetched(self, name: LineName, ballot: Ballot, fetched: Fetched | None) -> list[Instruction]:
        if fetched is None or fetched.offer is None:
            return self.aggregation.fetch_failed(name, now=self._now())
        if not self.aggregation.awaits(name, ballot):
            return []
        offer = fetched.offer
        self.vectors[name] = fetched.vector
        self._seals[name] = fetched
        members = tuple(PeerId(member) for member in offer.members)
        holding = Holding(weight=offer.weight, sums=offer.sums, maxima=offer.maxima)
        return self.aggregation.fetched(name, ballot, members, holding, now=self._now())

    def _finish(self, step: FinishLine) -> None:
        name = step.name
        if step.ballot is not None:
            self._unreleased.add(name)
        if step.outcome == "complete":
            self._complete += 1
        else:
            self._partial += 1
        fact = GroupFinished(
            iteration=name.iteration,
            round=name.round,
            line=name.line,
            outcome=step.outcome,
            attempts=step.attempts,
            members=step.members,
            absent=step.absent,
            seconds=step.seconds,
        )
        self._tools.tell(fact)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.aggregation.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(max(deadline, self._now()), self._ring)

    def _ring(self) -> None:
        self._happen(lambda: self.aggregation.tick(now=self._now()))
