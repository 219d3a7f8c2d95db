"""What this peer does when it meets one that does not count in its view, or is thought to be lost.

Two peers whose running views are without each other are of two parts of the swarm: these merge. One that still counts
the other, which has gone on without it, was away: it hears that it is lost, and comes back as a late peer does.
Knows peers that are connected; how they are found is the prober's business.
"""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.messages import Whereabouts


class Reunion:
    """`on_behind(iteration)`: the swarm is in that iteration, and has gone on without this peer.

    `on_beat(peer, iteration)`: that member of this peer's view is in that iteration.

    `on_unheard(iteration)`: it is there, and what this peer said against its loss did not reach it in time.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        roster: Roster,
        links: Links,
        on_behind: Callable[[int], None],
        on_beat: Callable[[PeerId, int], None],
        on_unheard: Callable[[int], None],
    ) -> None:
        self.me = me
        self._roster, self._links = roster, links
        self._on_behind, self._on_beat, self._on_unheard = on_behind, on_beat, on_unheard

    def look(self) -> None:
        """Meets everybody that is connected."""
        for peer in self._links.connected():
            self.met(peer)

    def met(self, peer: PeerId) -> None:
        """A connection to a peer is there."""
        roster = self._roster
        if not self._is_free():
            return
        status = roster.membership.status(peer)
        if roster.is_stranger(peer):
            self._links.send(peer, Whereabouts(iteration=roster.iteration))
        elif status is not None and status.kind == "lost":
            roster.send_all(peer)

    def beat(self, sender: PeerId, iteration: int) -> None:
        """A heartbeat says where `sender` is: nobody else may have anything to say to a peer that was left behind."""
        if self._is_free() and not self._roster.is_stranger(sender):
            self._on_beat(sender, iteration)

    def heard(self, sender: PeerId, message: Whereabouts) -> None:
        """`sender` runs in a view without this peer. The lower id of two states the merge, so that there is one."""
        roster = self._roster
        if not self._is_free():
            return
        if not roster.is_stranger(sender):
            own = roster.own_status()
            if own is not None and own.kind == "joined" and own.effective <= message.iteration:
                # Nobody lets an event into a view that runs: the same word would go unheard for ever.
                self._on_unheard(message.iteration)
            roster.send_all(sender, answer_wanted=True)
            if sender in roster.view(roster.iteration).cell_of:
                self._on_behind(message.iteration)
        elif self.me < sender:
            roster.state_merge(sender, message.iteration)
        else:
            self._links.send(sender, Whereabouts(iteration=roster.iteration))

    def _is_free(self) -> bool:
        """Parts merge one after the other: until the first common iteration is over, some may not be there yet."""
        return self._roster.is_running() and not self._roster.is_merging()
