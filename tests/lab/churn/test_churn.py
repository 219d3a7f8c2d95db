"""A plan on a run that is told fact by fact: who is struck when, who comes back, and that all go on in the end."""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from marfl_peer.facts import Fact, IterationStarted
from marfl_peer.lab.churn.churn import MAX_ABSENCE_S, SLOW_PERIOD_S, Churn
from marfl_peer.lab.churn.plan import Action, Chance, ChurnPlan, Count, Event, Listed, Moment, Share
from marfl_peer.lab.churn.steps import ChurnCounts, Restart, Step, Strike

ITERATIONS = 10


class Run:
    """Peers that run, and what is done to them, as (time, index, what)."""

    def __init__(self, told, *events: Event, peers: int = 4, seed: int = 1) -> None:
        self.told = told
        self.churn = Churn(ChurnPlan(seed=seed, events=events), peers=peers, iterations=ITERATIONS)
        self.now = 0.0
        self.done: list[tuple[float, int, object]] = []
        self.peers = peers
        for index in range(peers):
            self.tell(index, told.started())

    def _note(self, steps: list[Step]) -> None:
        for step in steps:
            what = step.number if isinstance(step, Strike) else "restart"
            self.done.append((self.now, step.index, what))

    def tell(self, index: int, *facts: Fact) -> None:
        for fact in facts:
            self._note(self.churn.heard(index, fact, now=self.now))

    def begin(self, iteration: int, *peers: int) -> None:
        for index in peers or range(self.peers):
            self.tell(index, IterationStarted(iteration=iteration))

    def update(self, iteration: int, *peers: int) -> None:
        for index in peers or range(self.peers):
            self.tell(index, self.told.updated(iteration, 0.1, 10))

    def finish(self, iteration: int, *peers: int) -> None:
        for index in peers or range(self.peers):
            self.tell(index, self.told.finished(iteration))

    def exit(self, index: int, *, killed: bool = True) -> None:
        self._note(self.churn.exited(index, killed=killed, now=self.now))

    def wait(self, until: float) -> None:
        while (at := self.churn.next_deadline()) is not None and at <= until:
            self.now = max(self.now, at)
            self._note(self.churn.tick(now=self.now))
        self.now = until

    def what(self) -> list[tuple[int, object]]:
        return [(index, what) for _, index, what in self.done]


def kill(*peers: int, **settings) -> Event:
    return Event(action=Action.KILL, peers=Listed(peers), **settings)


@pytest.mark.parametrize(
    ("when", "struck_after"),
    [(Moment.UPDATE, "begin"), (Moment.BEFORE_ROUND, "update")],
)
def test_victim_is_struck_at_its_moment_of_its_iteration(told, when: Moment, struck_after: str) -> None:
    run = Run(told, kill(2, iteration=3, when=when))
    for iteration in (1, 2):
        run.begin(iteration)
        run.update(iteration)
        run.finish(iteration)
    assert run.done == []
    run.begin(3)
    assert run.what() == ([(2, SIGKILL)] if struck_after == "begin" else [])
    run.update(3)
    assert run.what() == [(2, SIGKILL)]
    assert run.churn.counts == ChurnCounts(killed=1)


def test_instants_of_an_aggregation_lie_between_its_update_and_its_end(told) -> None:
    moments = set()
    for seed in range(60):
        run = Run(told, kill(1, iteration=1), seed=seed)
        run.tell(0, told.view(1, 4, (2, 2)))
        run.begin(1)
        for name, fact in (
            ("updated", told.updated(1, 0.1, 10)),
            ("agreed 1", told.agreed(1, 1)),
            ("finished 1", told.group(1, 1, 0, "complete")),
            ("agreed 2", told.agreed(1, 2)),
            ("finished 2", told.group(1, 2, 0, "complete")),
            ("end", told.finished(1)),
        ):
            assert not run.done
            run.tell(1, fact)
            run.wait(run.now + 2.0)
            if run.done:
                moments.add(name)
                break
        assert run.what() == [(1, SIGKILL)]
    assert moments == {"updated", "agreed 1", "finished 1", "agreed 2"}


def test_victim_whose_instant_does_not_come_is_struck_at_the_end_of_its_iteration(told) -> None:
    run = Run(told, kill(1, iteration=1))
    run.begin(1)
    run.finish(1)
    assert run.what() == [(1, SIGKILL)]


def test_victim_that_skips_its_iteration_gets_away(told) -> None:
    run = Run(told, kill(1, iteration=2, when=Moment.BEFORE_ROUND))
    run.begin(1)
    run.begin(2, 0)
    run.begin(3, 1)
    run.update(2, 1)
    run.update(3, 1)
    assert run.done == []


