"""Who plays which cell: peers their own, stand-ins the empty ones, and who takes over from a lost peer.

A function of the view alone: who is alive, and so who really takes over, is for matchmaking to find out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from marfl_peer.ids import Cell, PeerId, Round
from marfl_peer.protocol.view import View

_Place = tuple[int, ...]


def default_players(view: View) -> dict[Cell, PeerId]:
    """The player of every cell while nobody is lost; empty if the view has no members.

    A peer plays its own cell. The j-th empty cell is played, with weight 0 at the start, by the peer of the
    j-th occupied one or, going on round from there, by the first that stands in for no more than its share and
    plays no cell on a line with it. Only where nobody is so far apart does one play two cells of a line.
    """
    return {Cell(cell): peer for cell, peer in enumerate(_players(view))}


def cells_of(view: View, peer: PeerId) -> tuple[Cell, ...]:
    """The cells that `peer` plays while nobody is lost, its own first; none if it is not in the view."""
    own = view.cell_of.get(peer)
    if own is None:
        return ()
    standing_in = (cell for cell, player in default_players(view).items() if player == peer and cell != own)
    return (own, *standing_in)


def candidates(view: View, cell: Cell, round: Round) -> tuple[PeerId, ...]:
    """Who can take over `cell` in `round` when its default player is gone, best first, without that player.

    All of them hold the cell's state if they completed the round before: first the others of its line of that
    round, then everybody equal to it on the axes still to be averaged; in each, the peers of occupied cells
    come before those who stand in for an empty one, and lower ids first. Nobody can take over in round 1,
    before anything was exchanged: the cell then starts with weight 0.

    Raises: LocalProtocolError for a cell or round that the view's grid does not have.
    """
    equals = view.grid.same_state(cell, round)
    if round == 1:
        return ()
    players = _players(view)
    line = view.grid.line(cell, Round(round - 1))
    ranked = [*_holders(view, line, players), *_holders(view, equals, players)]
    return tuple(peer for peer in dict.fromkeys(ranked) if peer != players[cell])


def _holders(view: View, cells: Iterable[Cell], players: tuple[PeerId, ...]) -> list[PeerId]:
    """The players of `cells`: those who sit in one of them, then those who stand in, each ascending by id."""
    seated = {peer for cell in cells if (peer := view.peer_at[cell]) is not None}
    standing_in = {players[cell] for cell in cells} - seated
    return [*sorted(seated), *sorted(standing_in)]


@lru_cache(maxsize=16)
def _players(view: View) -> tuple[PeerId, ...]:
    seated = [peer for peer in view.peer_at if peer is not None]
    if not seated:
        return ()
    places = {peer: [view.grid.coordinates(view.cell_of[peer])] for peer in seated}
    empty = [Cell(cell) for cell, peer in enumerate(view.peer_at) if peer is None]
    stand_ins = {cell: _stand_in(view.grid.coordinates(cell), turn, seated, places) for turn, cell in enumerate(empty)}
    return tuple(stand_ins[Cell(cell)] if peer is None else peer for cell, peer in enumerate(view.peer_at))


def _stand_in(here: _Place, turn: int, seated: list[PeerId], places: dict[PeerId, list[_Place]]) -> PeerId:
    """Who plays the empty cell at `here`, the `turn`-th of them; noted in `places`.

    Cells of one player on a line would be summed before their line is, in another order than in parallel lines, and
    equal inputs would give unequal bits.
    """
    share = 1 + turn // len(seated)
    player = seated[turn % len(seated)]
    fewest = 0
    for step in range(len(seated)):
        peer = seated[(turn + step) % len(seated)]
        played = places[peer]
        if (fewest and len(played) >= fewest) or not all(_are_apart(here, there) for there in played):
            continue
        player, fewest = peer, len(played)
        if fewest <= share:
            break
    places[player].append(here)
    return player


def _are_apart(one: _Place, other: _Place) -> bool:
    return sum(map(int.__ne__, one, other)) > 1
