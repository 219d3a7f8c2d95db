"""How a peer gets into a swarm: it founds one together with others, or joins one that runs already.

Founding: everybody announces itself in the DHT; the lowest id asks all it finds, and those that accept are the first
view. Who accepted several is in that of the first that starts, and the others hear of it. The swarm goes on from the
latest state that one of them holds (`protocol.restart`). Joining: any live member states the joining, which counts two
iterations later. A peer that was started again may hold a later state than that member: the member was left behind, or
the swarm that was ahead is no more. It looks for others first, and keeps its state in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from marfl_peer.clock import Clock, Deadline
from marfl_peer.config import MAX_GROUP_SIZE, Settings
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.facts import Sink, WaitEnded
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.links import Links
from marfl_peer.peer.census import Census
from marfl_peer.peer.inquiry import NoAnswer, ask_status
from marfl_peer.peer.relaying import Relaying
from marfl_peer.peer.roster import Roster, read_member
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import Heartbeat, JoinReply, JoinRequest, Relayed, Start, StartAnswer, StartProposal
from marfl_peer.protocol.records import Record
from marfl_peer.protocol.restart import Held, start_from
from marfl_peer.protocol.view import EFFECT_DELAY, FOUNDING

POLL_S = 0.5
MAX_POLL_S = 4.0
LOOK_UP_S = 2.0
"""Longest wait for what the given names stand for."""
ASKED_AT_ONCE = 4
ANSWER_S = 8.0
"""How long the proposer waits for answers; a peer that does not answer can join later."""


@dataclass(frozen=True, slots=True)
class Entry:
    """This peer counts from `first_iteration` on. The state before it can be had from `sources`, which are none where
    this peer holds it, or a later one. `digest`: that of the state, where it is known."""

    first_iteration: Iteration
    sources: tuple[PeerId, ...] = ()
    digest: str = ""


class Entrance:
    """`seeds()` are the addresses known now, `look_up(deadline)` renews them; `member_record()` is this peer's own
    signed record; `held` is the state that it brings along."""

    def __init__(
        self,
        *,
        me: PeerId,
        settings: Settings,
        roster: Roster,
        links: Links,
        dht: DhtNode,
        clock: Clock,
        tell: Sink,
        seeds: Callable[[], list[tuple[str, int]]],
        look_up: Callable[[Deadline], Awaitable[None]],
        member_record: Callable[[], Record],
        held: Held,
    ) -> None:
        self.me = me
        self._settings, self._roster, self._links, self._dht = settings, roster, links, dht
        self._clock, self._tell = clock, tell
        self._seeds, self._look_up, self._member_record, self._held = seeds, look_up, member_record, held
        self._census = Census(
            me=me,
            run_id=roster.run_id,
            dht=dht,
            links=links,
            seeds=seeds,
            member_record=member_record,
            listens=not settings.dial_only,
        )
        self._relaying = Relaying(
            me=me,
            roster=roster,
            links=links,
            is_awaited=lambda: self._is_promised() and not self._entry.done(),
        )
        self._promised: PeerId | None = None
        self._promised_until = 0.0
        self._accepted: set[PeerId] = set()
        """All proposers that this peer ever accepted: each may have started since, and count on it."""
        self._start_message: Start | None = None
        self._answers: dict[PeerId, Held | None] = {}
        """What those hold that accepted; None of those that did not."""
        self._unanswered: set[PeerId] = set()
        """Those that this peer asked and that have not answered yet."""
        self._answered = asyncio.Event()
        self._entry: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._overheard: dict[PeerId, int] = {}
        """Members of the running swarm that are connected, in the order in which they were heard, with iterations."""
        self._called = asyncio.Event()
        self._join_reply: asyncio.Future[int] | None = None
        self._asked: tuple[PeerId, int] | None = None
        """Who is asked to state this peer's joining, in which incarnation."""
        self._asked_again = False

    async def enter(self) -> Entry:
        """Returns when this peer has a view to be in. Raises: DhtError where the given addresses lead nowhere."""
        started = self._clock.now()
        deadline = started + self._settings.wait_timeout_s
        poll_s = POLL_S
        try:
            while not self._entry.done():
                if not self._is_promised():
                    await self._look_up(Deadline(self._clock.now() + LOOK_UP_S))
                    entry = await self._join_running()
                    if entry is not None:
                        return entry
                    await self._found(deadline)
                await self._pause(poll_s)
                poll_s = min(poll_s * 1.5, MAX_POLL_S)
            return self._entry.result()
        finally:
            self._relaying.close()
            now = self._clock.now()
            self._tell(
                WaitEnded(
                    iteration=0,
                    round=0,
                    waited_for="view",
                    seconds=now - started,
                    allowed_s=self._settings.wait_timeout_s,
                    outcome="arrived" if now < deadline else "deadline",
                )
            )

    def _is_promised(self) -> bool:
        """Whether a proposer that was accepted may still start the swarm with this peer in it."""
        return self._promised not in (None, self.me) and self._clock.now() < self._promised_until

    async def _pause(self, seconds: float) -> None:
        """Until the next attempt, or there is news."""
        called = asyncio.ensure_future(self._called.wait())
        await asyncio.wait((self._entry, called), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        called.cancel()
        self._called.clear()

    # joining

    def overheard(self, peer: PeerId, iteration: int) -> None:
        """A connected peer is in that iteration. It took this one, which was started again, for its earlier life:
        nobody else may know the way in."""
        if self._entry.done():
            return
        self._overheard[peer] = iteration
        if peer == self._promised and self._start_message is None:
            self._promised = None  # it has started, and its word was lost with a connection: it says more than that
        self._called.set()

    async def _join_running(self) -> Entry | None:
        """Joins by the first known address whose peer is in a running swarm. A few are asked at a time: of a large
        swarm that remembers all its members, many may be on their way in at once. Those that are behind this peer's
        state come last: there is no way on from them where somebody is further."""
        behind: dict[PeerId, int] = {}
        entry = await self._join_overheard(behind)
        if entry is not None:
            return entry
        seeds = self._seeds()
        for first in range(0, len(seeds), ASKED_AT_ONCE):
            asked = seeds[first : first + ASKED_AT_ONCE]
            statuses = await asyncio.gather(*(_status(address) for address in asked))
            for address, status in zip(asked, statuses, strict=True):
                if status is not None and status.get("started") and status.get("run_id") == self._settings.run_id:
                    contact = PeerId(str(status.get("peer_id")))
                    self._links.learn(contact, address)
                    entry = await self._join_unless_behind(contact, status.get("iteration"), behind)
                    # Those who say so themselves meanwhile are there for certain.
                    entry = entry or await self._join_overheard(behind)
                    if entry is not None:
                        return entry
            if not self._is_free():
                return None
        for contact in sorted(behind, key=lambda peer: -behind[peer]):
            entry = await self.join(contact) if self._is_free() else None
            if entry is not None:
                return entry
        return None

    async def _join_overheard(self, behind: dict[PeerId, int]) -> Entry | None:
        """Joins by a member that was heard and is connected."""
        while self._overheard and self._is_free():
            contact = next(iter(self._overheard))
            heard_in = self._overheard.pop(contact)
            if self._links.is_connected(contact):
                entry = await self._join_unless_behind(contact, heard_in, behind)
                if entry is not None:
                    return entry
        return None

    def _is_free(self) -> bool:
        """A proposer may have been accepted meanwhile: in two swarms at once a peer is of no use to either."""
        return not (self._entry.done() or self._is_promised())

    async def _join_unless_behind(self, contact: PeerId, iteration: object, behind: dict[PeerId, int]) -> Entry | None:
        """Joins by a member that says it is in that iteration. It is `behind` if this peer, which held its state before
        it began the next iteration, had got two ahead of it: nobody does of a peer that is in its groups."""
        if isinstance(iteration, int) and self._needs_no_state(iteration + EFFECT_DELAY):
            behind[contact] = iteration
            return None
        return await self.join(contact) if self._is_free() else None

    def _needs_no_state(self, first: int) -> bool:
        """Whether this peer holds the state before that iteration, or a later one."""
        return self._held.iteration >= first - 1

    async def join(self, contact: PeerId) -> Entry | None:
        """Asks a member to state this peer's joining; None where it does not do so."""
        self._join_reply, self._asked_again = asyncio.get_running_loop().create_future(), False
        self._roster.enter_by(contact)
        self._asked = contact, self._ask_to_join(contact)
        try:
            async with asyncio.timeout_at(self._clock.now() + ANSWER_S):
                first = await self._join_reply
        except TimeoutError:
            return None
        finally:
            self._join_reply = self._asked = None
        if first == 0:
            return None
        self._roster.started = True
        self._let_go("joined a swarm that runs")
        # Another part of the swarm agreed on what this peer holds: that counts like what a part brings to a merge.
        return Entry(Iteration(first), () if self._needs_no_state(first) else (contact,))

    def _ask_to_join(self, contact: PeerId) -> int:
        """Returns the incarnation that this peer asks for."""
        record = self._member_record()
        self._links.send(contact, JoinRequest(), records.encode(record))
        return record.incarnation

    def _ask_again_if_stated(self) -> None:
        """The asked member has stated this peer's joining, and the answer was lost with a connection of its earlier
        life: others count this peer already."""
        own = self._roster.own_status()
        if self._asked is None or own is None or (own.kind, own.incarnation) != ("joined", self._asked[1]):
            return
        if not self._asked_again:
            self._asked_again = True
            self._ask_to_join(self._asked[0])

    def asked_to_join(self, sender: PeerId, payload: memoryview) -> None:
        """Raises: RemoteProtocolError for a record that is not the sender's own."""
        if not self._roster.can_date:
            self._links.send(sender, JoinReply(first_iteration=0))
            return
        record, _ = read_member(self._roster.run_id, bytes(payload))
        if record.peer_id != sender:
            raise RemoteProtocolError("record_peer", "asks to join with somebody else's record")
        self._roster.state_joined(bytes(payload), self._roster.dating())
        event = self._roster.membership.joined(sender, record.incarnation)
        assert event is not None
        self._roster.send_all(sender)
        self._links.send(sender, JoinReply(first_iteration=event.effective))

    def join_replied(self, reply: JoinReply) -> None:
        self._conclude_joining(reply.first_iteration)

    def _conclude_joining(self, first_iteration: int) -> None:
        if self._join_reply is not None and not self._join_reply.done():
            self._join_reply.set_result(first_iteration)

    # founding

    async def _found(self, deadline: float) -> None:
        """One attempt to found, if this peer is the one to do it: the lowest id that it sees."""
        members = await self._census.members()
        founder = self._census.founder(members)
        if founder not in (None, self.me):
            # Its proposal will come over this connection; a record of a peer that is gone shows itself by it.
            self._links.connect(founder)
        late = self._clock.now() >= deadline
        # Who was told where others are does not begin alone because they do not answer at once.
        is_lonely = founder is None or (not members and bool(self._settings.bootstrap and self._seeds()))
        enough = len(members) + 1 >= self._settings.wait_for and not is_lonely
        if self._entry.done() or founder not in (None, self.me) or not (enough or late):
            return
        if is_lonely and late:
            addresses = ", ".join(self._settings.bootstrap)
            raise DhtError(f"nobody answers at {addresses}: check the address, and that a peer runs there")
        if not self._is_promised():
            await self._propose(members, late)

    async def _propose(self, members: list[PeerId], late: bool) -> None:
        """Asks all; the view is made of those that accept. Nothing is stated before enough of them did."""
        self._promised = self.me
        self._answers, self._answered = {}, asyncio.Event()
        self._unanswered.update(members)
        for peer in members:
            self._links.send(peer, StartProposal())
        deadline = self._clock.now() + ANSWER_S
        try:
            async with asyncio.timeout_at(deadline):
                while len(self._answers) < len(members):
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            pass
        accepted = {peer: held for peer in members if (held := self._answers.get(peer)) is not None}
        is_enough = late or len(accepted) + 1 >= self._settings.wait_for
        if self._promised == self.me and is_enough and not self._overheard:
            self._start(accepted)
            return
        if self._overheard:
            # Two swarms of the same peers would never agree on a view.
            self._let_go("a swarm runs")
        if self._promised == self.me:
            self._promised = None

    def _start(self, accepted: dict[PeerId, Held]) -> None:
        own = records.encode(self._member_record())
        self._roster.enter_by(self.me)
        self._roster.state_joined(own, FOUNDING)
        for peer in accepted:
            self._roster.state_joined(self._roster.records[peer], FOUNDING)
        self._roster.started = True
        state, holders = start_from({**accepted, self.me: self._held})
        start = Start(
            view_digest=self._roster.view(Iteration(1)).digest,
            iteration=state.iteration,
            state_digest=state.digest,
            holders=tuple(holders[:MAX_GROUP_SIZE]),
        )
        self._relaying.start(start, accepted)
        self._begin(start)

    def _begin(self, start: Start) -> None:
        """In, after the iteration that the swarm goes on from."""
        first = Iteration(start.iteration + 1)
        self._roster.iteration = first
        if Held(start.iteration, start.state_digest) == self._held:
            self._enter(Entry(first))
        else:
            self._enter(Entry(first, tuple(PeerId(peer) for peer in start.holders), start.state_digest))

    def proposed(self, sender: PeerId, proposal: StartProposal) -> None:
        """Accepts the lowest proposer; a promise is given up only for a lower one."""
        self._census.seen(sender)
        free = self._promised is None or sender <= self._promised
        # Who has asked to join a running swarm may count there already; whose events are under way does.
        is_bound = self._join_reply is not None or self._relaying.is_under_way()
        accepted = not self._roster.started and free and not is_bound
        if accepted:
            self._promise(sender)
            self._links.send(sender, self._answer(accepted=True), records.encode(self._member_record()))
            return
        if self._roster.can_date:
            # It was started again, and does not know of the swarm that it founded: it is to join that.
            self._links.send(sender, Heartbeat(iteration=self._roster.iteration))
        self._links.send(sender, self._answer(accepted=False, reason="another one was accepted"))

    def _answer(self, *, accepted: bool, reason: str = "") -> StartAnswer:
        held = self._held
        return StartAnswer(accepted=accepted, iteration=held.iteration, state_digest=held.digest, reason=reason)

    def _promise(self, proposer: PeerId) -> None:
        if self._promised == self.me:
            self._let_go("another one was accepted")
        self._accepted.add(proposer)
        self._promised, self._promised_until = proposer, self._clock.now() + 2 * ANSWER_S
        self._roster.enter_by(proposer)
        self._relaying.forget()

    def _keep_older_promise(self, proposer: PeerId) -> None:
        """The first that starts has this peer: its view counts it, and would wait for it. Whoever has the promise now
        has not started yet, and may not get enough others."""
        if self._promised not in (None, self.me):
            assert self._promised is not None
            self._links.send(self._promised, self._answer(accepted=False, reason="another one has started"))
        self._promise(proposer)
        # The events of its view came while this peer listened to somebody else.
        self._roster.send_all(proposer, answer_wanted=True)

    def _let_go(self, reason: str) -> None:
        """This peer starts no swarm any more: those that accepted need not wait for it."""
        for peer, held in sorted(self._answers.items()):
            if held is not None:
                self._answers[peer] = None
                self._links.send(peer, self._answer(accepted=False, reason=reason))

    def answered(self, sender: PeerId, answer: StartAnswer, payload: memoryview) -> None:
        """Raises: RemoteProtocolError for a record that is not the sender's own."""
        if answer.accepted:
            record, _ = read_member(self._roster.run_id, bytes(payload))
            if record.peer_id != sender:
                raise RemoteProtocolError("record_peer", "accepts with somebody else's record")
            self._roster.records[sender] = bytes(payload)
        elif sender == self._promised and sender not in self._unanswered:
            # Not its answer to a proposal of this peer's own: the proposer itself is in another swarm now.
            self._promised = None
            self._called.set()
        self._unanswered.discard(sender)
        self._answers[sender] = Held(answer.iteration, answer.state_digest) if answer.accepted else None
        self._answered.set()

    def begun(self, sender: PeerId, start: Start) -> None:
        """The swarm starts with the view that `start` names, as soon as that view's events are here, too: they were
        sent before, but on a connection that another one has replaced they may come after."""
        is_free = self._start_message is None and not self._roster.started and self._join_reply is None
        if sender != self._promised and sender in self._accepted and is_free:
            self._keep_older_promise(sender)
        if sender == self._promised:
            self._start_message = start
            self._relaying.begun(sender)
            self.view_may_be_whole()

    def relayed(self, sender: PeerId, message: Relayed) -> None:
        """The swarm that starts is so large that its events come from another one than its founder."""
        if sender == self._promised and not self._roster.started and self._join_reply is None:
            self._relaying.told(sender, PeerId(message.peer_id))

    def view_may_be_whole(self) -> None:
        """Membership events came in: enters the first view if it is the one that was started."""
        self._ask_again_if_stated()
        start = self._start_message
        if start is None or self._entry.done():
            return
        view = self._roster.view(Iteration(1))
        if self.me not in view.cell_of or view.digest != start.view_digest:
            return
        self._roster.started = True
        self._relaying.pass_on([peer for peer in view.members if peer not in view.dial_only])
        self._begin(start)

    def met(self, peer: PeerId) -> None:
        """A connection to a peer is there."""
        self._census.seen(peer)

    def gone(self, peer: PeerId) -> None:
        """A peer that cannot be reached neither founds nor answers."""
        self._census.gone(peer)
        if peer == self._promised:
            self._promised = None
        self._relaying.gone(peer)
        if self._asked is not None and peer == self._asked[0]:
            self._conclude_joining(0)
        self._answers.setdefault(peer, None)
        self._unanswered.discard(peer)
        self._answered.set()

    def _enter(self, entry: Entry) -> None:
        if not self._entry.done():
            self._entry.set_result(entry)


async def _status(address: tuple[str, int]) -> dict[str, Any] | None:
    try:
        return await ask_status(*address, timeout_s=2.0)
    except (NoAnswer, RemoteProtocolError):
        return None