def test_killed_peer_is_started_again_after_its_time(told) -> None:
    run = Run(told, kill(1, when=Moment.UPDATE, restart_after_s=2.0))
    run.begin(1)
    assert not run.churn.restarts_are_due(), "it has not ended yet"
    run.exit(1)
    assert run.churn.restarts_are_due()
    run.wait(10.0)
    assert run.done == [(0.0, 1, SIGKILL), (2.0, 1, "restart")]
    run.tell(1, told.started())
    assert not run.churn.restarts_are_due()
    assert run.churn.counts == ChurnCounts(killed=1, restarted=1)


def test_peer_that_ends_by_itself_is_not_started_again(told) -> None:
    run = Run(told, kill(1, when=Moment.UPDATE, restart_after_s=2.0))
    run.begin(1)
    run.exit(1, killed=False)
    run.wait(10.0)
    assert run.what() == [(1, SIGKILL)]


def test_nobody_is_started_again_when_the_run_is_over(told) -> None:
    run = Run(told, kill(1, when=Moment.UPDATE, restart_after_s=2.0))
    run.begin(1)
    run.exit(1)
    run.tell(0, told.stopped("finished"))
    run.wait(10.0)
    assert run.what() == [(1, SIGKILL)]
    assert not run.churn.restarts_are_due()


def test_event_restarts_those_that_were_killed_for_good(told) -> None:
    restart = Event(action=Action.RESTART, peers=Share(1.0), iteration=4)
    run = Run(told, kill(1, 2, when=Moment.UPDATE), restart)
    run.begin(1)
    run.exit(1)
    run.exit(2)
    for iteration in (2, 3, 4):
        run.begin(iteration, 0, 3)
    assert run.what() == [(1, SIGKILL), (2, SIGKILL), (1, "restart"), (2, "restart")]


def test_share_is_of_those_that_are_in_the_swarm_and_drawn_anew(told) -> None:
    run = Run(told, Event(action=Action.KILL, peers=Share(0.25), every=1, when=Moment.UPDATE), peers=16)
    alive = set(range(16))
    struck = []
    for iteration in (1, 2, 3):
        before = len(run.done)
        run.begin(iteration, *sorted(alive))
        struck.append({index for _, index, _ in run.done[before:]})
        alive -= struck[-1]
        for index in struck[-1]:
            run.exit(index)
    assert [len(victims) for victims in struck] == [4, 3, 2]
    assert not struck[0] & struck[1]


def test_peer_on_its_way_in_is_not_struck(told) -> None:
    run = Run(told, kill(1, every=1, when=Moment.UPDATE))
    run.begin(1)
    run.exit(1)
    run.tell(1, told.started())
    run.begin(2, 0, 2, 3)
    run.begin(3, 0, 2, 3)
    assert run.what() == [(1, SIGKILL)]
    run.begin(3, 1)
    run.begin(4)
    assert run.what() == [(1, SIGKILL), (1, SIGKILL)]


def test_pause_ends_after_its_time(told) -> None:
    run = Run(told, Event(action=Action.PAUSE, peers=Listed((1,)), when=Moment.UPDATE, for_s=3.0))
    run.begin(1)
    run.wait(10.0)
    assert run.done == [(0.0, 1, SIGSTOP), (3.0, 1, SIGCONT)]
    assert run.churn.counts == ChurnCounts(paused=1)


def test_pause_without_an_end_lasts_until_it_is_ended_or_the_run_is(told) -> None:
    pause = Event(action=Action.PAUSE, peers=Listed((1, 2)), when=Moment.UPDATE)
    resume = Event(action=Action.RESUME, peers=Listed((1,)), iteration=3)
    run = Run(told, pause, resume)
    run.begin(1)
    run.begin(2, 0, 3)
    assert run.what() == [(1, SIGSTOP), (2, SIGSTOP)]
    run.begin(3, 0, 3)
    assert run.what()[2:] == [(1, SIGCONT)]
    run.tell(0, told.stopped("finished"))
    assert run.what()[3:] == [(2, SIGCONT)]


def test_alarm_of_an_ended_pause_does_not_end_the_next(told) -> None:
    pause = Event(action=Action.PAUSE, peers=Listed((1,)), when=Moment.UPDATE, for_s=5.0, every=2)
    resume = Event(action=Action.RESUME, peers=Listed((1,)), iteration=2)
    run = Run(told, pause, resume)
    run.begin(1)
    run.wait(4.0)
    run.begin(2)
    run.begin(3)
    run.wait(20.0)
    assert run.done == [(0.0, 1, SIGSTOP), (4.0, 1, SIGCONT), (4.0, 1, SIGSTOP), (9.0, 1, SIGCONT)]


