"""I5: every live peer finishes or skips every iteration in bounded time, with a reason; its iterations only grow."""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.facts import IterationFinished, IterationSkipped, LocalUpdateFinished, PeerStopped, WaitEnded
from marfl_peer.ids import Cell, Round
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Held, Life, Opened, Scene, Told
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.placement import default_players

SLACK_S = 5.0
PATIENCE_S = 10.0
ROUND_S = 2.5
LAST_S = 3.0
"""Who is struck so shortly before D_g takes the result of the others with it: until they miss it there is no time left
for another ballot."""


@dataclass(slots=True)
class _Course:
    """Where a life is: the last iteration that it finished or skipped, and since when it is in the next."""

    last: int | None = None
    opened: int = 0
    since: float = 0.0
    allowed_s: float = 0.0


class Liveness(Checker):
    invariant = "I5"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._courses: dict[Life, _Course] = {}
        self._stopped: dict[Life, PeerStopped] = {}
        self._began: dict[int, float] = {}
        self._longest_update_s = 0.0
        self._given_up: dict[tuple[LineName, str], Life] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._see_opened(scene)
            case Told(fact=LocalUpdateFinished() as fact):
                self._see_update(fact.seconds)
            case Told(fact=WaitEnded() as fact) if fact.waited_for == "state":
                self._course(scene.life).allowed_s += fact.seconds
            case Told(fact=IterationFinished() | IterationSkipped() as fact):
                self._see_end(scene, fact)
            case Told(fact=PeerStopped() as fact):
                self._see_stopped(scene, fact)
            case Held() if scene.outcome == "skipped":
                self._see_given_up(scene)
            case _:
                pass

    def ended(self, time: float) -> None:
        for life in self.trial.cast.all_running():
            where = self._course(life).opened
            self.accuse(f"never came to an end, it is in iteration {where}", iteration=where, life=life)

    def _course(self, life: Life) -> _Course:
        return self._courses.setdefault(life, _Course())

    def _see_update(self, seconds: float) -> None:
        """Iterations that are open already were not known to have so long an update in them."""
        longer_s = seconds - self._longest_update_s
        if longer_s > 0:
            self._longest_update_s = seconds
            for course in self._courses.values():
                course.allowed_s += 3 * longer_s

    def _see_opened(self, scene: Opened) -> None:
        """Told again where the view moved: then the rounds, and their time, begin again."""
        life, course = scene.life, self._course(scene.life)
        self._began.setdefault(scene.iteration, scene.time)
        if course.last is not None and scene.iteration != course.last + 1:
            text = f"opens iteration {scene.iteration} after {course.last}"
            self.accuse(text, iteration=scene.iteration, life=life)
        if course.opened != scene.iteration:
            course.opened, course.since, course.allowed_s = scene.iteration, life.ran_s(scene.time), SLACK_S
        rounds = scene.view.grid.rounds
        course.allowed_s += max(PATIENCE_S, 2 * self._longest_update_s) + self._longest_update_s + rounds * ROUND_S
        if life.player.peer is not None:  # its own distillation, and that of others, which it may wait for then
            course.allowed_s += 2 * sight.delay_s(life.player.peer, scene.iteration)

    def _see_end(self, scene: Told, fact: IterationFinished | IterationSkipped) -> None:
        life, course = scene.life, self._course(scene.life)
        if course.last is not None and fact.iteration != course.last + 1:
            text = f"ends iteration {fact.iteration} after {course.last}"
            self.accuse(text, iteration=fact.iteration, life=life)
        if isinstance(fact, IterationSkipped):
            if not fact.reason:
                self.accuse("skips an iteration without a reason", iteration=fact.iteration, life=life)
            if not self.trial.peace.was_ever_broken:
                text = f"skips an iteration though nothing ever went wrong: {fact.reason}"
                self.accuse(text, iteration=fact.iteration, life=life)
        elif course.opened == fact.iteration:
            took = life.ran_s(scene.time) - course.since
            if took > course.allowed_s:
                text = f"took {took:.2f} s for an iteration, {course.allowed_s:.2f} s at most are its rounds'"
                self.accuse(text, iteration=fact.iteration, life=life)
        course.last = fact.iteration

    def _see_stopped(self, scene: Told, fact: PeerStopped) -> None:
        settings = self.trial.settings
        if fact.reason == "finished" and fact.iteration < settings.iterations:
            text = f"calls itself finished after iteration {fact.iteration} of {settings.iterations}"
            self.accuse(text, iteration=fact.iteration, life=scene.life)

    def _see_given_up(self, scene: Held) -> None:
        """Nobody gives up a line in peace; and two that nothing happened to, never both give up the same one."""
        name = scene.name
        players = default_players(scene.view)
        line = {players[cell] for cell in scene.view.grid.line(Cell(name.line), Round(name.round))}
        if scene.life.peer_id not in line:
            return  # it played there for others only, who may all be gone
        began = self._began.get(name.iteration, scene.time)
        is_hit = any(self.trial.cast.was_killed(peer, since=scene.time - LAST_S) for peer in line)
        if not is_hit and not self.trial.peace.touched(scene.life.player.index, since=began):
            other = self._given_up.setdefault((name, scene.view.digest), scene.life)
            if other is not scene.life:
                text = f"gave up line {name.line} of round {name.round}, and so did {other}: both were there"
                self.accuse(text, iteration=name.iteration, life=scene.life)
        if self.trial.peace.held_since(began):
            text = f"gave up line {name.line} of round {name.round} though nothing went wrong"
            self.accuse(text, iteration=name.iteration, life=scene.life)
