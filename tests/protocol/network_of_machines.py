"""Aggregation and Exchange machines of many peers, played against each other in one thread and in virtual time.

Links keep their order; which link delivers next is drawn from a seed. The numbers are real: float64 vectors, averaged
in the order of the members. Peers die at chosen moments: what they sent may arrive in part, then the others hear of it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.facts import CellTakenOver, Fact, ResultSuperseded
from marfl_peer.ids import Cell, Iteration, PeerId
from marfl_peer.protocol.exchange import Exchange, Plan, Span, plan_exchange
from marfl_peer.protocol.instructions import (
    AbortExchange,
    CompleteExchange,
    ExchangeInstruction,
    FetchResult,
    FinishLine,
    Instruction,
    OpenExchange,
    Reduce,
    ReleaseResult,
    Send,
    SendSpan,
    SignChunk,
    Tell,
)
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import Ballot, Fetch, LineName, Member, NoResult, Ready
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.view import Membership, MembershipEvent, View
from marfl_peer.protocol.walks import VectorName

Vector = npt.NDArray[np.float64]
Attempt = tuple[LineName, Ballot]
STEP_S = 1e-5
"""Virtual time that a delivery takes."""
FETCH_TIMEOUT_S = 1.0
RETRY_S = 0.2


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def founding_view(count: int, group_size: int) -> View:
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=peer(number), incarnation=1, kind="joined", iteration=-1) for number in range(count)
    )
    return membership.view(Iteration(1), group_size)


@dataclass(frozen=True, slots=True)
class Gone:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Back:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Values:
    """A Part with its payload."""

    name: LineName
    ballot: Ballot
    stage: str
    span: Span
    values: Vector


@dataclass(frozen=True, slots=True)
class Digest:
    name: LineName
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Result:
    name: LineName
    ballot: Ballot
    vector: Vector
    holding: Holding
    members: tuple[PeerId, ...]


@dataclass(slots=True)
class Transfer:
    machine: Exchange
    plan: Plan
    contribution: Vector
    result: Vector
    parts: dict[PeerId, Vector]
    sent: list[tuple[PeerId, str, Span]] = field(default_factory=list)
    is_blocked: bool = False


@dataclass(slots=True)
class Fetching:
    ballot: Ballot
    sources: list[PeerId]
    until: float


@dataclass(frozen=True, slots=True)
class Completion:
    """What a peer held when it was through with a line."""

    peer: PeerId
    name: LineName
    ballot: Ballot
    members: tuple[PeerId, ...]
    holding: Holding
    bits: bytes
    cells: frozenset[int] | None
    """The cells that were counted; None where the result was fetched."""


class Node:
    """One peer's shell: carries out instructions, one event after the other."""

    def __init__(self, network: Network, me: PeerId, vector: Vector, weight: int) -> None:
        self.network, self.me = network, me
        self.own, self.weight = vector, weight
        self.aggregation: Any = network.make(me, vector.nbytes)
        self.opened: dict[Attempt, tuple[Member, ...]] = {}
        self.vectors: dict[VectorName, Vector] = {}
        self.transfers: dict[Attempt, Transfer] = {}
        self.early: dict[Attempt, list[PeerId]] = {}
        self.fetching: dict[LineName, Fetching] = {}
        self.retries: list[tuple[float, LineName]] = []
        self.members: dict[LineName, tuple[PeerId, ...]] = {}
        self.finished: dict[LineName, FinishLine] = {}
        self.released: set[LineName] = set()
        self.facts: list[Fact] = []
        self.events: deque[Callable[[], list[Instruction]]] = deque()
        self.is_draining = False
        self.rings, self.rang_at = 0, -1.0
        self.wakes_at: float | None = None
        self.has_changed = True

    @property
    def now(self) -> float:
        return self.network.now

    def happen(self, event: Callable[[], list[Instruction]]) -> None:
        self.has_changed = True
        self.events.append(event)
        if self.is_draining:
            return
        self.is_draining = True
        while self.events:
            for step in self.events.popleft()():
                self.carry_out(step)
        self.is_draining = False

    def arrive(self) -> None:
        self.vectors[None] = self.own
        holding = Holding(weight=self.weight, sums=(float(self.weight),), maxima=(int(self.me, 16),))
        self.happen(lambda: self.aggregation.arrive(holding, update_s=0.1, now=self.now))

    def receive(self, sender: PeerId, message: Any) -> None:
        self.has_changed = True
        match message:
            case Gone():
                for name, running in list(self.fetching.items()):
                    if running.sources and running.sources[0] == message.peer:
                        self.next_source(name)
                self.happen(lambda: self.aggregation.gone(message.peer, now=self.now))
            case Back():
                self.happen(lambda: self.aggregation.back(message.peer, now=self.now))
            case Ready():
                transfer = self.transfers.get((message.name, message.ballot))
                if transfer is None:
                    self.early.setdefault((message.name, message.ballot), []).append(sender)
                else:
                    self.run((message.name, message.ballot), lambda: transfer.machine.ready(sender))
            case Values():
                self.values(sender, message)
            case Digest():
                transfer = self.transfers.get((message.name, message.ballot))
                if transfer is not None:
                    self.run((message.name, message.ballot), lambda: transfer.machine.digest_arrived(sender))
            case Fetch():
                self.serve(sender, message)
            case Result() | NoResult():
                self.fetched(sender, message)
            case _:
                self.happen(lambda: self.aggregation.heard(sender, message, now=self.now))

    def values(self, sender: PeerId, part: Values) -> None:
        attempt = (part.name, part.ballot)
        transfer = self.transfers.get(attempt)
        if transfer is None:
            return
        span = part.span
        if part.stage == "scatter":
            transfer.machine.admit_parts(sender, [span])
            transfer.parts[sender][span.start : span.stop] = part.values
            self.run(attempt, lambda: transfer.machine.part_arrived(span))
        else:
            transfer.machine.admit_results(sender, [span])
            transfer.result[span.start : span.stop] = part.values
            self.run(attempt, lambda: transfer.machine.results_arrived(1))

    def carry_out(self, step: Instruction) -> None:
        match step:
            case Send():
                self.network.send(self.me, step.to, step.message)
            case OpenExchange():
                self.open(step)
            case AbortExchange():
                self.transfers.pop((step.name, step.ballot), None)
            case FetchResult():
                assert step.sources
                sources = [source for source in step.sources if source != self.me]
                self.fetching[step.name] = Fetching(step.ballot, sources, self.now + FETCH_TIMEOUT_S)
                self.network.send(self.me, sources[0], Fetch(name=step.name, ballot=step.ballot))
            case FinishLine():
                assert step.name not in self.finished
                self.finished[step.name] = step
                self.network.finished(self, step)
            case ReleaseResult():
                assert step.name not in self.released
                self.released.add(step.name)
            case Tell():
                self.facts.append(step.fact)
            case _:
                raise AssertionError(step)

    def open(self, step: OpenExchange) -> None:
        attempt = (step.name, step.ballot)
        self.opened[attempt] = step.members
        cells = next([seat.cell for seat in member.seats] for member in step.members if member.peer_id == self.me)
        plan = plan_exchange(step.members, length=self.own.size, kind=self.network.kind, shares=step.shares)
        held = self.aggregation.contribution(step.name, cells)
        pairs = [(self.vectors[name], weight) for name, weight in held if weight]
        total = sum(weight for _, weight in pairs)
        contribution = self.own
        if len(pairs) == 1:
            contribution = pairs[0][0]
        elif pairs:
            contribution = mean_in_order([vector for vector, _ in pairs], [weight / total for _, weight in pairs])
        transfer = Transfer(
            machine=Exchange(self.me, plan),
            plan=plan,
            contribution=contribution,
            result=np.full(self.own.size, np.nan),
            parts={one: np.full(self.own.size, np.nan) for one in plan.contributors if one != self.me},
        )
        self.transfers[attempt] = transfer
        self.run(attempt, transfer.machine.start)
        for sender in self.early.pop(attempt, []):
            self.run(attempt, lambda sender=sender: transfer.machine.ready(sender))  # type: ignore[misc]

    def run(self, attempt: Attempt, event: Callable[[], list[ExchangeInstruction]]) -> None:
        transfer = self.transfers.get(attempt)
        if transfer is None:
            return
        for step in event():
            if transfer.is_blocked:
                return
            match step:
                case SendSpan():
                    source = transfer.contribution if step.stage == "scatter" else transfer.result
                    for to, span in product(step.to, transfer.plan.segments(Span(step.start, step.stop))):
                        transfer.sent.append((to, step.stage, span))
                        values = source[span.start : span.stop].copy()
                        self.network.send(self.me, to, Values(*attempt, step.stage, span, values))
                case Reduce():
                    self.reduce(attempt, transfer, step)
                case SignChunk():
                    if transfer.plan.streams_back:
                        for one in transfer.plan.members:
                            if one != self.me:
                                self.network.send(self.me, one, Digest(*attempt))
                case CompleteExchange():
                    self.exchanged(attempt, transfer)

    def reduce(self, attempt: Attempt, transfer: Transfer, step: Reduce) -> None:
        plan = transfer.plan
        all_parts = {**transfer.parts, self.me: transfer.contribution}
        parts = [all_parts[one][step.start : step.stop] for one in plan.contributors]
        transfer.result[step.start : step.stop] = mean_in_order(
            parts, [weight / plan.total_weight for weight in plan.weights]
        )
        for one, part in zip(plan.contributors, parts, strict=True):
            if not np.isfinite(part).all():
                transfer.is_blocked = True
                self.happen(lambda one=one: self.aggregation.blame(*attempt, one, now=self.now))  # type: ignore[misc]
                return

    def exchanged(self, attempt: Attempt, transfer: Transfer) -> None:
        name, ballot = attempt

        def event() -> list[Instruction]:
            if self.aggregation.awaits(name, ballot):
                self.vectors[name] = transfer.result
                self.members[name] = transfer.plan.members
            return self.aggregation.exchanged(name, ballot, now=self.now)

        self.happen(event)

    def serve(self, sender: PeerId, message: Fetch) -> None:
        name = message.name
        stand = self.aggregation.result_of(name)
        if stand is None or self.aggregation.completed(name) != message.ballot:
            self.network.send(self.me, sender, NoResult(name=name, ballot=message.ballot))
            return
        result = Result(name, message.ballot, self.vectors[name].copy(), stand.holding, self.members[name])
        self.network.send(self.me, sender, result)

    def fetched(self, sender: PeerId, message: Result | NoResult) -> None:
        running = self.fetching.get(message.name)
        if running is None or running.ballot != message.ballot or running.sources[:1] != [sender]:
            return
        if isinstance(message, NoResult):
            self.next_source(message.name)
            return
        del self.fetching[message.name]
        name, ballot = message.name, message.ballot

        def event() -> list[Instruction]:
            if self.aggregation.awaits(name, ballot):
                self.vectors[name] = message.vector
                self.members[name] = message.members
            return self.aggregation.fetched(name, ballot, message.members, message.holding, now=self.now)

        self.happen(event)

    def next_source(self, name: LineName) -> None:
        running = self.fetching[name]
        running.sources.pop(0)
        running.until = self.now + FETCH_TIMEOUT_S
        if running.sources:
            self.network.send(self.me, running.sources[0], Fetch(name=name, ballot=running.ballot))
        else:
            del self.fetching[name]
            self.retries.append((self.now + RETRY_S, name))

    def next_time(self) -> float | None:
        """When it wants to be woken: asked at every step of the network, worked out only after something happened."""
        if not self.has_changed:
            return self.wakes_at
        self.has_changed = False
        times = [running.until for running in self.fetching.values()] + [until for until, _ in self.retries]
        deadline = self.aggregation.next_deadline()
        self.wakes_at = min(times if deadline is None else [*times, deadline], default=None)
        return self.wakes_at

    def tick(self) -> None:
        self.has_changed = True
        for name in [name for name, running in self.fetching.items() if running.until <= self.now]:
            self.next_source(name)
        due = [name for until, name in self.retries if until <= self.now]
        self.retries = [(until, name) for until, name in self.retries if until > self.now]
        for name in due:
            self.happen(lambda name=name: self.aggregation.fetch_failed(name, now=self.now))  # type: ignore[misc]
        deadline = self.aggregation.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.rings = self.rings + 1 if self.rang_at == self.now else 1
            self.rang_at = self.now
            assert self.rings < 50, "a timer that rings for ever"
            self.happen(lambda: self.aggregation.tick(now=self.now))

    def result(self) -> tuple[Vector, Holding]:
        stand = self.aggregation.home_stand()
        return self.vectors[stand.vector], stand.holding


