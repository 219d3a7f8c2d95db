"""What the checkers are shown: the lives of the peers and what happens in them, each at its virtual instant. Values;
who is right is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from marfl_peer.facts import Fact
from marfl_peer.ids import PeerId
from marfl_peer.lab.simulator.invariants.sight import Place, Rounding, Vector
from marfl_peer.lab.simulator.simulation import Player
from marfl_peer.protocol.messages import Ballot, LineName, Member
from marfl_peer.protocol.view import View

NOBODY = PeerId("")


@dataclass(slots=True, eq=False)
class Life:
    """One process of a player, from its start to its end or its crash. Ids are known from PeerStarted on."""

    player: Player
    number: int
    began_at: float
    peer_id: PeerId = NOBODY
    incarnation: int = -1
    ended_at: float | None = None
    was_killed: bool = False
    paused_at: float | None = None
    paused_s: float = 0.0
    """How long it was paused before `paused_at`."""

    def __str__(self) -> str:
        return f"peer {self.player.index}" + (f" (life {self.number + 1})" if self.number else "")

    def ran_s(self, time: float) -> float:
        """How long it was not paused, until `time`."""
        pause = 0.0 if self.paused_at is None else time - self.paused_at
        return time - self.began_at - self.paused_s - pause


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Told:
    """A fact of a life."""

    time: float
    life: Life
    fact: Fact


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Opened:
    """A peer opened an iteration with this view; `base` [n]: the agreed state, as its model's parameters and momentum,
    before the update."""

    time: float
    life: Life
    iteration: int
    view: View
    base: Vector


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Updated:
    """The local update of an iteration is over: `vector` is the model's parameters and momentum [n] now. `is_beside`:
    it was made beside the exchange before, whose result is not in it."""

    time: float
    life: Life
    iteration: int
    batches: int
    samples_owned: int
    vector: Vector
    is_beside: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Taught:
    """A round of distillation is over: `vector` is the model's parameters and momentum [n] now."""

    time: float
    life: Life
    iteration: int
    vector: Vector


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Agreed:
    """A peer accepted a ballot. `own`: weight and vector [n] that it brings for its own cell, told in round 1."""

    time: float
    life: Life
    name: LineName
    ballot: Ballot
    view: View
    members: tuple[Member, ...]
    own: tuple[int, Vector] | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Held:
    """A peer is through with a line. Without a result `ballot` is None. `own`: as of Agreed."""

    time: float
    life: Life
    name: LineName
    view: View
    outcome: str
    ballot: Ballot | None
    members: tuple[str, ...]
    weight: int
    vector: Vector | None
    own: tuple[int, Vector] | None
    rounding: Rounding | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Finished:
    """A peer ended an iteration with `vector` [n] as its agreed state, and `model` [n] in the model that holds it."""

    time: float
    life: Life
    iteration: int
    view: View
    weight: int
    vector: Vector
    model: Vector
    place: Place


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trouble:
    """Something went wrong in the world: with one player, or with the network (None)."""

    time: float
    player: Player | None
    what: str


Scene = Told | Opened | Updated | Taught | Agreed | Held | Finished | Trouble


@dataclass(slots=True)
class Cast:
    """All lives, the newest of a player last; a player's peer id stays the same unless its disk is lost."""

    lives: dict[int, list[Life]] = field(default_factory=dict)
    _home_of: dict[str, int] = field(default_factory=dict)
    """Where a peer id was last found running: with a thousand players one does not look through all each time."""

    def running(self, index: int) -> Life | None:
        lives = self.lives.get(index)
        return lives[-1] if lives and lives[-1].ended_at is None else None

    def all_running(self) -> list[Life]:
        return [life for index in sorted(self.lives) if (life := self.running(index)) is not None]

    def was_killed(self, peer_id: str, *, since: float) -> bool:
        """Whether its last life was cut short, at that time or later, and no other began."""
        lives = next((lives for lives in self.lives.values() if lives[-1].peer_id == peer_id), None)
        if lives is None or lives[-1].ended_at is None:
            return False
        return lives[-1].was_killed and lives[-1].ended_at >= since

    def by_id(self, peer_id: str) -> Life | None:
        """The running life with this peer id."""
        life = self.running(self._home_of.get(peer_id, -1))
        if life is None or life.peer_id != peer_id:
            life = next((life for life in self.all_running() if life.peer_id == peer_id), None)
        if life is not None:
            self._home_of[peer_id] = life.player.index
        return life
