"""Plans as values: what they say of themselves."""

from __future__ import annotations

from marfl_peer.lab.simulator.faults.plan import (
    Crash,
    Fault,
    Hosts,
    Newcomers,
    Plan,
    Role,
    Share,
    Weather,
)
from marfl_peer.lab.simulator.faults.triggers import At

NOW = At(time_s=1.0)


def test_newcomers_of_all_faults_are_counted() -> None:
    storm = Fault(what=Weather(for_s=1.0, loss=0.1), when=NOW)
    groups = [Fault(what=Newcomers(count=count), when=NOW) for count in (3, 1)]
    assert [Plan().newcomers, Plan(faults=(storm, *groups)).newcomers] == [0, 4]


def test_faults_read_like_sentences() -> None:
    crash = Fault(what=Crash(silently=True), who=Role("owner"), when=NOW)
    assert str(crash) == "crash of an owner at 1.000 s (silently True, disk kept)"
    assert str(Fault(what=Newcomers(count=2), when=NOW)) == "newcomers at 1.000 s (count 2)"
    assert str(Share(0.5)) == "50%"
    assert str(Hosts((1, 2))) == "peers 1, 2"
