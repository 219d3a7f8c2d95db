"""The books of a run: what every cell is worth at every player, worked out from the ballots that completed.

A second account beside the product's own walks and vectors: from the updates that were brought to round 1, by the rules
of the grid. `counted` says how much of each player's update is in a value; its entries add up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from marfl_peer.ids import Cell, Round
from marfl_peer.lab.simulator.invariants.scene import Agreed, Held, Life, Scene
from marfl_peer.lab.simulator.invariants.sight import Vector
from marfl_peer.protocol.messages import Ballot, LineName
from marfl_peer.protocol.view import View

Exchange = tuple[LineName, Ballot, str]
"""With the digest of the view."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Worth:
    """What a cell is worth. `vector` [n], None where the weight is 0 and nobody cares.

    `is_whole`: no line on the way to it went without a cell after round 1, and none was given up.
    """

    weight: int
    vector: Vector | None
    counted: Mapping[int, float]
    is_whole: bool = True


NOTHING = Worth(weight=0, vector=None, counted={})


@dataclass(slots=True, eq=False)
class Book:
    """One life's, for one iteration under one view. `results`: None for a line that was given up."""

    own: Worth | None = None
    results: dict[LineName, Worth | None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Deal:
    """One exchange: what was brought for each cell, and what should have come out."""

    brought: dict[int, Worth] = field(default_factory=dict)
    agreed: set[str] = field(default_factory=set)
    result: Worth | None = None
    carried: dict[str, Vector] = field(default_factory=dict)
    """Where values were encoded: what rounding at each member added to the mean."""
    is_vague: bool = False
    """Whether a cell was taken over that its player holds several values for, which rounding made different."""
    expected: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None


class Ledger:
    """Shown every scene before the checkers are."""

    def __init__(self) -> None:
        self._books: dict[tuple[Life, int, str], Book] = {}
        self._deals: dict[Exchange, Deal] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Agreed():
                self._agreed(scene)
            case Held():
                self._held(scene)
            case _:
                pass

    # what the checkers ask

    def deal(self, name: LineName, ballot: Ballot, view: View) -> Deal:
        return self._deals.setdefault((name, ballot, view.digest), Deal())

    def own(self, life: Life, iteration: int, view: View) -> Worth | None:
        """What a life brought to round 1 of its own."""
        return self._book(life, iteration, view).own

    def worth(self, life: Life, iteration: int, view: View, cell: int, round: int) -> Worth | None:
        """What `cell` is worth at the start of `round` at this player; None if it cannot know."""
        return next(self.worths(life, iteration, view, cell, round), None)

    def worths(self, life: Life, iteration: int, view: View, cell: int, round: int) -> Iterator[Worth]:
        """The same; where lines were given up the player may also go by another cell that is equal from there on."""
        book = self._book(life, iteration, view)
        if round == 1:
            if book.own is not None or cell != view.cell_of.get(life.peer_id):
                yield book.own if book.own is not None and cell == view.cell_of.get(life.peer_id) else NOTHING
            return
        before = Round(round - 1)
        name = _named(view, iteration, Cell(cell), before)
        if name in book.results:
            result = book.results[name]
            if result is not None and result.weight:
                yield result
                return
            for kept in self.worths(life, iteration, view, cell, before):
                yield replace(kept, is_whole=False) if result is None else replace(kept, weight=0)
        for equal in view.grid.same_state(Cell(cell), Round(round)):
            other = _named(view, iteration, equal, before)
            result = book.results.get(other)
            if result is not None:
                yield result

    # how the books are kept

    def _book(self, life: Life, iteration: int, view: View) -> Book:
        return self._books.setdefault((life, iteration, view.digest), Book())

    def _agreed(self, scene: Agreed) -> None:
        life, name, view = scene.life, scene.name, scene.view
        deal = self.deal(name, scene.ballot, view)
        deal.agreed.add(life.peer_id)
        seats = [seat for member in scene.members if member.peer_id == life.peer_id for seat in member.seats]
        self._bring(scene)
        for seat in seats:
            found = list(self.worths(life, name.iteration, view, seat.cell, name.round))
            fitting = [worth for worth in found if worth.weight == seat.weight]
            if found:
                deal.brought[seat.cell] = (fitting or found)[0]
                deal.is_vague |= any(_differ(worth, fitting[0]) for worth in fitting)
        cells = set(view.grid.line(Cell(name.line), Round(name.round)))
        self._settle(deal, scene, cells)

    def _bring(self, scene: Agreed | Held) -> None:
        if scene.own is not None:
            weight, vector = scene.own
            own = Worth(weight=weight, vector=vector, counted={scene.life.player.index: 1.0})
            self._book(scene.life, scene.name.iteration, scene.view).own = own

    def _settle(self, deal: Deal, scene: Agreed, cells: set[Cell]) -> None:
        """Works out the result as soon as all that is brought is known."""
        seats = [seat for member in scene.members for seat in member.seats]
        if any(seat.cell not in deal.brought for seat in seats):
            return
        weighty = [(seat.weight, deal.brought[seat.cell]) for seat in seats if seat.weight]
        total = sum(weight for weight, _ in weighty)
        is_whole = all(worth.is_whole for _, worth in weighty)
        if scene.name.round > 1:
            is_whole = is_whole and {seat.cell for seat in seats} == cells
        counted: dict[int, float] = {}
        for weight, worth in weighty:
            for player, share in worth.counted.items():
                counted[player] = counted.get(player, 0.0) + share * weight / total
        vectors = [(weight, worth.vector) for weight, worth in weighty if worth.vector is not None]
        if total and len(vectors) == len(weighty):
            deal.expected = sum(vector.astype(np.float64) * (weight / total) for weight, vector in vectors)  # type: ignore[assignment]  # never 0
        deal.result = Worth(weight=total, vector=None, counted=counted, is_whole=is_whole)

    def _held(self, scene: Held) -> None:
        book = self._book(scene.life, scene.name.iteration, scene.view)
        self._bring(scene)
        if scene.ballot is None:
            book.results[scene.name] = None
            return
        deal = self.deal(scene.name, scene.ballot, scene.view)
        if scene.rounding is not None:
            deal.carried[scene.life.peer_id] = scene.rounding.carried
        result = deal.result
        if result is None:
            result = Worth(weight=scene.weight, vector=None, counted={}, is_whole=False)
        book.results[scene.name] = replace(result, weight=scene.weight, vector=scene.vector)


def _differ(one: Worth, other: Worth) -> bool:
    return one.vector is not None and other.vector is not None and one.vector.tobytes() != other.vector.tobytes()


def _named(view: View, iteration: int, cell: Cell, round: Round) -> LineName:
    line = view.grid.line_name(cell, round)
    return LineName(iteration=iteration, round=round, line=line, view_mark=view.mark)
