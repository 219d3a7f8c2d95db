"""One event after the other, a tick at the deadline, nothing after the end."""

from __future__ import annotations

import asyncio
import weakref

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId
from marfl_peer.peer.turns import Turns
from marfl_peer.protocol.instructions import Instruction, Send
from marfl_peer.protocol.messages import Heartbeat

MATE = PeerId("a" * 40)


class Machine:
    """Says what it is told to say; notes what is done."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.deadline: float | None = None
        self.ticked = asyncio.Event()
        self.next: list[list[Instruction]] = []
        self.turns = Turns(
            carry_out=self.carry_out,
            next_deadline=lambda: self.deadline,
            tick=self.tick,
            on_quiet=lambda: self.log.append("quiet"),
            clock=Clock(),
        )

    def event(self, name: str, *steps: Instruction) -> list[Instruction]:
        self.log.append(name)
        return list(steps)

    def carry_out(self, step: Instruction) -> None:
        self.log.append("step")
        if self.next:
            steps = self.next.pop(0)
            self.turns.happen(lambda: self.event("later", *steps))
            self.log.append("went on")

    def tick(self) -> list[Instruction]:
        self.deadline = None
        self.ticked.set()
        return self.event("tick")


STEP = Send(to=MATE, message=Heartbeat())


def test_event_that_a_step_causes_waits_for_its_turn(on_loop) -> None:
    async def main() -> None:
        machine = Machine()
        machine.next = [[STEP]]
        machine.turns.happen(lambda: machine.event("first", STEP, STEP))
        assert machine.log == ["first", "step", "went on", "step", "later", "step", "quiet"]

    on_loop(main())


def test_deadline_is_an_event(on_both_loops) -> None:
    async def main() -> None:
        machine = Machine()
        machine.deadline = asyncio.get_running_loop().time() + 0.01
        machine.turns.happen(lambda: machine.event("first"))
        assert machine.log == ["first", "quiet"]
        await machine.ticked.wait()
        assert machine.log == ["first", "quiet", "tick", "quiet"]

    on_both_loops(main())


def test_event_that_fails_leaves_the_way_free_for_the_next(on_loop) -> None:
    async def main() -> None:
        machine = Machine()

        def broken() -> list[Instruction]:
            raise ValueError("broken")

        try:
            machine.turns.happen(broken)
        except ValueError:
            machine.log.append("raised")
        machine.turns.happen(lambda: machine.event("next"))
        assert machine.log == ["raised", "next", "quiet"]

    on_loop(main())


def test_nothing_happens_after_the_end(on_loop) -> None:
    async def main() -> None:
        machine = Machine()
        machine.deadline = asyncio.get_running_loop().time()
        machine.turns.happen(lambda: machine.event("first"))
        machine.turns.close()
        machine.turns.happen(lambda: machine.event("second"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert machine.log == ["first", "quiet"]

    on_loop(main())


def test_closed_turns_do_not_hold_their_owner(on_loop) -> None:
    """What it holds is large, and must go without the collector of cycles."""

    class Owner:
        def carry_out(self, step: Instruction) -> None: ...

        def quiet(self) -> None: ...

    async def main() -> None:
        owner = Owner()
        turns = Turns(
            carry_out=owner.carry_out, next_deadline=lambda: None, tick=list, on_quiet=owner.quiet, clock=Clock()
        )
        is_there = weakref.ref(owner)
        turns.close()
        del owner
        assert is_there() is None

    on_loop(main())