def test_drop_out_lasts_until_most_others_are_through(told) -> None:
    run = Run(told, Event(action=Action.DROPOUT, peers=Listed((1,)), iteration=2))
    run.begin(1)
    run.finish(1)
    run.begin(2)
    assert run.what() == [(1, SIGSTOP)], "before its update is over"
    run.update(2, 0, 2, 3)
    run.finish(2, 0)
    assert len(run.done) == 1
    run.finish(2, 2)
    assert run.what() == [(1, SIGSTOP), (1, SIGCONT)]
    assert run.churn.counts == ChurnCounts(dropped_out=1)


def test_drop_out_ends_when_those_that_are_not_through_die(told) -> None:
    run = Run(told, Event(action=Action.DROPOUT, peers=Listed((1,))))
    run.begin(1)
    run.finish(1, 0)
    assert len(run.done) == 1
    run.exit(2)
    run.exit(3)
    assert run.what() == [(1, SIGSTOP), (1, SIGCONT)]


def test_drop_out_ends_in_any_case(told) -> None:
    run = Run(told, Event(action=Action.DROPOUT, peers=Listed((1,))))
    run.begin(1)
    run.wait(2 * MAX_ABSENCE_S)
    assert run.done == [(0.0, 1, SIGSTOP), (MAX_ABSENCE_S, 1, SIGCONT)]


def test_nobody_drops_out_of_the_last_iteration(told) -> None:
    run = Run(told, Event(action=Action.DROPOUT, peers=Chance(1.0), iteration=ITERATIONS))
    run.begin(ITERATIONS)
    assert run.done == []


def test_slow_peer_stands_still_for_its_part_of_every_period(told) -> None:
    event = Event(action=Action.SLOW, peers=Listed((1,)), when=Moment.UPDATE, for_s=2.0, speed=0.25)
    run = Run(told, event)
    run.begin(1)
    run.wait(10.0)
    times = [at for at, _, _ in run.done]
    signals = [what for _, _, what in run.done]
    assert signals == [SIGSTOP, SIGCONT] * (len(signals) // 2) and len(signals) > 10
    still = [end - start for start, end in zip(times[::2], times[1::2], strict=True)]
    assert still[:-1] == pytest.approx([0.75 * SLOW_PERIOD_S] * (len(still) - 1))
    assert times[-1] < 2.0 + SLOW_PERIOD_S
    assert run.churn.counts == ChurnCounts(slowed=1)


def test_one_peer_is_spared(told) -> None:
    run = Run(told, Event(action=Action.KILL, peers=Count(4), when=Moment.UPDATE))
    run.begin(1)
    assert len(run.done) == 3


def test_same_seed_does_the_same(told) -> None:
    def deeds(seed: int) -> list[tuple[float, int, object]]:
        run = Run(told, Event(action=Action.KILL, peers=Share(0.4), restart_after_s=1.0), peers=10, seed=seed)
        run.begin(1)
        run.update(1)
        run.finish(1)
        return run.done

    assert deeds(1) == deeds(1)
    assert len({tuple(deeds(seed)) for seed in range(5)}) == 5


def test_plan_that_is_given_up_lets_everybody_go_on_and_strikes_nobody(told) -> None:
    pause = Event(action=Action.PAUSE, peers=Listed((1, 2)), when=Moment.UPDATE)
    run = Run(told, pause, kill(3, when=Moment.BEFORE_ROUND, restart_after_s=1.0), kill(0, iteration=2))
    run.begin(1)
    run.done.clear()
    run._note(run.churn.give_up())
    assert run.what() == [(1, SIGCONT), (2, SIGCONT)]
    run.update(1)
    run.begin(2)
    run.finish(2)
    run.wait(100.0)
    assert len(run.done) == 2
    assert not run.churn.restarts_are_due()


def test_step_names_what_it_is_for(told) -> None:
    run = Run(told)
    churn = Churn(
        ChurnPlan(seed=1, events=(kill(1, when=Moment.UPDATE, restart_after_s=0.0),)), peers=2, iterations=ITERATIONS
    )
    for index in (0, 1):
        churn.heard(index, told.started(), now=0.0)
    assert run.done == []
    assert churn.heard(1, IterationStarted(iteration=1), now=0.0) == [Strike(1, SIGKILL, Action.KILL, 1)]
    churn.exited(1, killed=True, now=0.0)
    assert churn.tick(now=0.0) == [Restart(1, 1)]
