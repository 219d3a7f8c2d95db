"""The results that this peer holds of an iteration's lines, with the seals that prove them, and what late peers get.

Knows what a result is made of when it goes from one peer to another; not when it is due, nor which cells go on with it.
"""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.peer.fetching import Fetched, Fetching
from marfl_peer.peer.flows import AnyTransfer
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.instructions import Instruction
from marfl_peer.protocol.messages import Ballot, Fetch, LineName, NoResult, ResultOffer, ResultPart
from marfl_peer.protocol.seats import Holding

OnEnd = Callable[[Fetched | None], None]
Source = AnyTransfer | Fetched
"""What a result came from: an exchange that this peer was in, or another peer."""


class Results:
    """`fetching` is closed with it; the memory of what is held is that of `vectors`."""

    def __init__(self, *, aggregation: AnyAggregation, vectors: Vectors, fetching: Fetching, links: Links) -> None:
        self._aggregation, self._vectors, self._fetching, self._links = aggregation, vectors, fetching, links
        self._sources: dict[LineName, Source] = {}
        self._unreleased: set[LineName] = set()

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def are_awaited(self) -> bool:
        """Whether somebody may still ask for one."""
        return bool(self._unreleased)

    def exchanged(self, transfer: AnyTransfer, *, now: float) -> list[Instruction]:
        """The exchange of a ballot is complete: holds its result, if it still is what the line waits for."""
        name, ballot = transfer.name, transfer.ballot
        if not self._aggregation.awaits(name, ballot):
            return []
        self._vectors[name] = transfer.result
        self._sources[name] = transfer
        return self._aggregation.exchanged(name, ballot, now=now)

    def fetched(self, name: LineName, ballot: Ballot, fetched: Fetched | None, *, now: float) -> list[Instruction]:
        """What `fetch` ended with: holds the result, if it still is what the line waits for."""
        if fetched is None or fetched.offer is None:
            return self._aggregation.fetch_failed(name, now=now)
        if not self._aggregation.awaits(name, ballot):
            return []
        offer = fetched.offer
        self._vectors[name] = fetched.vector
        self._sources[name] = fetched
        members = tuple(PeerId(member) for member in offer.members)
        holding = Holding(weight=offer.weight, sums=offer.sums, maxima=offer.maxima)
        return self._aggregation.fetched(name, ballot, members, holding, now=now)

    def await_questions(self, name: LineName) -> None:
        """Others on the line may not have the result yet."""
        self._unreleased.add(name)

    def release(self, name: LineName) -> None:
        """Everybody on the line has the result."""
        self._unreleased.discard(name)

    def rest(self) -> None:
        """Nobody asks any more."""
        self._sources.clear()

    def close(self) -> None:
        self._fetching.close()

    # taking

    def fetch(self, name: LineName, ballot: Ballot, sources: tuple[PeerId, ...], on_end: OnEnd) -> None:
        """Calls `on_end` with what was fetched, which is not held yet, or with None when no source gave it."""
        self._fetching.fetch(name, ballot, sources, on_end)

    def room(self, sender: PeerId, part: ResultPart, length: int) -> memoryview | None:
        """Where a part's payload belongs; None where nobody waits for it. Raises: RemoteProtocolError."""
        return self._fetching.room(sender, part, length)

    def part_arrived(self, sender: PeerId, part: ResultPart, length: int) -> None:
        self._fetching.part_arrived(sender, part, length)

    def gone(self, peer: PeerId) -> None:
        self._fetching.gone(peer)

    # giving

    def heard(self, sender: PeerId, message: Fetch | ResultOffer | NoResult) -> None:
        """A question for a result, or the answer to this peer's own."""
        match message:
            case Fetch():
                self._serve(sender, message)
            case ResultOffer():
                self._fetching.offered(sender, message)
            case NoResult():
                self._fetching.refused(sender, message.name, message.ballot)

    def _serve(self, sender: PeerId, message: Fetch) -> None:
        name = message.name
        stand = self._aggregation.result_of(name)
        source = self._sources.get(name)
        if stand is None or source is None or self._aggregation.completed(name) != message.ballot:
            self._links.send(sender, NoResult(name=name, ballot=message.ballot))
            return
        if isinstance(source, Fetched):
            assert source.offer is not None
            members, chunks = tuple(PeerId(member) for member in source.offer.members), source.offer.chunks
        else:
            members, chunks = source.members, tuple(source.digests[start] for start in sorted(source.digests))
        offer = ResultOffer(
            name=name,
            ballot=message.ballot,
            weight=stand.holding.weight,
            sums=stand.holding.sums,
            maxima=stand.holding.maxima,
            members=members,
            chunks=chunks,
        )
        self._fetching.serve(sender, offer, source.vector if isinstance(source, Fetched) else source.result)
