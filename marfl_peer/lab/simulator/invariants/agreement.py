"""I1: who completes the same ballot holds the same member list and the same bits; two ballots of one line both complete
only where contact was lost."""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.facts import GroupAgreed
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Agreed, Held, Life, Scene, Told
from marfl_peer.protocol.messages import AnyMessage, Ballot, LineName, Member, Part


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _First:
    """What the first to complete a ballot held."""

    life: Life
    members: tuple[str, ...]
    weight: int
    bits: bytes


class Agreement(Checker):
    invariant = "I1"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._proposals: dict[tuple[LineName, Ballot], Agreed] = {}
        self._firsts: dict[tuple[LineName, Ballot], _First] = {}
        self._completed: dict[tuple[LineName, str], Ballot] = {}
        self._promised: dict[tuple[Life, LineName, str], Ballot] = {}
        self._agreed: set[tuple[int, int, int, int, int, str]] = set()

    def see(self, scene: Scene) -> None:
        match scene:
            case Agreed():
                self._see_agreed(scene)
            case Held() if scene.ballot is not None:
                self._see_held(scene, scene.ballot)
            case Told(fact=GroupAgreed() as fact):
                place = (fact.iteration, fact.round, fact.line, fact.attempt, fact.leader)
                self._agreed.add((scene.life.player.index, *place))
            case _:
                pass

    def heard(self, time: float, life: Life, sender: str, message: AnyMessage, payload_bytes: int) -> None:
        """No tensor byte goes to a member that is not ready."""
        if not isinstance(message, Part):
            return
        name, ballot = message.name, message.ballot
        place = (life.player.index, name.iteration, name.round, name.line, ballot.attempt, ballot.leader)
        if place not in self._agreed and not self._is_hostile(sender):
            text = f"was sent a part of {_of(name, ballot)}, for which it never was ready, by {sender[:8]}"
            self.accuse(text, iteration=name.iteration, life=life)

    def _see_agreed(self, scene: Agreed) -> None:
        key = scene.name, scene.ballot
        place = scene.life, scene.name, scene.view.digest
        promised = self._promised.get(place)
        if promised is not None and scene.ballot <= promised:
            self.accuse(
                f"accepted {_of(*key)} after attempt {promised.attempt} of {promised.leader[:8]}",
                iteration=scene.name.iteration,
                life=scene.life,
            )
        self._promised[place] = scene.ballot
        first = self._proposals.setdefault(key, scene)
        if (_content(first.members), first.view.digest) != (_content(scene.members), scene.view.digest):
            self.accuse(
                f"{_of(*key)} is not what {first.life} accepted under that name",
                iteration=scene.name.iteration,
                life=scene.life,
            )

    def _see_held(self, scene: Held, ballot: Ballot) -> None:
        bits = scene.vector.tobytes() if scene.vector is not None and scene.weight else b""
        mine = _First(life=scene.life, members=scene.members, weight=scene.weight, bits=bits)
        first = self._firsts.setdefault((scene.name, ballot), mine)
        for what, one, other in (
            ("members", first.members, mine.members),
            ("weight", first.weight, mine.weight),
            ("bits", first.bits, mine.bits),
        ):
            if one != other:
                self.accuse(
                    f"{_of(scene.name, ballot)}: other {what} than {first.life} holds",
                    iteration=scene.name.iteration,
                    life=scene.life,
                )
        before = self._completed.setdefault((scene.name, scene.view.digest), ballot)
        if before != ballot and not self.trial.peace.was_ever_broken:
            self.accuse(
                f"{_of(scene.name, ballot)} completed besides attempt {before.attempt} of {before.leader[:8]}, "
                "and no contact was ever lost",
                iteration=scene.name.iteration,
                life=scene.life,
            )

    def _is_hostile(self, peer_id: str) -> bool:
        life = self.trial.cast.by_id(peer_id)
        return life is None or life.player.index in self.trial.hostile


def _content(members: tuple[Member, ...]) -> tuple[object, ...]:
    # Sums may be NaN, which equals nothing: weights and cells say who is meant.
    return tuple((member.peer_id, tuple((seat.cell, seat.weight) for seat in member.seats)) for member in members)


def _of(name: LineName, ballot: Ballot) -> str:
    return f"attempt {ballot.attempt} of {ballot.leader[:8]} on line {name.line} of round {name.round}"
