"""One iteration's aggregation as a peer sees it where placement is by hash: in every round another group.

    start with (vector, weight) of the local update
    for round g in 1..G:
        enter the group of this peer's bucket, with those that the DHT named
        exchange: vector <- weighted mean, weight <- weight of the group / members

A peer is in one group a round and plays for nobody else: what a lost one held since the last round is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.bucket_line import BucketLine
from marfl_peer.protocol.deadlines import allowance_s
from marfl_peer.protocol.hashed import Lots, seat_number, share
from marfl_peer.protocol.instructions import FinishLine, Instruction, Send, waiting
from marfl_peer.protocol.messages import MARK_DIGITS, Ballot, LineMessage, LineName
from marfl_peer.protocol.seats import Holding, combine, seats_of
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.timetable import Timetable
from marfl_peer.protocol.view import View
from marfl_peer.protocol.walks import Stand, VectorName, Walk


class HashedAggregation:
    """The rounds of one iteration. `update_times_s`: of the iterations before, as far as known. `speeds` is one for all
    iterations of this peer. `view`: the one that names everybody, where groups are drawn from it."""

    def __init__(
        self,
        *,
        me: PeerId,
        hashing: Lots,
        view: View | None = None,
        iteration: Iteration,
        vector_bytes: int,
        slowest_link_bytes_per_s: float,
        update_times_s: Iterable[float],
        speeds: Speeds | None = None,
    ) -> None:
        self.me, self.hashing, self.iteration = me, hashing, iteration
        self.rounds, self.view_digest = hashing.rounds, hashing.digest
        self.timetable = Timetable(
            allowance=allowance_s(vector_bytes, slowest_link_bytes_per_s), update_times_s=update_times_s
        )
        self.view = view
        self._speeds = Speeds() if speeds is None else speeds
        self._lines = {round: self._line(Round(round)) for round in range(1, hashing.rounds + 1)}
        self._found: dict[int, tuple[PeerId, ...]] = {}
        self._walk: Walk | None = None
        self._update_s = 0.0
        self._results: dict[LineName, Stand] = {}

    # what happens

    def arrive(self, holding: Holding, *, update_s: float, now: float, base: str = "") -> list[Instruction]:
        """The local update is over. Values are always sent in full: members of a bucket hold different states."""
        self._update_s = update_s
        self.timetable.arrive(self.me, update_s=update_s, now=now)
        self._walk = Walk(Cell(seat_number(self.me)), 1, Stand(vector=None, holding=holding))
        return self._enter(now)

    def found(self, round: int, peers: Iterable[PeerId], *, now: float) -> list[Instruction]:
        """The look-up of a round's group is over. Before that this peer does not enter it."""
        self._found.setdefault(round, tuple(peers))
        return self._enter(now)

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """A message about a group of this iteration; nothing where it is not this peer's."""
        line = self._of(message.name)
        if line is None or self.hashing.bucket(sender, self.iteration, Round(message.name.round)) != line.name.line:
            return []
        self.timetable.heard(sender, message, now=now)
        self._speeds.hear(message)
        return self._carry_out(self._timely(line).heard(sender, message, now=now), now)

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` is lost or has left."""
        return [] if peer == self.me else self._each(lambda line: line.gone(peer, now=now), now)

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` can be reached again."""
        return self._each(lambda line: line.back(peer, now=now), now)

    def interrupted(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """What was said last, to `peer` or by it, may be lost."""
        return self._each(lambda line: line.interrupted(peer, now=now), now)

    def tick(self, *, now: float) -> list[Instruction]:
        steps: list[Instruction] = []
        until = self._enters_at_last()
        if until is not None and now >= until:
            assert self._walk is not None
            steps += self.found(self._walk.round, (), now=now)
        return steps + self._each(lambda line: line.tick(now=now), now)

    def exchanged(self, name: LineName, ballot: Ballot, *, now: float) -> list[Instruction]:
        """The exchange of a ballot is complete here; its result is the vector called `name`."""
        line = self._of(name)
        if line is None or not line.matchmaking.awaits(ballot):
            return []
        self._results[name] = Stand(vector=name, holding=combine(seats_of(line.members_of(ballot))))
        return self._carry_out(self._timely(line).exchanged(ballot, now=now), now)

    def fetched(
        self, name: LineName, ballot: Ballot, members: tuple[PeerId, ...], holding: Holding, *, now: float
    ) -> list[Instruction]:
        """The result of a ballot that this peer was named in was downloaded; it is the vector called `name`."""
        line = self._of(name)
        if line is None or not line.matchmaking.awaits(ballot):
            return []
        # What the group held together is what its ballot says, whatever a source says of it.
        self._results[name] = Stand(vector=name, holding=combine(seats_of(line.members_of(ballot))))
        return self._carry_out(self._timely(line).fetched(ballot, members, now=now), now)

    def fetch_failed(self, name: LineName, *, now: float) -> list[Instruction]:
        """No source gave the result that was to be fetched."""
        return self._carry_out(self._timely(self._lines[name.round]).fetch_failed(now=now), now)

    def blame(self, name: LineName, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        """Values that `culprit` sent under a ballot cannot be averaged."""
        return self._carry_out(self._timely(self._lines[name.round]).blame(ballot, culprit, now=now), now)

    def left_behind(self, sender: PeerId, name: LineName, *, now: float) -> list[Instruction]:
        """`sender` has a group behind it that this peer was in."""
        return self.gone(sender, now=now)

    # what it knows

    def is_of_home(self, name: LineName) -> bool:
        """Whether this is the group that this peer is in now."""
        return name.round == self.home_round()

    def next_deadline(self) -> float | None:
        times = [self._timely(line).matchmaking.next_deadline() for line in self._lines.values()]
        return min((time for time in [*times, self._enters_at_last()] if time is not None), default=None)

    def last_deadline(self) -> float | None:
        """D_G of this peer: until when it serves results of this iteration to others."""
        return self.timetable.limits(self.rounds).wait_until

    def home_round(self) -> int:
        """The round that this peer is in; G + 1 when it is through, 0 before its update is over."""
        return 0 if self._walk is None else self._walk.round

    def home_stand(self) -> Stand:
        """What this peer holds now."""
        assert self._walk is not None
        return self._walk.stand

    def home_stand_at(self, round: int) -> Stand | None:
        """What this peer held at the start of `round`, 1..G + 1; None before it is there."""
        return None if self._walk is None else self._walk.stand_at(round)

    def last_group(self) -> tuple[PeerId, ...]:
        """The members of the ballot that the last round ended with; without one, this peer itself."""
        line = self._lines[self.rounds]
        ballot = line.matchmaking.ballots.completed
        return (self.me,) if ballot is None else tuple(PeerId(member.peer_id) for member in line.members_of(ballot))

    def contribution(self, name: LineName, cells: Iterable[int]) -> list[tuple[VectorName, int]]:
        """The vector, with its weight, that this peer brings to a group."""
        stand = None if self._walk is None else self._walk.stand_at(name.round)
        return [] if stand is None else [(stand.vector, stand.holding.weight)]

    def result_of(self, name: LineName) -> Stand | None:
        """What a group ended with here, with the weight of all of it; None as long as it has not."""
        return self._results.get(name) if self.completed(name) is not None else None

    def awaits(self, name: LineName, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be the group's if it came now; if not, it must not be named so."""
        line = self._of(name)
        return line is not None and line.matchmaking.awaits(ballot)

    def completed(self, name: LineName) -> Ballot | None:
        """The ballot of a group whose result is held here."""
        line = self._of(name)
        return None if line is None else line.matchmaking.ballots.completed

    def kept_for_others(self) -> set[VectorName]:
        """Nothing: nobody is played for."""
        return set()

    def through(self) -> bool:
        """Whether this peer went through all rounds."""
        return self.home_round() > self.rounds

    # from round to round

    def _line(self, round: Round) -> BucketLine:
        bucket = self.hashing.bucket(self.me, self.iteration, round)

        def belongs(peer: PeerId) -> bool:
            return self.hashing.bucket(peer, self.iteration, round) == bucket

        mark = self.view_digest[:MARK_DIGITS]
        name = LineName(iteration=self.iteration, round=round, line=bucket, view_mark=mark)
        return BucketLine(self.me, name, view_digest=self.view_digest, belongs=belongs, speeds=self._speeds)

    def _of(self, name: LineName) -> BucketLine | None:
        line = self._lines.get(name.round)
        return line if line is not None and line.name == name else None

    def _timely(self, line: BucketLine) -> BucketLine:
        line.matchmaking.limits = self.timetable.limits(line.name.round)
        return line

    def _enters_at_last(self) -> float | None:
        """When this peer enters its round's group even if no look-up has ended."""
        walk = self._walk
        if walk is None or walk.round > self.rounds or walk.round in self._found:
            return None
        return self.timetable.limits(walk.round).gather_until

    def _enter(self, now: float) -> list[Instruction]:
        walk = self._walk
        if walk is None or walk.round not in self._found or self._lines[walk.round].is_entered:
            return []
        line = self._timely(self._lines[walk.round])
        seat = walk.stand.holding.seat(walk.cell)
        steps = line.enter(seat, self._found[walk.round], update_s=self._update_s, now=now)
        return self._carry_out(steps, now)

    def _finish(self, finish: FinishLine, now: float) -> list[Instruction]:
        """A round is over: on to the next, with this peer's share of what its group holds, or with what it had."""
        assert self._walk is not None
        result = self.result_of(finish.name)
        if result is not None and finish.ballot is not None:
            members = [PeerId(member.peer_id) for member in self._lines[finish.name.round].members_of(finish.ballot)]
            own = share(result.holding, members, self.me)
            result = Stand(vector=result.vector, holding=own)
        self._walk.advance(result)
        return self._enter(now)

    def _each(self, step: Callable[[BucketLine], list[Instruction]], now: float) -> list[Instruction]:
        return [passed for line in self._lines.values() for passed in self._carry_out(step(self._timely(line)), now)]

    def _carry_out(self, steps: list[Instruction], now: float) -> list[Instruction]:
        """Goes on where a round is over, and passes on what concerns the shell."""
        passed: list[Instruction] = []
        for step in steps:
            passed.append(waiting(step, self.timetable.waited_s(now)) if isinstance(step, Send) else step)
            if isinstance(step, FinishLine):
                passed += self._finish(step, now)
        return passed
