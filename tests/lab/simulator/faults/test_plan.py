"""Plans as values: what they say of themselves."""

from __future__ import annotations

from marfl_peer.lab.simulator.faults.plan import (
    Clock,
    Crash,
    Fault,
    Hostile,
    Hosts,
    Newcomers,
    Pause,
    Plan,
    Role,
    Share,
    Weather,
)
from marfl_peer.lab.simulator.faults.triggers import At, OnFrame

NOW = At(time_s=1.0)


def test_plan_without_faults_is_benign_and_honest() -> None:
    assert (Plan().is_benign, Plan().is_honest, Plan().newcomers) == (True, True, 0)


def test_plan_is_benign_while_nobody_fails() -> None:
    harmless = (
        Fault(what=Weather(for_s=1.0, loss=0.1), when=NOW),
        Fault(what=Newcomers(count=3), when=NOW),
        Fault(what=Clock(drift=1e-3), who=Hosts((1,)), when=NOW),
    )
    assert Plan(faults=harmless).is_benign
    assert Plan(faults=harmless).newcomers == 3
    assert not Plan(faults=(*harmless, Fault(what=Pause(for_s=1.0), who=Hosts((0,)), when=NOW))).is_benign


def test_plan_with_a_hostile_sender_is_not_honest() -> None:
    assert Plan(faults=(Fault(what=Crash(), who=Hosts((0,)), when=NOW),)).is_honest
    assert not Plan(faults=(Fault(what=Hostile(lie="nan", for_s=1.0), who=Hosts((0,)), when=NOW),)).is_honest


def test_faults_are_put_in_order_of_time() -> None:
    late = Fault(what=Crash(), when=At(time_s=9.0))
    soon = Fault(what=Crash(), when=At(time_s=2.0))
    sometime = Fault(what=Crash(), when=OnFrame(direction="sends"))
    assert Plan(faults=(sometime, late, soon)).in_order() == (soon, late, sometime)


def test_faults_read_like_sentences() -> None:
    crash = Fault(what=Crash(silently=True), who=Role("owner"), when=NOW)
    assert str(crash) == "crash of an owner at 1.000 s (silently True, disk kept)"
    assert str(Fault(what=Newcomers(count=2), when=NOW)) == "newcomers at 1.000 s (count 2)"
    assert str(Share(0.5)) == "50%"
    assert str(Hosts((1, 2))) == "peers 1, 2"
