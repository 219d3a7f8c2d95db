"""The lines of one iteration that this peer has to do with: a matchmaking for each, made when it is first heard of.

Knows which lines the grid has and until when each may take. Cells and their walks are not its business.
"""

from __future__ import annotations

from collections.abc import Mapping

from marfl_peer.ids import Cell, Iteration, PeerId
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.lines import line_named
from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.timetable import Timetable
from marfl_peer.protocol.view import View


class Meetings:
    """`players`: the default player of every cell. `timetable`, `gone`, `base`, `speeds` are the owner's and
    change with it."""

    def __init__(
        self,
        me: PeerId,
        view: View,
        *,
        iteration: Iteration,
        players: Mapping[Cell, PeerId],
        timetable: Timetable,
        gone: set[PeerId],
        base: Base,
        speeds: Speeds,
    ) -> None:
        self._me, self._view, self._iteration, self._players = me, view, iteration, players
        self._timetable, self._gone, self._base, self._speeds = timetable, gone, base, speeds
        self._known: dict[LineName, Matchmaking] = {}

    def known(self, name: LineName) -> Matchmaking | None:
        """The matchmaking of a line, if this peer has to do with it already."""
        return self._known.get(name)

    def at(self, name: LineName) -> Matchmaking | None:
        """The matchmaking of a line, with its limits of now; None for a line that the iteration does not have."""
        if name not in self._known:
            line = line_named(name, self._view, self._players) if name.iteration == self._iteration else None
            if line is None:
                return None
            self._known[name] = Matchmaking(self._me, line, gone=self._gone, base=self._base, speeds=self._speeds)
        return self[name]

    def __getitem__(self, name: LineName) -> Matchmaking:
        """The same of a line that this peer has to do with already. Raises: KeyError."""
        meeting = self._known[name]
        meeting.limits = self._timetable.limits(name.round)
        return meeting

    def all(self) -> list[Matchmaking]:
        """Every matchmaking, round by round, with its limits of now."""
        return [self[name] for name in sorted(self._known)]

    def next_deadline(self) -> float | None:
        """When the first of them wants to be called though nothing happened."""
        times = [self[name].next_deadline() for name in self._known]
        return min((time for time in times if time is not None), default=None)
