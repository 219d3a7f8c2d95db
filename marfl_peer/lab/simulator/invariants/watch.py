"""Watches a run: turns facts and notes into scenes at their instant, shows them to all checkers, keeps the story.

Knows every checker and how a run is observed; no rule.
"""

from __future__ import annotations

from marfl_peer.config import BY_LOT
from marfl_peer.facts import Fact, GroupAgreed, GroupFinished, PeerStarted
from marfl_peer.ids import PeerId
from marfl_peer.lab.simulator.invariants.agreement import Agreement
from marfl_peer.lab.simulator.invariants.checker import Charge, Checker, Trial
from marfl_peer.lab.simulator.invariants.control import CheapControl
from marfl_peer.lab.simulator.invariants.exactness import Exactness
from marfl_peer.lab.simulator.invariants.failures import Failures
from marfl_peer.lab.simulator.invariants.freshness import Freshness
from marfl_peer.lab.simulator.invariants.hostility import Inertness
from marfl_peer.lab.simulator.invariants.ledger import Ledger
from marfl_peer.lab.simulator.invariants.lens import scene_of
from marfl_peer.lab.simulator.invariants.liveness import Liveness
from marfl_peer.lab.simulator.invariants.lives import NothingLost
from marfl_peer.lab.simulator.invariants.mean import MeanPreservation
from marfl_peer.lab.simulator.invariants.peace import Peace
from marfl_peer.lab.simulator.invariants.rematch import NoRematch
from marfl_peer.lab.simulator.invariants.scene import Cast, Life, Scene, Told, Trouble
from marfl_peer.lab.simulator.invariants.story import Story
from marfl_peer.lab.simulator.invariants.views import Views
from marfl_peer.lab.simulator.invariants.waiting import Isolation
from marfl_peer.lab.simulator.report import Violation
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.simulator.world import Noted
from marfl_peer.protocol.messages import AnyMessage

CHECKERS: tuple[type[Checker], ...] = (
    Agreement,
    MeanPreservation,
    NoRematch,
    Isolation,
    Liveness,
    Exactness,
    Freshness,
    CheapControl,
    Inertness,
    NothingLost,
    Views,
    Failures,
)
WITHOUT_GRID: tuple[type[Checker], ...] = (Liveness, Freshness, Inertness, NothingLost, Views, Failures)
"""Those that ask nothing about lines: where groups are drawn by lot there are none, and nobody sees them."""
MOST_CHARGES = 20
"""Of one run: what breaks once often breaks in every round after."""
FACTS = frozenset(kind.__name__ for kind in Fact.__subclasses__())
ORDINARY = {"exit", "finished"}
HARMLESS = ("clock",)
"""A clock that is wrong is nothing that anybody else should notice."""


class Watch:
    """Hand `fact` and `note` to the simulation, `attach` it, and ask for `violations` in the end."""

    def __init__(self, scenario: Scenario, *, checkers: tuple[type[Checker], ...] | None = None) -> None:
        """`checkers`: in place of all that the scenario's scheme is to be held to."""
        self._has_lines = scenario.aggregation not in BY_LOT
        if checkers is None:
            checkers = CHECKERS if self._has_lines else WITHOUT_GRID
        self.violations: list[Violation] = []
        self.cast, self.peace, self.story = Cast(), Peace(), Story()
        self._ledger = Ledger()
        self._seed = scenario.seed
        self._simulation: Simulation | None = None
        self._trial = Trial(
            settings=scenario.settings(), cast=self.cast, peace=self.peace, ledger=self._ledger, accuse=self._accuse
        )
        self._checkers = [make(self._trial) for make in checkers]
        self._listening = [one for one in self._checkers if type(one).heard is not Checker.heard]

    def attach(self, simulation: Simulation) -> None:
        """Before anything happens in it."""
        self._simulation = simulation
        self.peace.attach(simulation.world)

    def over(self) -> None:
        """The run has ended: what must hold in the end is asked."""
        for checker in self._checkers:
            checker.ended(self._time)

    # what the simulation calls

    def note(self, noted: Noted) -> None:
        """Facts are noted, too: they come by `fact`."""
        if noted.what in FACTS or self._simulation is None:
            return
        player = self._simulation.players[noted.host] if noted.host >= 0 else None
        self.story.add(noted.time, noted.host, noted.what)
        if player is not None:
            self._live(noted.time, player, noted.what)
        if player is not None and noted.what.startswith("hostile"):
            self._trial.hostile.add(player.index)
        if _is_trouble(noted):
            self.peace.broken(noted.time, noted.what, None if player is None else player.index)
            self._show(Trouble(time=noted.time, player=player, what=noted.what))

    def fact(self, player: Player, fact: Fact) -> None:
        life = self.cast.running(player.index)
        assert life is not None
        self.story.add(self._time, player.index, fact)
        if isinstance(fact, PeerStarted):
            life.peer_id, life.incarnation = PeerId(fact.peer_id), fact.incarnation
            self._overhear(life)
        self._show(Told(time=self._time, life=life, fact=fact))
        is_seen = self._has_lines or not isinstance(fact, GroupAgreed | GroupFinished)
        scene = scene_of(self._time, life, fact) if is_seen else None
        if scene is not None:
            self._show(scene)

    # lives

    def _live(self, time: float, player: Player, what: str) -> None:
        life = self.cast.running(player.index)
        if what == "start":
            lives = self.cast.lives.setdefault(player.index, [])
            lives.append(Life(player=player, number=len(lives), began_at=time))
        elif life is None:
            return
        elif what in ("exit", "killed", "power lost"):
            life.ended_at, life.was_killed = time, what != "exit"
        elif what == "paused":
            life.paused_at = time
        elif what == "resumed" and life.paused_at is not None:
            life.paused_s += time - life.paused_at
            life.paused_at = None

    @property
    def _time(self) -> float:
        assert self._simulation is not None
        return self._simulation.world.time

    # showing

    def _show(self, scene: Scene) -> None:
        self._ledger.see(scene)
        for checker in self._checkers:
            checker.see(scene)

    # messages

    def _overhear(self, life: Life) -> None:
        """Every message that the peer takes in is shown before it is acted on."""
        peer = life.player.peer
        assert peer is not None
        board = peer._network.switchboard
        heard = board.heard

        def overheard(sender: PeerId, message: AnyMessage, payload: memoryview) -> None:
            for checker in self._listening:
                checker.heard(self._time, life, sender, message, len(payload))
            heard(sender, message, payload)

        board.heard = overheard  # type: ignore[method-assign,assignment]  # of this one peer

    # judgement

    def _accuse(self, charge: Charge) -> None:
        if len(self.violations) >= MOST_CHARGES:
            return
        who = f"{charge.life}: " if charge.life is not None else ""
        where = f"iteration {charge.iteration}: " if charge.iteration is not None else ""
        self.violations.append(
            Violation(
                seed=self._seed,
                invariant=charge.invariant,
                message=f"{self._time:.3f} s: {who}{where}{charge.text}",
                story=self.story.last(iteration=charge.iteration),
            )
        )


def _is_trouble(noted: Noted) -> bool:
    """A fault is announced; what it does to hosts and links is noted by itself, but for a connection that is held, and
    let go."""
    if noted.what.startswith("fault:"):
        return noted.what.startswith("fault: hold")
    if noted.what.startswith(HARMLESS):
        return False
    return noted.time > 0.0 if noted.what == "start" else noted.what not in ORDINARY
