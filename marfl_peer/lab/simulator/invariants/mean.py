"""I2: a completed exchange leaves the weighted sum over its members what it was, and weights are summed right.

Where values are encoded, up to what rounding left over; that is carried into the same round of the next iteration.
What is brought is known from the ledger: a member that brings a value or a weight that its cell does not have is found
by what comes out, or by what it states.
"""

from __future__ import annotations

import numpy as np

from marfl_peer.ids import Cell, Round
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Agreed, Held, Life, Scene
from marfl_peer.lab.simulator.invariants.sight import Rounding, Vector
from marfl_peer.protocol.messages import Ballot

TOLERANCE = 2e-5
"""Relative to the largest value: float32 sums of a few terms, and room for small ones that cancel."""


class MeanPreservation(Checker):
    invariant = "I2"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._left: dict[tuple[Life, int, int, int], list[dict[int, Vector]]] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Agreed():
                self._see_agreed(scene)
            case Held() if scene.ballot is not None:
                self._see_held(scene, scene.ballot)
                if scene.rounding is not None:
                    self._see_rounding(scene, scene.rounding)
            case _:
                pass

    def _see_agreed(self, scene: Agreed) -> None:
        """Who brings what: cells of the line, each once, each with the weight that it has."""
        name, life = scene.name, scene.life
        cells = [seat.cell for member in scene.members for seat in member.seats]
        if len(set(cells)) < len(cells) or not set(cells) <= set(
            scene.view.grid.line(Cell(name.line), Round(name.round))
        ):
            self.accuse(f"cells {cells} are not those of line {name.line}", iteration=name.iteration, life=life)
        for seat in (seat for member in scene.members if member.peer_id == life.peer_id for seat in member.seats):
            worth = self.trial.ledger.deal(name, scene.ballot, scene.view).brought.get(seat.cell)
            if worth is None:
                text = f"plays cell {seat.cell} in round {name.round}, whose state it does not hold"
                self.accuse(text, iteration=name.iteration, life=life)
            elif worth.weight != seat.weight:
                text = f"brings cell {seat.cell} with weight {seat.weight} to round {name.round}, it has {worth.weight}"
                self.accuse(text, iteration=name.iteration, life=life)

    def _see_held(self, scene: Held, ballot: Ballot) -> None:
        name = scene.name
        deal = self.trial.ledger.deal(name, ballot, scene.view)
        where = f"line {name.line} of round {name.round}, attempt {ballot.attempt} of {ballot.leader[:8]}"
        lacking = set(scene.members) - deal.agreed
        if lacking:
            text = f"{where}: complete, though {sorted(peer[:8] for peer in lacking)} never accepted it under this view"
            self.accuse(text, iteration=name.iteration, life=scene.life)
        if deal.result is None:
            return
        if scene.weight != deal.result.weight:
            text = f"{where}: weight {scene.weight}, not {deal.result.weight}, the sum of its members'"
            self.accuse(text, iteration=name.iteration, life=scene.life)
        elif scene.weight and deal.expected is not None and scene.vector is not None:
            if deal.carried and (deal.is_vague or set(deal.carried) != deal.agreed):
                return  # what the others rounded off is to be seen when they are through
            expected = deal.expected + sum(deal.carried.values())
            error = float(np.abs(scene.vector - expected).max())
            if not error <= TOLERANCE * (1.0 + float(np.abs(expected).max())):
                text = f"{where}: {error:.2g} off the weighted mean of what its members brought"
                self.accuse(text, iteration=name.iteration, life=scene.life)

    def _see_rounding(self, scene: Held, rounding: Rounding) -> None:
        """What is fed back is what the same exchange of the iteration before left over, or nothing."""
        iteration, round = scene.name.iteration, scene.name.round
        last = self._left.get((scene.life, iteration - 1, round, rounding.place), [])
        if rounding.before and not any(_are_equal(rounding.before, left) for left in last):
            text = f"feeds back into round {round} what that of the iteration before did not leave over"
            self.accuse(text, iteration=iteration, life=scene.life)
        left = {**rounding.before, **rounding.after}
        self._left.setdefault((scene.life, iteration, round, rounding.place), []).append(left)


def _are_equal(some: dict[int, Vector], others: dict[int, Vector]) -> bool:
    return some.keys() == others.keys() and all(np.array_equal(some[start], others[start]) for start in some)
