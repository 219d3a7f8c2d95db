"""How a peer that is behind gets the agreed state: asks several members what they hold, believes what most of a group
signed, and downloads that from all who hold it, until it is whole and what it was said to be.

Whom to ask and what to believe is `protocol.survey`'s; which part comes from whom, the download's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from torch import Tensor

from marfl_peer.averaging.finite import is_finite
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault, Sink, StateFetched, WaitEnded
from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.peer.attester import Attester
from marfl_peer.peer.download import Download
from marfl_peer.peer.states import State, digest_of
from marfl_peer.protocol.deadlines import silence_s
from marfl_peer.protocol.messages import NoState, StateOffer, StatePart, StateRequest, StateTaken
from marfl_peer.protocol.survey import Survey, Wish
from marfl_peer.protocol.votes import Candidate, candidate_of

_OTHER_BYTES = "a state that is not what its digest says"


class CatchUp:
    """One wish at a time. `length` and `maxima_count` are those of every state of the run."""

    def __init__(
        self,
        *,
        links: Links,
        attester: Attester,
        clock: Clock,
        tell: Sink,
        length: int,
        maxima_count: int,
        in_thread: Callable[[Callable[[], str]], Awaitable[str]],
    ) -> None:
        self._links, self._attester, self._clock, self._tell = links, attester, clock, tell
        self._length, self._maxima_count = length, maxima_count
        self._in_thread = in_thread
        self._survey: Survey | None = None
        self._download: Download | None = None
        self._chosen: Candidate | None = None
        self._news = asyncio.Event()

    async def take(self, wish: Wish, *, held: State | None, deadline: float) -> State | None:
        """The state, whole and checked; `held` where that is it already, None where nobody gave it by then."""
        started = self._clock.now()
        self._survey = survey = Survey(wish, patience_s=silence_s(0.0), now=started)
        try:
            state = await self._take(survey, held, deadline)
        finally:
            self._survey = self._download = self._chosen = None
            # Also where there is no connection yet: the question may still be waiting for one.
            for peer in survey.asked:
                if self._links.is_connected(peer) or not survey.is_out(peer):
                    self._links.send(peer, StateTaken())
        now = self._clock.now()
        self._tell(
            WaitEnded(
                iteration=wish.at_least,
                round=0,
                waited_for="state",
                seconds=now - started,
                allowed_s=deadline - started,
                outcome="arrived" if state is not None else "deadline" if now >= deadline else "lost",
            )
        )
        return state

    async def _take(self, survey: Survey, held: State | None, deadline: float) -> State | None:
        while (now := self._clock.now()) < deadline:
            choice = survey.choice(now=now)
            if choice is not None:
                state = await self._get(survey, choice, held, deadline)
                if state is not None:
                    return state
                continue
            for question in survey.questions(now=now):
                self._links.send(question.to, StateRequest(at_least=question.at_least))
            if survey.is_hopeless:
                return None
            try:
                async with asyncio.timeout_at(min(deadline, survey.next_deadline())):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()
        return None

    # taking what was chosen

    async def _get(self, survey: Survey, chosen: Candidate, held: State | None, deadline: float) -> State | None:
        """The chosen state; None where its holders did not give it, who are out of the survey then."""
        iteration, digest, maxima = chosen
        is_like_held = held is not None and (held.iteration, held.maxima) == (iteration, maxima)
        if held is not None and is_like_held and await self._digest(held.vector) == digest:
            return held
        began = self._clock.now()
        download = self._download
        if download is None or self._chosen != chosen:
            download = self._download = self._new_download(iteration)
        self._chosen = chosen
        group, holders = survey.group_of(chosen), survey.holders(chosen)
        for peer in holders:
            download.add(peer)
        if not await download.run(deadline):
            for peer in survey.holders(chosen):
                if peer not in download.queue.sources:
                    survey.exclude(peer)
            return None
        given = download
        if await self._digest(download.vector) != digest:
            found = await self._from_an_honest_one(survey, download, digest, deadline)
            if found is None:
                return None
            given = found
        if not is_finite(given.vector):
            for peer in survey.holders(chosen):
                self._blame(survey, peer, "a state that is not finite")
            return None
        shares = given.queue.shares()
        self._tell(
            StateFetched(
                iteration=iteration,
                source=shares[0][0],
                sources=len(shares),
                bytes_received=given.received_bytes,
                seconds=self._clock.now() - began,
            )
        )
        return State(iteration, given.vector, maxima, group)

    async def _from_an_honest_one(
        self, survey: Survey, mixed: Download, digest: str, deadline: float
    ) -> Download | None:
        """Some source lied: takes the whole from one after the other, until it is what all of them signed."""
        self._chosen = None  # nobody else joins in
        for source in [source for source, _ in mixed.queue.shares()]:
            alone = self._download = self._new_download(mixed.iteration)
            alone.add(source)
            if not await alone.run(deadline):
                survey.exclude(source)
            elif await self._digest(alone.vector) != digest:
                self._blame(survey, source, _OTHER_BYTES)
            else:
                for liar in mixed.differing(alone):
                    self._blame(survey, liar, _OTHER_BYTES)
                return alone
        self._download = None
        return None

    def _new_download(self, iteration: int) -> Download:
        return Download(iteration=iteration, length=self._length, links=self._links, clock=self._clock)

    def _blame(self, survey: Survey, peer: PeerId, what: str) -> None:
        if survey.exclude(peer):
            self._tell(RemoteFault(code="bad_state", remote=peer, detail=what))

    async def _digest(self, vector: Tensor) -> str:
        return await self._in_thread(lambda: digest_of(vector))

    # the network's side

    def offered(self, sender: PeerId, offer: StateOffer) -> None:
        """Raises: RemoteProtocolError for an offer that is not the sender's, or of another model's state."""
        if self._survey is None:
            self._links.send(sender, StateTaken())  # to a question that is answered by now
            return
        if offer.vector_bytes != 4 * self._length or len(offer.maxima) != self._maxima_count:
            text = f"a state of {offer.vector_bytes} bytes and {len(offer.maxima)} integers"
            raise RemoteProtocolError("bad_state", f"{text}, not {4 * self._length} and {self._maxima_count}")
        self._attester.check(sender, offer)
        self._survey.offered(sender, offer)
        is_of_chosen = self._chosen == candidate_of(offer) and sender in self._survey.holders(candidate_of(offer))
        if self._download is not None and is_of_chosen:
            self._download.add(sender)
        self._news.set()

    def refused(self, sender: PeerId, refusal: NoState) -> None:
        if self._download is not None and self._download.iteration == refusal.iteration:
            self._download.drop(sender)

    def room(self, sender: PeerId, part: StatePart, length: int) -> memoryview | None:
        """Where the payload belongs; None where nobody waits for it. Raises: RemoteProtocolError."""
        return None if self._download is None else self._download.room(sender, part, length)

    def part_arrived(self, sender: PeerId, part: StatePart) -> None:
        if self._download is not None:
            self._download.arrived(sender, part)

    def back(self, peer: PeerId) -> None:
        if self._survey is not None:
            self._survey.back(peer)
            self._news.set()

    def gone(self, peer: PeerId) -> None:
        if self._survey is not None:
            self._survey.gone(peer)
            self._news.set()
        if self._download is not None:
            self._download.drop(peer)
