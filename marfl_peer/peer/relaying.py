"""How the events of the first view come to its members: from the founder or, in a large swarm, from one that has them.

Whoever is to have them from a relay hears so from the founder before the start, and asks the founder itself if they do
not come: nobody hangs on a relay that is gone. Who is whose relay is the rule of `protocol.relay`; who enters, and
when, is the entrance's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from marfl_peer.ids import Iteration, PeerId
from marfl_peer.network.links import Links
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.messages import Relayed, Start
from marfl_peer.protocol.relay import RELAY_WIDTH, RelayTree

RELAY_PATIENCE_S = 2.0
"""How long after the start a peer waits for its relay. It waits as long again for one that is connected, and thus
alive: where all are slow, all who asked the founder would make it send everything to everybody after all."""


class Relaying:
    """`is_awaited()`: whether this peer is still on its way in, by the start of a founder that it accepted."""

    def __init__(self, *, me: PeerId, roster: Roster, links: Links, is_awaited: Callable[[], bool]) -> None:
        self.me = me
        self._roster, self._links, self._is_awaited = roster, links, is_awaited
        self._founder: PeerId | None = None
        self._relay: PeerId | None = None
        self._timer: asyncio.TimerHandle | None = None

    # the founder's side

    def start(self, start: Start, accepted: Collection[PeerId]) -> None:
        """Starts the swarm with those that accepted."""
        # Who is dial-only is connected to the founder, but not yet to anybody who could pass something on.
        near = self._roster.view(Iteration(1)).dial_only
        tree = RelayTree(self.me, set(accepted) - near, width=RELAY_WIDTH)
        own = {*tree.children(self.me), *near}
        for peer in accepted:
            # These words are short, and come first: events from a relay may follow at once, and are to be believed.
            if peer not in own:
                self._links.send(peer, Relayed(peer_id=tree.parent(peer)))
                self._links.send(peer, start)
        for peer in accepted:
            if peer in own:
                self._roster.send_all(peer)
                self._links.send(peer, start)

    # the others' side

    def is_under_way(self) -> bool:
        """Whether events are to come over a relay: their view counts this peer, and has been started."""
        return self._relay is not None and self._is_awaited()

    def told(self, founder: PeerId, relay: PeerId) -> None:
        """The founder says that this peer has the events from `relay`."""
        self._founder, self._relay = founder, relay
        self._roster.hear_also(relay)

    def begun(self, founder: PeerId) -> None:
        """The founder has started the swarm."""
        self._founder = founder
        if self._relay is not None:
            self._wait(self._late)

    def pass_on(self, members: Collection[PeerId]) -> None:
        """The events of the first view are here, of which these members listen."""
        self.close()
        assert self._founder is not None
        if self.me in members:
            for peer in RelayTree(self._founder, members, width=RELAY_WIDTH).children(self.me):
                self._roster.send_all(peer)

    def gone(self, peer: PeerId) -> None:
        """A peer that cannot be reached passes nothing on."""
        if peer == self._relay:
            self._ask()

    def forget(self) -> None:
        """Another founder was accepted."""
        self.close()
        self._relay = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._relay is not None and self._links.is_connected(self._relay):
            self._wait(self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        """Asks the founder for the events."""
        self.close()
        if self._founder is None or self._relay is None or not self._is_awaited():
            return
        # What came may be of another swarm: a relay that left this one for it knows nothing better.
        self._roster.enter_by(self._founder)
        self._roster.hear_also(self._relay)
        self._roster.send_all(self._founder, answer_wanted=True)

    def _wait(self, then: Callable[[], None]) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(RELAY_PATIENCE_S, then)
