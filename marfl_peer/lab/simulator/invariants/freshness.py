"""I6, the inputs: what counts was trained from the agreed state of the iteration before, and counts by its samples.

A peer that is behind, that did not train, or that fetched something else than others agreed on has weight 0. An update
made beside the exchange before is brought with what that gave in place of what the peer had brought to it. A part of
the swarm that leaves numbers out to merge with one that is ahead has, after each of them, the state that it had before.
"""

from __future__ import annotations

import numpy as np

from marfl_peer.facts import IterationSkipped, MergeAgreed, StateFetched
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Agreed, Finished, Held, Life, Opened, Scene, Taught, Told, Updated
from marfl_peer.lab.simulator.invariants.sight import Vector
from marfl_peer.peer.iterations import LEFT_OUT


class Freshness(Checker):
    invariant = "I6"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._agreed: dict[int, dict[bytes, Life]] = {}
        self._bases: dict[tuple[Life, int], bytes] = {}
        self._updates: dict[tuple[Life, int], Updated] = {}
        self._due: dict[tuple[Life, int], bytes] = {}
        """What is to be brought of an update."""
        self._brought: dict[tuple[Life, int], Vector] = {}
        self._fetched: dict[Life, int] = {}
        self._taken: set[tuple[Life, int]] = set()
        """Who begins an iteration from a state that it fetched."""
        self._merge: dict[Life, int] = {}
        """The first common iteration of the last merge that a life told."""

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._see_opened(scene)
            case Updated():
                self._see_updated(scene)
            case Taught():
                self._due[scene.life, scene.iteration] = scene.vector.tobytes()
            case Agreed() | Held() if scene.own is not None:
                self._see_brought(scene, *scene.own)
            case Finished():
                self._agreed.setdefault(scene.iteration, {}).setdefault(scene.vector.tobytes(), scene.life)
            case Told(fact=StateFetched() as fact):
                self._fetched[scene.life] = fact.iteration
            case Told(fact=MergeAgreed() as fact):
                self._merge[scene.life] = max(fact.iteration, self._merge.get(scene.life, 0))
            case Told(fact=IterationSkipped(reason=reason) as fact) if reason == LEFT_OUT:
                self._see_left_out(scene.life, fact.iteration)
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
        if fetched is not None:
            self._taken.add((life, scene.iteration))
        if fetched is not None and bits not in self._agreed.get(fetched, {}):
            text = f"fetched a state of iteration {fetched} that nobody agreed on"
            self.accuse(text, iteration=scene.iteration, life=life)

    def _see_updated(self, scene: Updated) -> None:
        life, key = scene.life, (scene.life, scene.iteration)
        self._updates[key], due = scene, scene.vector
        if scene.is_beside:
            if key in self._taken:
                text = "has an update from before it fetched the state"
                self.accuse(text, iteration=scene.iteration, life=life)
            agreed = np.frombuffer(self._bases[key], dtype=np.float32)
            # Who was alone went through no round, where it would be seen: what it brings is what it holds.
            due = due + (agreed - self._brought.get((life, scene.iteration - 1), agreed))
        self._due[key] = due.tobytes()

    def _see_left_out(self, life: Life, iteration: int) -> None:
        """Nothing happens in such an iteration: what was agreed on before it is agreed on after it, and an update that
        was made for it goes into the next one. The one before the merge is left out by nobody."""
        peer = life.player.peer
        if peer is None or iteration + 1 >= self._merge.get(life, 0):
            return
        state = sight.agreed_vector(peer)
        bits = b"" if state is None else state.tobytes()
        if bits in self._agreed.get(iteration - 1, {}):
            self._agreed.setdefault(iteration, {}).setdefault(bits, life)
        if (life, iteration - 1) in self._brought:
            self._brought.setdefault((life, iteration), self._brought[life, iteration - 1])
        if (life, iteration) in self._updates:
            self._updates[life, iteration + 1] = self._updates[life, iteration]
            self._bases[life, iteration + 1] = self._bases[life, iteration]
            self._due[life, iteration + 1] = self._due[life, iteration]

    def _see_brought(self, scene: Agreed | Held, weight: int, vector: Vector) -> None:
        life, iteration = scene.life, scene.name.iteration
        self._brought[life, iteration] = vector
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
        if vector.tobytes() != self._due[life, iteration]:
            text = "brings another vector than its model's parameters and momentum after the update"
            self.accuse(text, iteration=iteration, life=life)
        if self._bases.get((life, iteration)) not in self._agreed.get(iteration - 1, {}):
            text = f"has weight {weight}, but did not train from a state that was agreed in the iteration before"
            self.accuse(text, iteration=iteration, life=life)
