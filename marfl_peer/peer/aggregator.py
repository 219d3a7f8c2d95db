"""Which iteration a message belongs to: the one that runs, one that is over but still serves, or one to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from marfl_peer.facts import UplinkMeasured
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.peer.rounds import Rounds, RoundTools
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.bases import FullValues
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import (
    Absent,
    Behind,
    CannotPlay,
    ChunkDigest,
    Fetch,
    Here,
    LineName,
    NoResult,
    Part,
    Play,
    Propose,
    Ready,
    ResultOffer,
    ResultPart,
    RoundMessage,
)
from marfl_peer.protocol.speeds import Speeds, speed_of
from marfl_peer.protocol.view import View

MAX_EARLY_MESSAGES = 4096
ITERATIONS_AHEAD = 2
WITNESSES = 2


class Aggregator:
    """`on_other_view(peer)`: that peer's view of an iteration differs from ours. `on_behind(iteration)`: the swarm
    is in that iteration already. `is_reborn(peer, view)`: that member of the view was started again, and enters none of
    the view's ballots. `steps(running, iteration)`: how many iterations there are from one to another."""

    def __init__(
        self,
        tools: RoundTools,
        *,
        on_other_view: Callable[[PeerId], None],
        on_behind: Callable[[int], None],
        is_reborn: Callable[[PeerId, View], bool],
        steps: Callable[[int, int], int],
    ) -> None:
        self._tools = tools
        self._is_reborn, self._steps = is_reborn, steps
        self._on_other_view, self._on_behind = on_other_view, on_behind
        self._current: Rounds | None = None
        self._serving: list[Rounds] = []
        self._early: list[tuple[PeerId, RoundMessage, float]] = []
        """Who said what before its iteration began here, and when."""
        self._is_on_its_way_in = True
        self._gone: set[PeerId] = set()
        self._offenders: set[PeerId] = set()
        self._absent: dict[PeerId, int] = {}
        """Until which iteration others said that they do not come."""
        self._left_out = 0
        self._full = FullValues()
        self.speeds = Speeds(balances=tools.flow.balances)
        self._ahead: dict[PeerId, int] = {}
        """Who says that it is far ahead of the iteration that runs, and where."""

    # the iteration loop's side

    def begin(self, view: View, *, update_times_s: Iterable[float], gone: Iterable[PeerId]) -> Rounds:
        """Opens the rounds of `view.iteration` on its grid."""
        slowest = self.measure(view.iteration)
        aggregation = Aggregation(
            me=self._tools.me,
            view=view,
            iteration=view.iteration,
            vector_bytes=round(4 * self._tools.pool.length * self._tools.flow.stretch(len(view.members))),
            slowest_link_bytes_per_s=slowest,
            update_times_s=update_times_s,
            gone=self.gone_in(view, gone),
            delay_s=self._tools.delay_s(view, slowest),
            full=self._full,
            speeds=self.speeds,
        )
        return self.begin_with(aggregation)

    def gone_in(self, view: View, gone: Iterable[PeerId]) -> set[PeerId]:
        """Who enters no ballot of the view, as far as known now: those that are `gone`, cannot be reached, say that
        they do not come, or were started again."""
        return {*gone, *self._gone, *(peer for peer in view.members if self._comes_not(peer, view))}

    def measure(self, iteration: int) -> float:
        """What this peer says of its uplink in an iteration that begins is what it measured so far. Returns the rate of
        the slowest link that the iteration has to wait for, in bytes a second."""
        rate = self._tools.transfer.links.uplink.bytes_per_s
        own = speed_of(rate)
        if own != self.speeds.own:
            self._tools.tell(UplinkMeasured(bytes_per_s=rate))
        self.speeds.begin(iteration, own)
        return self.speeds.slowest_link_bytes_per_s(iteration)

    def begin_with(self, aggregation: AnyAggregation) -> Rounds:
        """Opens the rounds of an iteration; what came early for it is heard now."""
        self._retire()
        self._is_on_its_way_in = False
        self._offenders.clear()
        self._ahead.clear()
        self._current = Rounds(self._tools, aggregation, on_unneeded=self._tidy)
        early, self._early = self._early, []
        for sender, message, at in early:
            self.heard(sender, message, 0, at=at)
        return self._current

    def drop_current(self) -> None:
        """The rounds that run lead nowhere: the view moved before anything was exchanged, or the swarm went on."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def missed(self, iteration: Iteration) -> None:
        """This peer took the state after an iteration, in a view that goes on: its rounding left nothing over there,
        where that of its equals did."""
        self._full.due_after(iteration)

    def leave_out(self, until: int) -> None:
        """This peer will be in no iteration up to that one: nobody is to wait for it there."""
        if until > self._left_out:
            self._left_out = until
            self._tools.transfer.links.flood(Absent(until=until), b"")

    async def unneeded(self) -> None:
        """Returns when nobody wants a result from this peer any more."""
        for rounds in self._all():
            await rounds.unneeded()

    def close(self) -> None:
        for rounds in self._all():
            rounds.close()
        self._current, self._serving = None, []

    @property
    def iteration(self) -> int:
        """The iteration that runs; 0 before the first."""
        return 0 if self._current is None else int(self._current.aggregation.iteration)

    @property
    def company(self) -> int:
        """How many members the largest group of the iteration that runs has; 1 where nobody knows."""
        view = None if self._current is None else self._current.aggregation.view
        return 1 if view is None else max(view.grid.shape, default=1)

    def other_is_at(self, peer: PeerId, iteration: int) -> None:
        """`peer`, which counts in the view that runs, says that it is in that iteration.

        Nobody gets two iterations ahead of a peer that is in its groups: the swarm has gone on without this one. Where
        there are several others one witness is not enough, or a single liar could send everybody after a state that
        does not exist.
        """
        newest = self.iteration
        if self._current is None or self._steps(newest, iteration) < ITERATIONS_AHEAD:
            return
        self._ahead[peer] = iteration
        view = self._current.aggregation.view
        quorum = WITNESSES if view is None else max(1, min(WITNESSES, len(view.members) - 1))
        if len(self._ahead) >= quorum:
            self._on_behind(sorted(self._ahead.values())[-quorum])

    # the network's side

    def heard(self, sender: PeerId, message: RoundMessage, payload_bytes: int, *, at: float | None = None) -> None:
        """`at`: when it came, if that was earlier: who is here waits since then, and no longer because we are late.

        Raises: RemoteProtocolError.
        """
        if isinstance(message, Propose):
            self._tools.flow.check(message)
        rounds = self._rounds_of(message.name)
        if rounds is None:
            self._untimely(sender, message, at)
            return
        if sender in self._offenders and rounds is self._current:
            return
        match message:
            case Here() | Propose():
                if message.view_digest != rounds.aggregation.view_digest:
                    self._keep(sender, message, at)
                    self._on_other_view(sender)
                else:
                    rounds.heard(sender, message, at=at)
            case Ready():
                rounds.ready(sender, message)
            case Behind():
                if rounds is self._current and rounds.aggregation.is_of_home(message.name):
                    # By how much is the sender's word: the next state may be had, whatever it says.
                    self._on_behind(min(message.iteration, self.iteration + ITERATIONS_AHEAD))
                else:
                    # A cell that this peer plays for another is late, or the iteration is over here, too.
                    rounds.left_behind(sender, message.name)
                    self.other_is_at(sender, message.iteration)
            case Part():
                pass  # nobody waits for it: who does has named its room
            case ChunkDigest():
                rounds.digest_arrived(sender, message)
            case Fetch() if rounds.is_resting:
                # Those who count here had it and let it go: who asks now was not among them, and takes the state.
                self._tell_behind(sender, message.name)
            case Fetch() | ResultOffer() | NoResult():
                rounds.asked_for_result(sender, message)
            case ResultPart():
                rounds.result_part_arrived(sender, message, payload_bytes)
            case _:
                rounds.heard(sender, message)

    def room(self, sender: PeerId, message: Part | ResultPart, length: int) -> memoryview | Room | None:
        """Where tensor bytes belong; None: nowhere, they are read and dropped. Raises: RemoteProtocolError."""
        rounds = self._rounds_of(message.name)
        if rounds is None:
            return None
        if isinstance(message, ResultPart):
            return rounds.result_room(sender, message, length)
        if sender in self._offenders and rounds is self._current:
            return None
        return rounds.part_room(sender, message, length)

    def absent(self, peer: PeerId, until: int) -> None:
        """`peer` does not come to what it is not through with, up to that iteration."""
        self._absent[peer] = until
        self._forget_early(peer, until=until)
        for rounds in self._all():
            if rounds.aggregation.iteration <= until:
                rounds.gone(peer)

    def offended(self, peer: PeerId) -> None:
        """`peer` broke the rules: as often as it comes back, what runs goes on without it. The next iteration may do
        better."""
        self._offenders.add(peer)
        if self._current is not None:
            self._current.offended(peer)

    def gone(self, peer: PeerId) -> None:
        """`peer` is lost, has left, or cannot be reached now.

        Before the first iteration that is forgotten: one on its way in states no loss, so nobody would deny this one.
        The others may know the peer well, and the groups of the first iteration dial it anew.
        """
        if self._is_on_its_way_in:
            return
        self._gone.add(peer)
        self._forget_early(peer)
        for rounds in self._all():
            rounds.gone(peer)

    def back(self, peer: PeerId) -> None:
        self._gone.discard(peer)
        self._say_absent(peer)
        if peer in self._offenders:
            return
        for rounds in self._all():
            view = rounds.aggregation.view
            if view is not None and self._comes_not(peer, view):
                rounds.gone(peer)
            else:
                rounds.back(peer)

    def interrupted(self, peer: PeerId) -> None:
        """What was said last, to `peer` or by it, may be lost; nobody is to go on without it for that."""
        if peer in self._gone:
            self.back(peer)
            return
        self._say_absent(peer)
        for rounds in self._all() if peer not in self._offenders else ():
            view = rounds.aggregation.view
            if view is None or not self._comes_not(peer, view):
                rounds.interrupted(peer)

    def _say_absent(self, peer: PeerId) -> None:
        if self._left_out and self._left_out >= self.iteration - 1:  # the other may be in one of those, or before them
            self._tools.transfer.links.send(peer, Absent(until=self._left_out))

    def _comes_not(self, peer: PeerId, view: View) -> bool:
        """Whether that member of the view enters none of its ballots, as far as this peer could ever hear."""
        if peer in view.dial_only and self._tools.me in view.dial_only:
            return peer != self._tools.me
        return self._absent.get(peer, 0) >= view.iteration or self._is_reborn(peer, view)

    def _all(self) -> list[Rounds]:
        return [*self._serving, *([] if self._current is None else [self._current])]

    def _rounds_of(self, name: LineName) -> Rounds | None:
        """Those of the name's iteration. There may be two: where the view moved they began again, and the first ones
        serve on."""
        found = None
        for rounds in reversed(self._all()):
            if rounds.aggregation.iteration == name.iteration:
                if rounds.aggregation.view_digest.startswith(name.view_mark):
                    return rounds
                found = found or rounds
        return found

    def _untimely(self, sender: PeerId, message: RoundMessage, at: float | None) -> None:
        newest = self.iteration
        if message.name.iteration > newest:
            self._keep(sender, message, at)
            self.other_is_at(sender, message.name.iteration)
        elif isinstance(message, Here | Fetch):
            self._tell_behind(sender, message.name)
        elif isinstance(message, Play):
            self._tools.transfer.links.send(sender, CannotPlay(name=message.name, cell=message.cell))

    def _tell_behind(self, peer: PeerId, name: LineName) -> None:
        """This peer is at least one iteration further than that line's, also between two."""
        behind = Behind(name=name, iteration=max(self.iteration, name.iteration + 1))
        self._tools.transfer.links.send(peer, behind)

    def _keep(self, sender: PeerId, message: RoundMessage, at: float | None) -> None:
        # Before its first iteration a peer does not know how far the swarm is: others may wait for it there already.
        is_near = not self.iteration or self._steps(self.iteration, message.name.iteration) <= ITERATIONS_AHEAD
        if not isinstance(message, Part | ResultPart) and is_near:
            self._early.append((sender, message, self._tools.clock.now() if at is None else at))
            del self._early[:-MAX_EARLY_MESSAGES]

    def _forget_early(self, peer: PeerId, *, until: float = math.inf) -> None:
        """What `peer` said before it went, or was started again, does not hold any more; what does, it says again."""
        self._early = [early for early in self._early if early[0] != peer or early[1].name.iteration > until]

    def _retire(self) -> None:
        """The rounds that ran go on serving until the next ones are over: until then nobody has got further, and the
        cell of a peer that is lost may have to be played from what its line held."""
        if self._current is None:
            return  # the first rounds, or some that begin again: those before them serve on
        for rounds in self._serving:
            rounds.close()
        self._serving = [self._current]
        self._current = None
        self._tidy()

    def _tidy(self) -> None:
        for rounds in self._serving:
            if not rounds.is_needed():
                rounds.rest()
