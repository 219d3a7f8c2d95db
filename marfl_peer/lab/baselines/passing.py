"""What the exchanges round a ring have in common: members stand in the order of their cells, everybody receives from its
left neighbour alone and sends to its right one alone, and nothing before that one is ready.

Knows neighbours and spans; never sees a byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SendSpan, SignChunk

Stage = Literal["scatter", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Add this peer's share of floats [start, stop) to the sum that came, or begin it (`is_first`). `is_last`: now it is
    the mean."""

    start: int
    stop: int
    is_first: bool
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChunk:
    """`owner`'s chunk of the result came through others' hands: is it what its digest says?"""

    owner: PeerId


PassingInstruction = SendSpan | Add | Reduce | SignChunk | CheckChunk | CompleteExchange


class Passing:
    """One member's place in the ring. Alone it is its own neighbour, and passes nothing on."""

    def __init__(self, me: PeerId, members: Sequence[PeerId]) -> None:
        if me not in members:
            raise LocalProtocolError("an exchange without this peer")
        at = members.index(me)
        self.left, self.right = members[at - 1], members[(at + 1) % len(members)]
        self._awaited = {peer for peer in members if peer != me}
        self._held: list[SendSpan] = []

    @property
    def all_are_ready(self) -> bool:
        return not self._awaited

    def ready(self, peer: PeerId) -> list[SendSpan]:
        """`peer` has its buffers. Returns what was held back for it."""
        self._awaited.discard(peer)
        if peer != self.right:
            return []
        held, self._held = self._held, []
        return held

    def on(self, stage: Stage, spans: Iterable[Span]) -> list[SendSpan]:
        """To the right neighbour: now, or when it is ready."""
        steps = [SendSpan(to=self.right, stage=stage, start=span.start, stop=span.stop) for span in spans]
        if self.right not in self._awaited:
            return steps
        self._held += steps
        return []
