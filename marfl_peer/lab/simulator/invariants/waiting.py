"""I4: nobody waits for a group longer than D_g allows, D_g grows with g, and a line waits only for its own players."""

from __future__ import annotations

from marfl_peer.facts import LocalUpdateFinished, WaitEnded
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Held, Life, Opened, Scene, Taught, Told, Updated
from marfl_peer.protocol.placement import default_players

MIN_PATIENCE_S = 10.0
SLACK_S = 1.0
"""From the end of an update to the arrival, and from a deadline to the fact."""
AT_ONCE_S = 3.0
"""What a line of healthy players that are all there may take: segments sent again, a connection dialled."""


class Isolation(Checker):
    invariant = "I4"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._longest_update_s = 0.0
        self._arrived: dict[tuple[Life, int], tuple[float, float, float]] = {}
        self._began: dict[int, float] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Told(fact=LocalUpdateFinished() as fact):
                self._longest_update_s = max(self._longest_update_s, fact.seconds)
            case Told(fact=WaitEnded() as fact) if fact.waited_for == "result":
                self._see_wait(scene, fact)
            case Opened() | Updated() | Taught():
                life = scene.life
                self._began.setdefault(scene.iteration, scene.time)
                arrival = (scene.time, life.ran_s(scene.time), life.player.host.now())
                self._arrived[life, scene.iteration] = arrival
            case Held() if scene.ballot is not None and scene.name.round == 1:
                self._see_held(scene)
            case _:
                pass

    def _see_wait(self, scene: Told, fact: WaitEnded) -> None:
        life, peer = scene.life, scene.life.player.peer
        arrived = self._arrived.get((life, fact.iteration))
        if arrived is None or peer is None:
            return
        allowance = sight.allowance_s(peer, fact.iteration)
        _, ran_s, host_time = arrived
        since = life.ran_s(scene.time) - ran_s
        patience = max(MIN_PATIENCE_S, 2 * self._longest_update_s) + sight.delay_s(peer, fact.iteration)
        most = patience + fact.round * allowance + SLACK_S
        if since > most and fact.seconds > SLACK_S:  # a cell that is taken over later than that waits for nothing
            text = f"round {fact.round} ended {since:.2f} s after it arrived, D_g is at most {most:.2f} s"
            self.accuse(text, iteration=fact.iteration, life=life)
        until = life.player.host.now() - fact.seconds + fact.allowed_s - host_time
        least = MIN_PATIENCE_S + fact.round * allowance
        paused_s = scene.time - arrived[0] - since  # a peer that is paused as its update ends arrives after that
        if until < least - 1e-3 or until - paused_s > most:
            text = (
                f"would wait until {until:.2f} s after it arrived in round {fact.round}, not {least:.2f} to {most:.2f}"
            )
            self.accuse(text, iteration=fact.iteration, life=life)

    def _see_held(self, scene: Held) -> None:
        """A line in whose players nothing went wrong does not wait, whatever happens elsewhere."""
        name, view = scene.name, scene.view
        began = self._began.get(name.iteration, scene.time)
        players = default_players(view)
        ids = sorted({players[cell] for cell in view.grid.line(name.line, name.round)})  # type: ignore[arg-type]
        latest = 0.0
        for peer_id in ids:
            life = self.trial.cast.by_id(peer_id)
            if life is None or self.trial.peace.touched(life.player.index, since=began):
                return
            arrived = self._arrived.get((life, name.iteration))
            if arrived is None:
                return
            latest = max(latest, arrived[0])
        if scene.time - latest > AT_ONCE_S:
            text = f"line {name.line} of round 1 took {scene.time - latest:.2f} s, though its players were all there"
            self.accuse(text, iteration=name.iteration, life=scene.life)
