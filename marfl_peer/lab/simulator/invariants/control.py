"""I7: O(G M) small messages a peer and iteration; while the view is unchanged no DHT look-up for an iteration."""

from __future__ import annotations

from marfl_peer.facts import IterationFinished, ViewChanged
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Finished, Life, Opened, Scene, Told
from marfl_peer.protocol.messages import AnyMessage, Part, ResultPart, RoundMessage
from marfl_peer.protocol.placement import cells_of

A_LINE = 8
"""Messages that a member takes in on a line, for each of its cells: six kinds, some of them said twice."""
IN_TROUBLE = 12
"""So many times more, where attempts fail, leaders change and everybody says again what it has."""


class CheapControl(Checker):
    invariant = "I7"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._heard: dict[tuple[Life, int], int] = {}
        self._began: dict[int, float] = {}
        self._changed: dict[Life, int] = {}  # iterations finished since its view changed

    def heard(self, time: float, life: Life, sender: str, message: AnyMessage, payload_bytes: int) -> None:
        if isinstance(message, RoundMessage) and not isinstance(message, Part | ResultPart):
            key = life, message.name.iteration
            self._heard[key] = self._heard.get(key, 0) + 1

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._began.setdefault(scene.iteration, scene.time)
            case Told(fact=ViewChanged() as fact):
                self._changed[scene.life] = 0
            case Told(fact=IterationFinished() as fact):
                self._see_lookups(scene, fact)
            case Finished():
                self._see_finished(scene)
            case _:
                pass

    def _see_lookups(self, scene: Told, fact: IterationFinished) -> None:
        """They are counted from one finished iteration to the next; those after a change may take one longer."""
        finished = self._changed[scene.life] = self._changed.get(scene.life, 0) + 1
        if fact.dht_lookups and finished > 2:
            text = f"{fact.dht_lookups} look-ups for an iteration, the view is unchanged since {finished} iterations"
            self.accuse(text, iteration=fact.iteration, life=scene.life)

    def _see_finished(self, scene: Finished) -> None:
        life, view = scene.life, scene.view
        count = self._heard.get((life, scene.iteration), 0)
        cells = max(1, len(cells_of(view, life.peer_id)))
        most = A_LINE * sum(view.grid.shape) * cells + A_LINE
        if not self.trial.peace.held_since(self._began.get(scene.iteration, scene.time)):
            most *= IN_TROUBLE
        if count > most:
            text = f"took in {count} small messages, with {cells} cells on a grid of {view.grid.shape} at most {most}"
            self.accuse(text, iteration=scene.iteration, life=life)
