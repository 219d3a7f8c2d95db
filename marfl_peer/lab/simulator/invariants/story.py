"""The last events of a run, kept cheaply and told in full sentences only when something broke."""

from __future__ import annotations

from collections import deque

from marfl_peer.facts import (
    CellTakenOver,
    DatagramRejected,
    DhtLookedUp,
    DhtPublished,
    Evaluated,
    Fact,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    LoopLagged,
    WaitEnded,
)
from marfl_peer.ids import short

KEPT = 1500
TOLD = 40
DULL = (Evaluated, DhtLookedUp, DhtPublished, LoopLagged, DatagramRejected)
_HIDDEN = {"fact", "projection", "bytes_sent", "train_loss", "test_accuracy", "test_loss", "evaluated_iteration"}


class Story:
    """Events in the order of time: facts of players, and what went wrong, as text."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, int, Fact | str]] = deque(maxlen=KEPT)

    def add(self, time: float, player: int, event: Fact | str) -> None:
        """`player` is -1 for the network."""
        if not isinstance(event, DULL):
            self._events.append((time, player, event))

    def last(self, *, iteration: int | None = None) -> tuple[str, ...]:
        """The last events, those about one iteration and all that went wrong if it is given."""
        chosen = [event for event in self._events if _concerns(event[2], iteration)]
        return tuple(_line(*event) for event in chosen[-TOLD:])


def _concerns(event: Fact | str, iteration: int | None) -> bool:
    if iteration is None or isinstance(event, str):
        return True
    about = getattr(event, "iteration", None)
    return about is None or about in (iteration, iteration - 1)


def _line(time: float, player: int, event: Fact | str) -> str:
    who = "network" if player < 0 else f"peer {player}"
    return f"{time:9.3f} s  {who:8} {event if isinstance(event, str) else describe(event)}"


def describe(fact: Fact) -> str:
    """A fact in one line, ids cut short."""
    match fact:
        case GroupAgreed():
            ballot = f"ballot {fact.attempt}/{short(fact.leader)}"
            return f"GroupAgreed {_place(fact)} {ballot} of {_names(fact.members)}"
        case GroupFinished():
            ballot = "no ballot" if fact.ballot is None else f"ballot {fact.ballot[0]}/{short(fact.ballot[1])}"
            held = f"{fact.outcome}, {ballot} of {_names(fact.members)}, weight {fact.weight}, {fact.absent} absent"
            return f"GroupFinished {_place(fact)} {held}, {fact.seconds:.3f} s"
        case WaitEnded():
            where = f"{fact.iteration}/{fact.round}"
            return (
                f"WaitEnded {where} for {fact.waited_for}: {fact.outcome}, {fact.seconds:.3f} of {fact.allowed_s:.3f} s"
            )
        case IterationFinished():
            groups = f"{fact.groups_complete} complete, {fact.groups_partial} not"
            return f"IterationFinished {fact.iteration} weight {fact.weight}, {groups}, {fact.peers} peers"
        case CellTakenOver():
            instead = short(fact.instead_of or "nobody")
            return f"CellTakenOver {fact.iteration}/{fact.round} cell {fact.cell} instead of {instead}"
        case _:
            fields = {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in _HIDDEN}
            return f"{type(fact).__name__} " + " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _place(fact: GroupAgreed | GroupFinished) -> str:
    return f"{fact.iteration}/{fact.round} line {fact.line}"


def _names(members: tuple[str, ...]) -> str:
    return "{" + " ".join(short(member) for member in members) + "}"


def _value(value: object) -> str:
    text = str(value)
    return short(text) if len(text) == 40 and isinstance(value, str) else text