def mean_in_order(parts: list[Vector], shares: list[float]) -> Vector:
    out = parts[0] * shares[0]
    for part, share in zip(parts[1:], shares[1:], strict=True):
        out = out + part * share
    return out


class Network:
    """`count` peers with unequal weights; `late` ones arrive after so many seconds, the others at once. Who is `behind`
    for so long hears nothing before, and then everything. `speeds`: what some say of their links."""

    def __init__(
        self,
        count: int,
        *,
        group_size: int = 4,
        seed: int = 0,
        length: int = 7,
        kind: ExchangeKind = "butterfly",
        view: View | None = None,
        late: Mapping[int, float] | None = None,
        behind: Mapping[int, float] | None = None,
        weights: Mapping[int, int] | None = None,
        speeds: Mapping[int, int] | None = None,
        duplicates: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        numbers = np.random.default_rng(seed)
        self.view = view or founding_view(count, group_size)
        self.kind, self.duplicates = kind, duplicates
        self.speeds = {self.view.members[index]: speed for index, speed in (speeds or {}).items()}
        self.now = 0.0
        self.delivered = 0
        self.initial: dict[PeerId, tuple[Vector, int]] = {}
        self.nodes: dict[PeerId, Node] = {}
        self.dead: dict[PeerId, Node] = {}
        self.links: dict[tuple[PeerId, PeerId], deque[tuple[float, Any]]] = {}
        self.cut: set[tuple[PeerId, PeerId]] = set()
        self.completions: list[Completion] = []
        self.log: list[tuple[PeerId, PeerId, Any]] = []
        self.arrivals: list[tuple[float, PeerId]] = []
        self.agenda: list[tuple[float, Callable[[], None]]] = []
        self.opens: dict[PeerId, float] = {}
        for index, member in enumerate(self.view.members):
            vector = numbers.normal(size=length)
            weight = (weights or {}).get(index, int(numbers.integers(1, 1000)))
            self.initial[member] = (vector, weight)
            self.nodes[member] = Node(self, member, vector, weight)
            self.opens[member] = (behind or {}).get(index, 0.0)
            self.arrivals.append((max(self.opens[member], (late or {}).get(index, 0.0)), member))
        self.rng.shuffle(self.arrivals)

    def make(self, me: PeerId, vector_bytes: int) -> Any:
        """The machine of a peer's iteration."""
        speeds = Speeds(balances=self.kind == "butterfly")
        speeds.begin(1, self.speeds.get(me, 0))
        return Aggregation(
            me=me,
            view=self.view,
            iteration=Iteration(1),
            vector_bytes=vector_bytes,
            slowest_link_bytes_per_s=1e9,
            update_times_s=[],
            gone=[],
            speeds=speeds,
        )

    def send(self, sender: PeerId, to: PeerId, message: Any) -> None:
        assert sender != to, message
        if sender in self.dead or to in self.dead or (sender, to) in self.cut or to not in self.nodes:
            return
        self.links.setdefault((sender, to), deque()).append((self.now, message))
        self.log.append((sender, to, message))

    def finished(self, node: Node, step: FinishLine) -> None:
        if step.ballot is None:
            return
        stand = node.aggregation.result_of(step.name)
        assert stand is not None
        transfer = node.transfers.get((step.name, step.ballot))
        counted = None
        if transfer is not None and step.outcome != "taken":
            seats = (seat for member in node.opened[step.name, step.ballot] for seat in member.seats)
            counted = frozenset(seat.cell for seat in seats)
        bits = node.vectors[step.name].tobytes() if stand.holding.weight else b""
        self.completions.append(Completion(node.me, step.name, step.ballot, step.members, stand.holding, bits, counted))

    # what goes wrong

    def kill(self, victim: PeerId, *, detection_s: float = 0.0) -> None:
        """`victim` stops; a part of what is on its way from it arrives, then each of the others hears of it."""
        self.dead[victim] = self.nodes.pop(victim)
        for other in self.nodes:
            link = self.links.setdefault((victim, other), deque())
            for _ in range(self.rng.randint(0, len(link))):
                link.pop()
            link.append((self.now + self.rng.random() * detection_s, Gone(victim)))
            self.links.pop((other, victim), None)

    def part(self, one: PeerId, other: PeerId, *, until: float | None) -> None:
        """Two peers lose each other, what is on its way between them included; `until` says when they meet again."""
        for sender, to in ((one, other), (other, one)):
            self.cut.add((sender, to))
            self.links[sender, to] = deque([(self.now, Gone(sender))])
        if until is not None:
            self.agenda.append((until, lambda: self._meet(one, other)))

    def _meet(self, one: PeerId, other: PeerId) -> None:
        for sender, to in ((one, other), (other, one)):
            self.cut.discard((sender, to))
            if sender in self.nodes and to in self.nodes:
                self.links.setdefault((sender, to), deque()).append((self.now, Back(sender)))

    # running

    def step(self) -> bool:
        """Does one thing; False when nothing is left to do."""
        for node in self.nodes.values():
            until = node.next_time()
            if until is not None and until <= self.now:
                node.tick()
                return True
        ready = [link for link, at in self._next_of_links() if at <= self.now]
        arriving = [(at, member) for at, member in self.arrivals if at <= self.now]
        for at, action in list(self.agenda):
            if at <= self.now:
                self.agenda.remove((at, action))
                action()
                return True
        if not ready and not arriving:
            return self._wait()
        choice = self.rng.randrange(len(ready) + len(arriving))
        self.now += STEP_S
        if choice < len(arriving):
            self.arrivals.remove(arriving[choice])
            if arriving[choice][1] in self.nodes:
                self.nodes[arriving[choice][1]].arrive()
            return True
        sender, to = ready[choice - len(arriving)]
        _, message = self.links[sender, to].popleft()
        self.delivered += 1
        if to in self.nodes:
            self.nodes[to].receive(sender, message)
            if self.duplicates and self.rng.random() < self.duplicates and not isinstance(message, Values):
                self.nodes[to].receive(sender, message)
        return True

    def _next_of_links(self) -> list[tuple[tuple[PeerId, PeerId], float]]:
        """When each link that carries something delivers next."""
        opens = self.opens
        return [(link, max(queue[0][0], opens.get(link[1], 0.0))) for link, queue in self.links.items() if queue]

    def _wait(self) -> bool:
        times = [at for _, at in self._next_of_links()]
        times += [at for at, member in self.arrivals if member in self.nodes]
        times += [at for at, _ in self.agenda]
        times += [until for node in self.nodes.values() if (until := node.next_time()) is not None]
        if not times:
            return False
        self.now = max(self.now, min(times))
        return True

    def run(self, *, limit: int = 200_000, until: Callable[[], bool] | None = None) -> None:
        for _ in range(limit):
            if until is not None and until():
                return
            if not self.step():
                return
        raise AssertionError(f"not at rest after {limit} steps")

    def run_to(self, delivered: int) -> None:
        """Plays until so many messages were delivered."""
        self.run(until=lambda: self.delivered >= delivered)

    # what must hold

    def check(self) -> None:
        """Everybody is through in time, and who completed the same ballot holds the same."""
        for node in self.nodes.values():
            assert node.aggregation.through(), (node.me, node.aggregation.home_round())
            for name, finish in node.finished.items():
                until = node.aggregation.timetable.limits(name.round).wait_until
                assert until is not None
                assert finish.seconds <= until + 0.01
        same: dict[Attempt, Completion] = {}
        for one in self.completions:
            first = same.setdefault((one.name, one.ballot), one)
            assert (first.members, first.holding, first.bits) == (one.members, one.holding, one.bits)

    def forked(self, *, among_the_living: bool = False) -> bool:
        """Whether two ballots of one line completed, be it at peers that are dead by now."""
        ballots: dict[LineName, set[Ballot]] = {}
        for one in self.completions:
            if among_the_living and one.peer in self.dead:
                continue
            ballots.setdefault(one.name, set()).add(one.ballot)
        return any(len(found) > 1 for found in ballots.values())

    def counted(self) -> list[PeerId]:
        """Whose update was counted in round 1."""
        cells: set[int] = set()
        for one in self.completions:
            if one.name.round == 1 and one.cells is not None:
                cells |= one.cells
        return [member for member in self.view.members if self.view.cell_of[member] in cells]

    def mean_of(self, members: list[PeerId]) -> Vector:
        total = sum(self.initial[member][1] for member in members)
        out: Vector = sum((self.initial[m][0] * self.initial[m][1] for m in members), np.zeros(1)) / total
        return out

    def results(self) -> list[Vector]:
        return [self.nodes[member].result()[0] for member in sorted(self.nodes)]

    def outcomes(self) -> set[str]:
        return {finish.outcome for node in self.nodes.values() for finish in node.finished.values()}

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for node in self.nodes.values() for fact in node.facts if isinstance(fact, kind)]

    def taken_over(self) -> list[Fact]:
        return self.told(CellTakenOver)

    def superseded(self) -> list[Fact]:
        return self.told(ResultSuperseded)

    def expect_mean(self, members: list[PeerId]) -> None:
        """Everybody holds the exact weighted mean of `members`; the same bits, if nobody played two cells of a line."""
        mean = self.mean_of(members)
        for result in self.results():
            assert np.abs(result - mean).max() < 1e-9
        merged = any(one.cells is not None and len(one.cells) > len(one.members) for one in self.completions)
        assert merged or len({result.tobytes() for result in self.results()}) == 1
        total = sum(self.initial[member][1] for member in members)
        assert all(node.result()[1].weight == total for node in self.nodes.values())

    def peer_in(self, cell: int) -> PeerId:
        member = self.view.peer_at[Cell(cell)]
        assert member is not None
        return member
