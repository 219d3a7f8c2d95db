"""The rounds of one iteration on the wire: carries out what `protocol.iteration` says, one event after the other.

Knows which part of the room an instruction or a message concerns; not what the machine decides by, nor where bytes go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.clock import Clock
from marfl_peer.facts import GroupFinished, RemoteFault, Sink
from marfl_peer.ids import Iteration, PeerId, RunId
from marfl_peer.peer.attempts import Attempt, Attempts
from marfl_peer.peer.feedback import Feedback, Spot, spot_of
from marfl_peer.peer.fetching import Fetched, Fetching
from marfl_peer.peer.flows import AnyTransfer, Flow
from marfl_peer.peer.mixing_trace import MixingTrace
from marfl_peer.peer.results import Results
from marfl_peer.peer.transfer import TransferTools
from marfl_peer.peer.turns import Turns
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.frames import Room
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
from marfl_peer.protocol.messages import (
    ChunkDigest,
    Fetch,
    LineMessage,
    LineName,
    NoResult,
    Part,
    Ready,
    ResultOffer,
    ResultPart,
)
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View


def no_delay(view: View, slowest_link_bytes_per_s: float) -> float:
    """Where all come to the rounds right after their updates."""
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTools:
    """What the rounds of every iteration use."""

    me: PeerId
    run_id: RunId
    transfer: TransferTools
    flow: Flow
    layout: Layout
    feedback: Feedback
    clock: Clock
    tell: Sink
    sketch: Callable[[Tensor], tuple[float, ...]] | None = None
    """Of a vector [n]; None: the rounds are not traced."""
    delay_s: Callable[[View, float], float] = no_delay
    """What members of a view may be held up by besides their updates, where the slowest link has this rate."""

    @property
    def pool(self) -> BufferPool:
        """Of vectors: what is averaged, and results."""
        return self.transfer.pool


@dataclass(frozen=True, slots=True, eq=False)
class BaseState:
    """The state that a peer began an iteration from: its vector [n], which nobody changes, and that one's digest."""

    digest: str
    vector: Tensor


