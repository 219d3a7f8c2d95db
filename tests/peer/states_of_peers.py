"""The agreed state and catching up, put together for a peer that only averages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from averaging_peers import RUN, Averager

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId
from marfl_peer.peer.attester import Attester
from marfl_peer.peer.catchup import CatchUp
from marfl_peer.peer.states import States
from marfl_peer.protocol.survey import Wish


async def in_thread(work: Callable[[], str]) -> str:
    return await asyncio.to_thread(work)


def states_of(peer: Averager) -> States:
    states = States(links=peer.links, attester=Attester(peer.identity, RUN), in_thread=in_thread)
    peer.switchboard.states = states
    return states


def catch_up_of(peer: Averager, length: int, maxima_count: int = 0) -> CatchUp:
    catching_up = CatchUp(
        links=peer.links,
        attester=Attester(peer.identity, RUN),
        clock=Clock(),
        tell=peer.facts.append,
        length=length,
        maxima_count=maxima_count,
        in_thread=in_thread,
    )
    peer.switchboard.catching_up = catching_up
    return catching_up


def wish_of(sources: Sequence[Averager], at_least: int, *, last: int = 1000, digest: str = "") -> Wish:
    """Everybody counts who is among the sources."""
    known: list[PeerId] = [source.me for source in sources]
    return Wish(at_least=at_least, last=last, sources=known, digest=digest, counts=lambda peer: peer in known)
