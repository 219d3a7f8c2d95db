"""Bytes written to and read from sockets, by what they were for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from marfl_peer.facts import ByteKind
from marfl_peer.protocol.messages import (
    ChunkDigest,
    Message,
    ModelOffer,
    ModelPart,
    Part,
    ResultOffer,
    ResultPart,
    StateOffer,
    StatePart,
)

KINDS: tuple[ByteKind, ...] = ("tensor", "control", "dht", "state")


_KIND_OF: dict[type[Message], ByteKind] = {
    **dict.fromkeys((Part, ResultPart, ResultOffer, ChunkDigest, ModelOffer, ModelPart), "tensor"),
    **dict.fromkeys((StatePart, StateOffer), "state"),
}


@dataclass(slots=True)
class Traffic:
    """Counters of one peer; what the DHT sent is asked from `dht_sent` when it is read."""

    sent: dict[ByteKind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    received_bytes: int = 0
    dht_sent: Callable[[], int] = lambda: 0

    def wrote(self, message: Message, count: int) -> None:
        """A frame of that many bytes, header and payload alike."""
        self.sent[_KIND_OF.get(type(message), "control")] += count

    def totals(self) -> dict[str, int]:
        """Bytes sent so far by kind."""
        return {kind: self.dht_sent() if kind == "dht" else self.sent[kind] for kind in KINDS}