class Rounds:
    """One iteration's aggregation. `close` it when neither this peer nor a late one needs its vectors."""

    def __init__(self, tools: RoundTools, aggregation: AnyAggregation, *, on_unneeded: Callable[[], None]) -> None:
        links = tools.transfer.links
        self.aggregation = aggregation
        self.vectors = Vectors(aggregation, tools.pool)
        self.moved = False
        self.is_resting = False
        """Whether results were let go, because nobody who counts lacks one."""
        self._tools = tools
        self._base: BaseState | None = None
        self._attempts = Attempts(
            me=tools.me,
            tools=tools.transfer,
            flow=tools.flow,
            borders=tools.layout.borders,
        )
        sealer = tools.transfer.sealer
        fetching = Fetching(
            links=links,
            sealer=sealer,
            pool=tools.pool,
            clock=tools.clock,
            tell=tools.tell,
            on_liar=lambda name, ballot, source: self._leave_out((name, ballot), source),
        )
        self._results = Results(aggregation=aggregation, vectors=self.vectors, fetching=fetching, links=links)
        self._progress = asyncio.Event()
        """Set when there is news for those who wait here: a round that is over, or nothing left to do."""
        self._seen_round = 0
        self._on_unneeded = on_unneeded
        self._turns = Turns(
            carry_out=self._carry_out,
            next_deadline=aggregation.next_deadline,
            tick=lambda: aggregation.tick(now=tools.clock.now()),
            on_quiet=self._quiet,
            clock=tools.clock,
        )
        self._offenders: set[PeerId] = set()
        self._closed = False
        self._complete = self._partial = 0
        self._trace = (
            None
            if tools.sketch is None
            else MixingTrace(aggregation, self.vectors, sketch=tools.sketch, tell=tools.tell)
        )

    # the iteration loop's side

    def arrive(self, vector: Tensor, holding: Holding, *, update_s: float, base: BaseState | None = None) -> None:
        """The local update is over; `vector` [n] belongs to these rounds from now on. Values may be encoded against
        `base`."""
        self.vectors[None] = vector
        self._base = base
        digest = "" if base is None else base.digest
        self._turns.happen(lambda: self.aggregation.arrive(holding, update_s=update_s, now=self._now(), base=digest))

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

    @property
    def were_left(self) -> bool:
        """Whether this peer's own cell did not come through them, and will not."""
        return self.moved and self.aggregation.home_round() <= self.aggregation.rounds

    def has_exchanged_nothing(self) -> bool:
        """Whether no result and no transfer would be lost if the rounds began again."""
        return not self._results and not self._attempts

    async def unneeded(self) -> None:
        """Returns when nobody needs these rounds any more."""
        while self.is_needed() and not self._closed:
            self._progress.clear()
            await self._progress.wait()

    def is_needed(self) -> bool:
        """Whether somebody may still ask for a result, or a cell that this peer plays is still on its way."""
        return self._results.are_awaited or not self.aggregation.through()

    def group_counts(self) -> tuple[int, int]:
        """(complete, partial) groups of this peer so far."""
        return self._complete, self._partial

    def rest(self) -> None:
        """Nobody asks for a result any more: keeps only what a cell of a peer that is lost now is played from."""
        self._follow()
        self.is_resting = True
        self._attempts.rest()
        self._results.rest()
        self.vectors.rest()
        self._tools.feedback.settle(self.aggregation.iteration)

    def close(self) -> None:
        """Stops, and lets go of the vectors."""
        self._closed = True
        self._turns.close()
        self._results.close()
        self._attempts.rest()
        self._progress.set()
        self.vectors.close()
        # Callbacks point in circles: what is large must not wait until these are found.
        self._results.rest()
        self._base = None

    def happen(self, event: Callable[[float], list[Instruction]]) -> None:
        """Something that only the machine of one placement knows of; `event(now)` tells it."""
        self._turns.happen(lambda: event(self._now()))

    # the network's side

    def heard(self, sender: PeerId, message: LineMessage, *, at: float | None = None) -> None:
        """`at`: when it came, if that was before these rounds began."""
        self._turns.happen(lambda: self.aggregation.heard(sender, message, now=self._now() if at is None else at))

    def gone(self, peer: PeerId) -> None:
        self._results.gone(peer)
        self._turns.happen(lambda: self.aggregation.gone(peer, now=self._now()))

    def offended(self, peer: PeerId) -> None:
        """`peer` broke the rules: nothing that it says is heard any more, so no exchange with it ends well here."""
        self._offenders.add(peer)
        self.gone(peer)
        for attempt in self._attempts.with_member(peer):
            self._leave_out(attempt, peer)

    def back(self, peer: PeerId) -> None:
        self._turns.happen(lambda: self.aggregation.back(peer, now=self._now()))

    def interrupted(self, peer: PeerId) -> None:
        """What was said last, to `peer` or by it, may be lost."""
        self._results.gone(peer)
        self._turns.happen(lambda: self.aggregation.interrupted(peer, now=self._now()))

    def left_behind(self, sender: PeerId, name: LineName) -> None:
        """`sender` has that line, which is not of this peer's own cell, behind it."""
        self._turns.happen(lambda: self.aggregation.left_behind(sender, name, now=self._now()))

    def ready(self, sender: PeerId, message: Ready) -> None:
        self._attempts.ready(sender, message)

    def part_room(self, sender: PeerId, part: Part, length: int) -> Room | None:
        """Where a part's payload belongs; None where no transfer waits for it. Raises: RemoteProtocolError."""
        return self._attempts.room(sender, part, length)

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        self._attempts.digest_arrived(sender, digest)

    def result_room(self, sender: PeerId, part: ResultPart, length: int) -> memoryview | None:
        """The same for a part of a result that was asked for."""
        return self._results.room(sender, part, length)

    def result_part_arrived(self, sender: PeerId, part: ResultPart, length: int) -> None:
        self._results.part_arrived(sender, part, length)

    def asked_for_result(self, sender: PeerId, message: Fetch | ResultOffer | NoResult) -> None:
        self._results.heard(sender, message)

    # carrying out

    def _now(self) -> float:
        return self._tools.clock.now()

    def _quiet(self) -> None:
        self._follow()
        home_round, is_needed = self.aggregation.home_round(), self.is_needed()
        if home_round != self._seen_round or not is_needed:
            self._seen_round = home_round
            self._progress.set()
        if not is_needed:
            self._on_unneeded()

    def _follow(self) -> None:
        """Where rounds begin again, only the new ones are traced."""
        if self._trace is not None and not self.moved:
            self._trace.follow()

    def _carry_out(self, step: Instruction) -> None:
        match step:
            case Send():
                self._tools.transfer.links.send(step.to, step.message)
            case OpenExchange():
                self._open(step)
            case AbortExchange():
                self._attempts.abort((step.name, step.ballot))
            case FetchResult():
                self._fetch(step)
            case FinishLine():
                self._finish(step)
            case ReleaseResult():
                self._results.release(step.name)
            case Tell():
                self._tools.tell(step.fact)
            case FindPlayer():  # the aggregation keeps these for itself
                pass

    def _open(self, step: OpenExchange) -> None:
        attempt = (step.name, step.ballot)
        seats = next(member.seats for member in step.members if member.peer_id == self._tools.me)
        contribution = self.vectors.contribution(step.name, [seat.cell for seat in seats])
        coding = self._coding(step) if step.is_coded else None
        self._attempts.open(
            attempt,
            step.members,
            contribution,
            coder=None if coding is None else coding[0],
            shares=step.shares,
            on_complete=partial(self._exchanged, None if coding is None else coding[1]),
            on_culprit=partial(self._blame, attempt),
        )
        for offender in sorted(self._offenders & {member.peer_id for member in step.members}):
            self._leave_out(attempt, PeerId(offender))

    def _coding(self, step: OpenExchange) -> tuple[Coder, Spot]:
        """Parallel lines whose inputs are equal round alike: what names an exchange for that is not its line."""
        name, tools, view = step.name, self._tools, self.aggregation.view
        assert self._base is not None
        assert view is not None
        spot = spot_of(tools.me, view, name, step.members)
        residuals = tools.feedback.residuals(Iteration(name.iteration), spot)
        salt = f"{tools.run_id} {name.iteration} {name.round} {spot.place}"
        coder = Coder(tools.layout, base=self._base.vector, residuals=residuals, salt=salt, pool=tools.feedback.pool)
        return coder, spot

    def _exchanged(self, spot: Spot | None, transfer: AnyTransfer) -> None:
        name = transfer.name
        if spot is not None and self.aggregation.awaits(name, transfer.ballot):
            self._tools.feedback.keep(Iteration(name.iteration), spot, transfer.left_over())
        self._turns.happen(lambda: self._results.exchanged(transfer, now=self._now()))

    def _blame(self, attempt: Attempt, culprit: PeerId) -> None:
        name, _ = attempt
        if culprit != self._tools.me:
            text = f"values that are not finite in round {name.round} of iteration {name.iteration}"
            self._tools.tell(RemoteFault(code="not_finite", remote=culprit, detail=text))
        self._leave_out(attempt, culprit)

    def _leave_out(self, attempt: Attempt, culprit: PeerId) -> None:
        """Asks the leader for a ballot without it."""
        name, ballot = attempt
        self._turns.happen(lambda: self.aggregation.blame(name, ballot, culprit, now=self._now()))

    def _fetch(self, step: FetchResult) -> None:
        def ended(fetched: Fetched | None) -> None:
            self._turns.happen(lambda: self._results.fetched(step.name, step.ballot, fetched, now=self._now()))

        self._results.fetch(step.name, step.ballot, step.sources, ended)

    def _finish(self, step: FinishLine) -> None:
        name = step.name
        if step.ballot is not None:
            self._results.await_questions(name)
        if step.outcome == "complete":
            self._complete += 1
        else:
            self._partial += 1
        stand = self.aggregation.result_of(name)
        fact = GroupFinished(
            iteration=name.iteration,
            round=name.round,
            line=name.line,
            outcome=step.outcome,
            attempts=step.attempts,
            members=step.members,
            absent=step.absent,
            seconds=step.seconds,
            ballot=None if step.ballot is None else (step.ballot.attempt, step.ballot.leader),
            weight=None if stand is None else stand.holding.weight,
        )
        self._tools.tell(fact)
        self._attempts.settle(name)
