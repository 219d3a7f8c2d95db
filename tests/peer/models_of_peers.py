"""Teaching and hearing, put together for peers that only average: the one gives, the other takes, over real links."""

from __future__ import annotations

import torch
from averaging_peers import Averager, view_of
from torch import Tensor

from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.parcel import Packing
from marfl_peer.averaging.codecs.quantised import INT8
from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId, Round
from marfl_peer.peer.hearing import Hearing
from marfl_peer.peer.teaching import Teaching, Ware
from marfl_peer.protocol.mates import Mates, line_of
from marfl_peer.protocol.messages import (
    LineName,
    ModelMessage,
    ModelOffer,
    ModelPart,
    ModelPull,
    ModelRequest,
    NoModel,
)

LENGTH = 150_000
FULL = Packing(Layout((Section(0, LENGTH, FLOAT32, is_delta=False),)))
SHORT = Packing(Layout((Section(0, LENGTH, INT8, is_delta=True),)))
BASE = torch.ones(LENGTH)


class Desk:
    """Stands for a peer's `distilling`: its teaching, its hearing while there is one, and what is neither's."""

    def __init__(self, peer: Averager) -> None:
        self.peer = peer
        self.teaching = Teaching(links=peer.links, full=FULL, short=SHORT)
        self.hearing: Hearing | None = None
        self.heard_models: dict[PeerId, Tensor] = {}
        self.answers: list[ModelMessage] = []
        self.counts = True
        peer.switchboard.distilling = self  # type: ignore[assignment]

    def offer(self, name: LineName, mates: list[PeerId], *, base: str = "") -> None:
        encoded = SHORT.wrap(self.peer.own, BASE, salt="") if base else None
        self.teaching.offer(Ware(ModelOffer(name=name, base=base), self.peer.own.view(torch.uint8), encoded), mates)

    def listen(self, name: LineName, mates: list[PeerId], *, base: str = "", wanted: int | None = None) -> Hearing:
        self.hearing = Hearing(
            name,
            Mates(mates, wanted=wanted),
            base=base,
            full=FULL,
            short=SHORT,
            hear=self.hear,
            links=self.peer.links,
            clock=Clock(),
        )
        return self.hearing

    async def hear(self, mate: PeerId, packing: Packing, parcel: Tensor) -> bool:
        self.heard_models[mate] = packing.unwrap(parcel, BASE)
        return self.counts

    def heard(self, peer: PeerId, message: ModelMessage, payload_bytes: int) -> None:
        match message:
            case ModelRequest():
                self.teaching.asked(peer, message)
            case ModelPull():
                self.teaching.pulled(peer, message)
            case _ if self.hearing is None:
                self.answers.append(message)
            case ModelOffer():
                self.hearing.offered(peer, message)
            case ModelPart():
                self.hearing.arrived(peer, message, payload_bytes)
            case NoModel():
                self.hearing.gone(peer)

    def room(self, peer: PeerId, part: ModelPart, length: int) -> memoryview | None:
        return None if self.hearing is None else self.hearing.room(peer, part, length)

    def gone(self, peer: PeerId) -> None:
        self.teaching.gone(peer)
        if self.hearing is not None:
            self.hearing.gone(peer)

    def absent(self, peer: PeerId, until: int) -> None: ...

    def interrupted(self, peer: PeerId) -> None:
        if self.hearing is not None:
            self.hearing.interrupted(peer)


def name_of(peers: list[Averager], iteration: int = 1) -> LineName:
    """The line that all of them are on."""
    return line_of(view_of(peers, len(peers), iteration), peers[0].me, Round(1))[0]
