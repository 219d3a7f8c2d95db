"""Until when each round of one iteration may gather and wait: the deadlines of `deadlines`, from when peers arrived.

A leader's clock starts with the first arrival of all, a member's with its own. Patience grows with the local updates
that others report, and so do all deadlines, also of rounds that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marfl_peer.protocol.deadlines import gather_deadline, lateness_step_s, patience_s, round_deadline
from marfl_peer.protocol.messages import Here, LineMessage, Propose


@dataclass(frozen=True, slots=True)
class Limits:
    """Until when a leader gathers and a member waits; None as long as the clock of the round has not started.
    `call_late_at`: when a member calls its leader late at the earliest; `step_s`: how long it then waits for others."""

    gather_until: float | None = None
    wait_until: float | None = None
    call_late_at: float | None = None
    step_s: float = 0.0


class Timetable:
    """`allowance`: seconds that a round may take. `update_times_s`: of the iterations before, in seconds. `delay_s`:
    what members may be held up by besides their updates, which they are awaited for, too."""

    def __init__(self, *, allowance: float, update_times_s: Iterable[float], delay_s: float = 0.0) -> None:
        self._allowance, self._delay_s = allowance, delay_s
        self._patience_before = self._patience = patience_s(list(update_times_s)) + delay_s
        self._update_times: dict[str, float] = {}
        self._first_arrival: float | None = None
        self._own_arrival: float | None = None
        self._limits: dict[int, Limits] = {}
        """Of the rounds that were asked for since anything of it changed."""

    def arrive(self, me: str, *, update_s: float, now: float) -> None:
        """This peer's local update is over and took `update_s`."""
        self._own_arrival = now
        self._limits.clear()
        self._start(now)
        self._learn({me: update_s})

    def heard(self, sender: str, message: LineMessage, *, now: float) -> None:
        """A message of this iteration: somebody is here, and may say how long updates took."""
        self._start(now - message.waited_s if isinstance(message, Here) else now)
        match message:
            case Here():
                self._learn({sender: message.update_s})
            case Propose():
                self._learn({member.peer_id: member.update_s for member in message.members})
            case _:
                pass

    def waited_s(self, now: float) -> float:
        """How long this peer's clock has been running: since its local update was over."""
        return 0.0 if self._own_arrival is None else max(now - self._own_arrival, 0.0)

    def limits(self, round: int) -> Limits:
        limits = self._limits.get(round)
        if limits is None:
            limits = self._limits[round] = self._limits_of(round)
        return limits

    def _limits_of(self, round: int) -> Limits:
        first, own = self._first_arrival, self._own_arrival
        patience, allowance, step_s = self._patience, self._allowance, lateness_step_s(self._allowance)
        # One that comes when the gathering should be over first hears what has happened without it.
        heard_out = 0.0 if own is None else own + step_s
        return Limits(
            gather_until=None if first is None else max(gather_deadline(first, round, patience, allowance), heard_out),
            wait_until=None if own is None else round_deadline(own, round, patience, allowance),
            # From the own arrival: the leader heard of that, and may gather until half an allowance before D_g.
            call_late_at=None if own is None else gather_deadline(own, round, patience, allowance) + step_s,
            step_s=step_s,
        )

    def _start(self, now: float) -> None:
        if self._first_arrival is None or now < self._first_arrival:
            self._first_arrival = now
            self._limits.clear()

    def _learn(self, update_times: Mapping[str, float]) -> None:
        # Those who trained nothing say 0, and nothing about how long the others need.
        self._update_times |= {peer: seconds for peer, seconds in update_times.items() if seconds > 0}
        heard = patience_s(list(self._update_times.values())) + self._delay_s
        self._patience = max(self._patience_before, heard)
        self._limits.clear()
