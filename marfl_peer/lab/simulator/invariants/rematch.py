"""I3: with nobody failing, no two peers meet twice in an iteration on a full grid."""

from __future__ import annotations

from itertools import combinations

from marfl_peer.ids import PeerId
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Held, Opened, Scene
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.view import View


class NoRematch(Checker):
    invariant = "I3"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._opened: dict[int, float] = {}
        self._met: dict[tuple[int, str, str], LineName] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._opened.setdefault(scene.iteration, scene.time)
            case Held() if scene.ballot is not None:
                self._see_held(scene)
            case _:
                pass

    def _see_held(self, scene: Held) -> None:
        name = scene.name
        if len(scene.view.members) < scene.view.grid.cells:
            return
        if not self.trial.peace.held_since(self._opened.get(name.iteration, scene.time)):
            return
        if not all(self._plays(member, scene.view) for member in scene.view.members):
            return  # others play for it
        for one, other in combinations(sorted(scene.members), 2):
            before = self._met.setdefault((name.iteration, one, other), name)
            if before != name:
                self.accuse(
                    f"{one[:8]} and {other[:8]} meet on line {name.line} of round {name.round}, and met on line "
                    f"{before.line} of round {before.round}",
                    iteration=name.iteration,
                    life=scene.life,
                )

    def _plays(self, member: PeerId, view: View) -> bool:
        """Whether a member is there to play its own cell. One that was started again is not where the view counts its
        earlier life: it enters none of the ballots until one counts its new one, however long ago it came back."""
        life = self.trial.cast.by_id(member)
        return life is not None and life.incarnation <= view.incarnations[member]
