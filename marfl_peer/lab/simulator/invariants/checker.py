"""What all checkers have in common: they are shown scenes and messages, and accuse. Nothing of any rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from marfl_peer.config import Settings
from marfl_peer.lab.simulator.invariants.ledger import Ledger
from marfl_peer.lab.simulator.invariants.peace import Peace
from marfl_peer.lab.simulator.invariants.scene import Cast, Life, Scene
from marfl_peer.protocol.messages import AnyMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An invariant that broke. `iteration` and `life` say where, as far as it has a place."""

    invariant: str
    text: str
    iteration: int | None = None
    life: Life | None = None


@dataclass(slots=True, kw_only=True)
class Trial:
    """What the checkers of one run share: who lives, when it was calm, what is worth what, and where they accuse."""

    settings: Settings
    cast: Cast
    peace: Peace
    ledger: Ledger
    accuse: Callable[[Charge], None]
    hostile: set[int] = field(default_factory=set)
    """Players that break the rules on purpose."""


class Checker:
    """One invariant. `see` is called for every scene, `heard` for every message that a peer takes in."""

    invariant: ClassVar[str]

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def see(self, scene: Scene) -> None:
        """Something happened, at this instant."""

    def heard(self, time: float, life: Life, sender: str, message: AnyMessage, payload_bytes: int) -> None:
        """`life` was sent a message by the peer with the id `sender`."""

    def ended(self, time: float) -> None:
        """The run is over."""

    def accuse(self, text: str, *, iteration: int | None = None, life: Life | None = None) -> None:
        self.trial.accuse(Charge(invariant=self.invariant, text=text, iteration=iteration, life=life))
