"""I6, the inputs: what counts was trained from the agreed state of the iteration before, and counts by its samples.

A peer that is behind, that did not train, or that fetched something else than others agreed on has weight 0.
"""

from __future__ import annotations

from marfl_peer.facts import StateFetched
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Agreed, Finished, Held, Life, Opened, Scene, Told, Updated
from marfl_peer.lab.simulator.invariants.sight import Vector


class Freshness(Checker):
    invariant = "I6"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._agreed: dict[int, dict[bytes, Life]] = {}
        self._bases: dict[tuple[Life, int], bytes] = {}
        self._updates: dict[tuple[Life, int], Updated] = {}
        self._fetched: dict[Life, int] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._see_opened(scene)
            case Updated():
                self._updates[scene.life, scene.iteration] = scene
            case Agreed() | Held() if scene.own is not None:
                self._see_brought(scene, *scene.own)
            case Finished():
                self._agreed.setdefault(scene.iteration, {}).setdefault(scene.vector.tobytes(), scene.life)
            case Told(fact=StateFetched() as fact):
                self._fetched[scene.life] = fact.iteration
            case _:
                pass

    def _see_opened(self, scene: Opened) -> None:
        """Seen again where the view moved: by then the model may be trained."""
        life, bits = scene.life, scene.base.tobytes()
        if (life, scene.iteration) in self._bases:
            return
        self._bases[life, scene.iteration] = bits
        if scene.iteration == 1:
            self._agreed.setdefault(0, {}).setdefault(bits, life)
            if len(self._agreed[0]) > 1:
                self.accuse("begins with another initial state than others", iteration=1, life=life)
        fetched = self._fetched.pop(life, None)
        if fetched is not None and bits not in self._agreed.get(fetched, {}):
            text = f"fetched a state of iteration {fetched} that nobody agreed on"
            self.accuse(text, iteration=scene.iteration, life=life)

    def _see_brought(self, scene: Agreed | Held, weight: int, vector: Vector) -> None:
        life, iteration = scene.life, scene.name.iteration
        if weight == 0:
            return
        update = self._updates.get((life, iteration))
        if update is None or update.batches == 0:
            text = f"has weight {weight} without having trained"
            self.accuse(text, iteration=iteration, life=life)
            return
        if weight != update.samples_owned:
            text = f"has weight {weight}, it owns {update.samples_owned} samples"
            self.accuse(text, iteration=iteration, life=life)
        if vector.tobytes() != update.vector.tobytes():
            text = "brings another vector than its model's parameters and momentum after the update"
            self.accuse(text, iteration=iteration, life=life)
        if self._bases.get((life, iteration)) not in self._agreed.get(iteration - 1, {}):
            text = f"has weight {weight}, but did not train from a state that was agreed in the iteration before"
            self.accuse(text, iteration=iteration, life=life)
