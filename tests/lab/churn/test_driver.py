"""Signals and restarts reach the processes at once or at their time, and every step is noted."""

from __future__ import annotations

import asyncio
from signal import SIGCONT, SIGKILL, SIGSTOP

from marfl_peer.facts import IterationStarted
from marfl_peer.lab.churn.churn import Churn
from marfl_peer.lab.churn.driver import ChurnDriver
from marfl_peer.lab.churn.plan import Action, ChurnPlan, Event, Listed, Moment
from marfl_peer.lab.churn.steps import Restart, Step, Strike


class Scene:
    """A driver of one event, and what it did."""

    def __init__(self, told, event: Event) -> None:
        self.sent: list[tuple[int, int]] = []
        self.noted: list[Step] = []
        self.restarted = asyncio.Event()
        self.driver = ChurnDriver(
            Churn(ChurnPlan(seed=0, events=(event,)), peers=2, iterations=5),
            now=asyncio.get_running_loop().time,
            signal=lambda index, number: self.sent.append((index, number)),
            restart=lambda index: self.restarted.set(),
            note=self.noted.append,
        )
        for index in (0, 1):
            self.driver.heard(index, told.started())


def test_kill_is_carried_out_at_once_and_the_restart_at_its_time(on_loop, told) -> None:
    async def main() -> None:
        event = Event(action=Action.KILL, peers=Listed((1,)), when=Moment.UPDATE, restart_after_s=0.01)
        scene = Scene(told, event)
        with scene.driver as driver:
            driver.heard(0, IterationStarted(iteration=1))
            assert scene.sent == []
            driver.heard(1, IterationStarted(iteration=1))
            assert scene.sent == [(1, SIGKILL)]
            driver.exited(1, killed=True)
            assert not scene.restarted.is_set()
            await scene.restarted.wait()
        assert scene.noted == [Strike(1, SIGKILL, Action.KILL, 1), Restart(1, 1)]

    on_loop(main())


def test_whoever_is_stopped_goes_on_when_the_plan_is_given_up(on_loop, told) -> None:
    async def main() -> None:
        scene = Scene(told, Event(action=Action.PAUSE, peers=Listed((0,)), when=Moment.UPDATE))
        with scene.driver as driver:
            driver.heard(0, IterationStarted(iteration=1))
            driver.give_up()
            driver.give_up()
        assert scene.sent == [(0, SIGSTOP), (0, SIGCONT)]

    on_loop(main())


def test_nothing_rings_after_the_driver_was_left(on_loop, told) -> None:
    async def main() -> None:
        scene = Scene(told, Event(action=Action.PAUSE, peers=Listed((0,)), when=Moment.UPDATE, for_s=0.0))
        with scene.driver as driver:
            driver.heard(0, IterationStarted(iteration=1))
        for _ in range(5):
            await asyncio.sleep(0)
        assert scene.sent == [(0, SIGSTOP)]

    on_loop(main())
