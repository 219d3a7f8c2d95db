"""What happens to a state machine, in turns: one event after the other, and a tick when its next deadline is reached.

Knows the order of events and the one timer; not what an event is, nor what carrying out an instruction does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from marfl_peer.clock import Clock
from marfl_peer.protocol.instructions import Instruction

Event = Callable[[], list[Instruction]]
"""Tells the machine what happened, and returns what it says."""


class Turns:
    """`tick` is the event of a deadline; `on_quiet` is called when no event is left and the timer is set."""

    def __init__(
        self,
        *,
        carry_out: Callable[[Instruction], None],
        next_deadline: Callable[[], float | None],
        tick: Event,
        on_quiet: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._carry_out, self._next_deadline, self._tick, self._on_quiet = carry_out, next_deadline, tick, on_quiet
        self._clock = clock
        self._events: deque[Event] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        """What the timer is set for."""
        self._is_draining = False
        self._is_closed = False

    def happen(self, event: Event) -> None:
        """Feeds the machine one event after the other, also where carrying out one makes the next happen."""
        self._events.append(event)
        if self._is_draining:
            return
        self._is_draining = True
        carry_out = self._carry_out
        try:
            while self._events and not self._is_closed:
                for step in self._events.popleft()():
                    carry_out(step)
        finally:
            self._is_draining = False
        if not self._is_closed:
            self._set_timer()
            self._on_quiet()

    def close(self) -> None:
        """Nothing happens any more."""
        self._is_closed = True
        # Lets go of its owner: the vectors behind it must not wait for the collector of cycles.
        self._carry_out, self._on_quiet = _ignore, _rest
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        deadline = self._next_deadline()
        if deadline == self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._deadline = deadline
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(deadline, self._clock.now()), self._ring)

    def _ring(self) -> None:
        self._timer = self._deadline = None
        self.happen(self._tick)


def _ignore(step: Instruction) -> None: ...


def _rest() -> None: ...
