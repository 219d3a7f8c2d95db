"""From group key to group: announces this peer under the keys of its lines, and finds who else does.

The DHT is asked only after a change of view touched a line; agreed groups live on from iteration to iteration. What
the DHT does not know yet, the members' own records in the view do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from marfl_peer.clock import Clock
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.ids import Cell, DhtKey, PeerId, Round, RunId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.statements import LIFETIME_S
from marfl_peer.protocol.grid import group_key
from marfl_peer.protocol.lines import in_order_of_lead
from marfl_peer.protocol.placement import cells_of, default_players
from marfl_peer.protocol.records import GroupBody, Record, decode_body, encode_body
from marfl_peer.protocol.view import View


class Groups:
    def __init__(
        self,
        *,
        me: PeerId,
        run_id: RunId,
        identity: Identity,
        dht: DhtNode,
        links: Links,
        clock: Clock,
        address: Callable[[], tuple[str, int]],
    ) -> None:
        self.me, self.run_id = me, run_id
        self.lookups = 0
        self._identity, self._dht, self._links, self._clock = identity, dht, links, clock
        self._address = address
        self._lines: dict[tuple[int, DhtKey], tuple[PeerId, ...]] = {}
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    def key(self, view: View, cell: Cell, round: Round) -> DhtKey:
        """The group key of a cell's line: the coordinates without the axis that this round averages."""
        return group_key(self.run_id, view.grid.shape, round, view.grid.coordinates(cell))

    def meet(self, view: View, cell: Cell, round: Round) -> tuple[PeerId, ...]:
        """The peers that meet on a cell's line; dials those that are not connected, where they are known to be now: who
        leads them first, since it waits for all.

        Nobody waits for the DHT here: `prepare` asked it when the view changed, and just then it may be slow.
        """
        mates = _mates(view, cell, round)
        for mate in in_order_of_lead(mates, view.dial_only):
            self._links.connect(mate)
        return mates

    async def find(self, view: View, cell: Cell, round: Round) -> tuple[PeerId, ...]:
        """The same, after the DHT was told and asked; that happens only if the line is not the one it was."""
        mates, key = _mates(view, cell, round), self.key(view, cell, round)
        if self._lines.get((round, key)) != mates:
            self._lines[round, key] = mates
            self.lookups += 1
            await self._announce(key, view, cell)
            await self._look_up(key, mates)
        return self.meet(view, cell, round)

    def prepare(self, view: View) -> None:
        """Finds the groups of all rounds and cells of this peer, beside the local update."""
        self._forget_lines_left(view)
        for cell in cells_of(view, self.me):
            for round in range(1, view.grid.rounds + 1):
                self._tasks.start(self._find(view, cell, Round(round)))

    async def _find(self, view: View, cell: Cell, round: Round) -> None:
        await self.find(view, cell, round)

    def _forget_lines_left(self, view: View) -> None:
        """Withdraws the announcements of lines that this peer's cells are no longer on."""
        mine = {
            (round, self.key(view, cell, Round(round)))
            for cell in cells_of(view, self.me)
            for round in range(1, view.grid.rounds + 1)
        }
        for line in sorted(set(self._lines) - mine):
            del self._lines[line]
            self._tasks.start(self._withdraw(line[1]))

    async def _announce(self, key: DhtKey, view: View, cell: Cell) -> None:
        host, port = self._address()
        if not port:
            return  # it is for others to be dialled by this peer, which finds them in the view
        body = GroupBody(host=host, port=port, cell=cell, iteration=view.iteration)
        record = self._identity.sign_record(
            key=key,
            body=encode_body(body),
            expires_at=int(self._clock.wall()) + LIFETIME_S,
            view_digest=bytes.fromhex(view.digest),
        )
        await self._publish(record, "group")

    async def _withdraw(self, key: DhtKey) -> None:
        record = self._identity.sign_record(key=key, body=b"", expires_at=int(self._clock.wall()) + LIFETIME_S)
        await self._publish(record, "withdraw")

    async def _publish(self, record: Record, purpose: Literal["group", "withdraw"]) -> None:
        try:
            await self._dht.publish(record, purpose=purpose)
        except DhtError:
            # The view's own records lead to the group as well; the next change announces again.
            return

    async def _look_up(self, key: DhtKey, mates: tuple[PeerId, ...]) -> None:
        for record in await self._dht.lookup(key, purpose="group"):
            peer = PeerId(record.peer_id)
            if peer not in mates or peer == self.me or record.is_tombstone:
                continue
            try:
                body = decode_body(record.body)
            except RemoteProtocolError:
                continue
            if isinstance(body, GroupBody):
                self._links.learn(peer, (body.host, body.port))


def _mates(view: View, cell: Cell, round: Round) -> tuple[PeerId, ...]:
    """The players of a cell's line, in the order of its cells."""
    players = default_players(view)
    return tuple(dict.fromkeys(players[other] for other in view.grid.line(cell, round)))
