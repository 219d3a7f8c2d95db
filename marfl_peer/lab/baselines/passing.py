"""What the exchanges round a ring have in common: members stand in the order of their cells, everybody receives from
its left neighbour alone and sends to its right one alone, and nothing before that one is ready.

Knows neighbours and spans; never sees a byte. A span that is to be sent is named at once, with the memory that it has
then; until the neighbour is ready it waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SendSpan, SignChunk

Stage = Literal["scatter", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Add this peer's share of floats [start, stop) to the sum that came, or begin it (`is_first`). `is_last`: now it
    is the mean."""

    start: int
    stop: int
    is_first: bool
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChunk:
    """`owner`'s chunk of the result came through others' hands: is it what its digest says?"""

    owner: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class MaySend:
    """The right neighbour is ready: what was queued for it may go out, and all that comes after it."""

    to: PeerId


PassingInstruction = SendSpan | MaySend | Add | Reduce | SignChunk | CheckChunk | CompleteExchange


class Passing:
    """One member's place in the ring. Alone it is its own neighbour, and passes nothing on."""

    def __init__(self, me: PeerId, members: Sequence[PeerId]) -> None:
        if me not in members:
            raise LocalProtocolError("an exchange without this peer")
        at = members.index(me)
        self.left, self.right = members[at - 1], members[(at + 1) % len(members)]
        self._awaited = {peer for peer in members if peer != me}

    @property
    def all_are_ready(self) -> bool:
        return not self._awaited

    def ready(self, peer: PeerId) -> list[PassingInstruction]:
        """`peer` has its buffers."""
        if peer not in self._awaited:
            return []
        self._awaited.remove(peer)
        return [MaySend(to=peer)] if peer == self.right else []

    def on(self, stage: Stage, span: Span) -> SendSpan:
        """To the right neighbour, as soon as that may be."""
        return SendSpan(to=(self.right,), stage=stage, start=span.start, stop=span.stop)
