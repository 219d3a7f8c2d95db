"""The exchanges that run in an iteration, one for each ballot that was agreed: what comes is routed to its own.

Knows where bytes of a ballot belong; not why a ballot begins or ends, nor what follows from its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.ids import PeerId
from marfl_peer.peer.flows import AnyTransfer, Flow, Order
from marfl_peer.peer.transfer import TransferTools
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Part, Ready

Attempt = tuple[LineName, Ballot]

MAX_EARLY = 256
"""Ballots that others were ready for before their proposal reached this peer."""


class Attempts:
    """Their results are memory of the pool, and the caller's once they are complete."""

    def __init__(
        self,
        *,
        me: PeerId,
        tools: TransferTools,
        flow: Flow,
        borders: tuple[int, ...] = (),
    ) -> None:
        self._me, self._tools, self._pool, self._flow = me, tools, tools.pool, flow
        self._borders = borders
        self._transfers: dict[Attempt, AnyTransfer] = {}
        self._early_ready: dict[Attempt, set[PeerId]] = {}

    def __len__(self) -> int:
        return len(self._transfers)

    def with_member(self, peer: PeerId) -> list[Attempt]:
        """The ballots that a peer is a member of."""
        return [attempt for attempt, transfer in self._transfers.items() if peer in transfer.members]

    def open(
        self,
        attempt: Attempt,
        members: Sequence[Member],
        contribution: Tensor,
        *,
        coder: Coder | None = None,
        shares: Sequence[int] = (),
        on_complete: Callable[[AnyTransfer], None],
        on_culprit: Callable[[PeerId], None],
    ) -> None:
        """Begins the exchange of a ballot, to which this peer brings `contribution` [n].

        `coder`: see Transfer. `shares`: see OpenExchange.

        `on_complete(transfer)`: its result is whole and sealed. `on_culprit(peer)`: what it sent cannot be averaged.
        """
        name, ballot = attempt
        uplink = self._tools.links.uplink

        def complete() -> None:
            uplink.ends(attempt)
            on_complete(self._transfers[attempt])

        uplink.begins(attempt, [PeerId(member.peer_id) for member in members])
        order = Order(
            tools=self._tools,
            name=name,
            ballot=ballot,
            me=self._me,
            members=members,
            contribution=contribution,
            result=self._pool.take(),
            coder=coder,
            borders=self._borders,
            shares=shares,
            on_complete=complete,
            on_culprit=on_culprit,
        )
        self._transfers[attempt] = transfer = self._flow.transfer(order)
        transfer.start()
        for peer in sorted(self._early_ready.pop(attempt, ())):
            transfer.ready(peer)

    def abort(self, attempt: Attempt) -> None:
        """Forgets what a ballot received; nothing where it never began."""
        transfer = self._transfers.pop(attempt, None)
        if transfer is not None:
            self._tools.links.uplink.ends(attempt)
            transfer.abort()

    def settle(self, name: LineName) -> None:
        """A line is over here: its exchange keeps the result, and what is still to be sent, alone."""
        for (line, _), transfer in self._transfers.items():
            if line == name:
                transfer.settle()

    def rest(self) -> None:
        """Nobody needs an exchange any more."""
        self.close()
        self._transfers.clear()

    def close(self) -> None:
        for attempt, transfer in self._transfers.items():
            self._tools.links.uplink.ends(attempt)
            transfer.abort()

    # the network's side

    def ready(self, sender: PeerId, message: Ready) -> None:
        """A member has its buffers, perhaps before this peer heard of the ballot."""
        attempt = (message.name, message.ballot)
        transfer = self._transfers.get(attempt)
        if transfer is not None:
            transfer.ready(sender)
        elif len(self._early_ready) < MAX_EARLY:
            self._early_ready.setdefault(attempt, set()).add(sender)

    def room(self, sender: PeerId, part: Part, length: int) -> Room | None:
        """Where a part's payload belongs; None where no transfer waits for it. Raises: RemoteProtocolError."""
        transfer = self._transfers.get((part.name, part.ballot))
        return None if transfer is None else transfer.room(sender, part, length)

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        transfer = self._transfers.get((digest.name, digest.ballot))
        if transfer is not None:
            transfer.digest_arrived(sender, digest)
