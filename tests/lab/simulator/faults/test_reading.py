"""Plans from files, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.faults.plan import (
    ANYONE,
    Crash,
    Cut,
    Fault,
    Hold,
    Hostile,
    Hosts,
    Newcomers,
    Plan,
    Role,
    Share,
    Weather,
)
from marfl_peer.lab.simulator.faults.reading import read_plan
from marfl_peer.lab.simulator.faults.triggers import At, OnFact, OnFrame

WHOLE = """
[[fault]]
what = "crash"
peers = "owner"
sends = "Part.gather"
iteration = 2
nth = 3
edge = "before"
restart_after_s = 1
disk = "damaged"

[[fault]]
what = "cut"
peers = [3, 1]
others = [0]
direction = "out"
for_s = 2.5
at_s = 4

[[fault]]
what = "weather"
loss = 0.2
for_s = 3
tells = "GroupAgreed"

[[fault]]
what = "hostile"
lie = "nan"
for_s = 1.0
peers = "50%"
at_s = 0

[[fault]]
what = "newcomers"
count = 8
at_s = 1.5

[[fault]]
what = "hold"
peers = "bootstrap"
sends = "any"
for_s = 1.0

[[fault]]
what = "crash"
peers = 4
silently = true
receives = "Ready"
"""


def _read(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return read_plan(path)


def test_every_kind_of_entry_is_read(tmp_path: Path) -> None:
    assert _read(tmp_path, WHOLE).faults == (
        Fault(
            what=Crash(restart_after_s=1.0, disk="damaged"),
            who=Role("owner"),
            when=OnFrame(direction="sends", message="Part.gather", iteration=2, nth=3, edge="before"),
        ),
        Fault(
            what=Cut(for_s=2.5, others=Hosts((0,)), direction="out"),
            who=Hosts((1, 3)),
            when=At(time_s=4.0),
        ),
        Fault(what=Weather(for_s=3.0, loss=0.2), who=ANYONE, when=OnFact(fact="GroupAgreed")),
        Fault(what=Hostile(lie="nan", for_s=1.0), who=Share(0.5), when=At(time_s=0.0)),
        Fault(what=Newcomers(count=8), when=At(time_s=1.5)),
        Fault(what=Hold(for_s=1.0), who=Hosts((0, 1)), when=OnFrame(direction="sends")),
        Fault(what=Crash(silently=True), who=Hosts((4,)), when=OnFrame(direction="receives", message="Ready")),
    )


def test_empty_file_is_a_plan_without_faults(tmp_path: Path) -> None:
    assert _read(tmp_path, "") == Plan()


CRASH = '[[fault]]\nwhat = "crash"\n'


@pytest.mark.parametrize(
    ("text", "named", "remedy"),
    [
        ("faults = 1", "plan.toml: faults", "tables"),
        ("fault = 1", "plan.toml: fault", "table"),
        ("[[fault]]", "fault 1: what", "choose one of"),
        ('[[fault]]\nwhat = "crush"\nat_s = 1', "fault 1: what", "did you mean crash?"),
        (CRASH, "fault 1: at_s", "say when"),
        (CRASH + 'at_s = 1\nsends = "Ready"', "fault 1: at_s", "say when"),
        (CRASH + "at_s = 1\nrestart_after = 1", "fault 1: restart_after", "did you mean restart_after_s?"),
        (CRASH + "at_s = -1", "fault 1: at_s", "negative"),
        (CRASH + 'at_s = "1"', "fault 1: at_s", "number"),
        (CRASH + "at_s = 1\nnth = 2", "fault 1: nth", "does not go with at_s"),
        (CRASH + 'sends = "Redy"', "fault 1: sends", "did you mean Ready?"),
        (CRASH + 'sends = "Ready"\nnth = 0', "fault 1: nth", "from 1"),
        (CRASH + 'sends = "Ready"\nnth = 1.5', "fault 1: nth", "whole number"),
        (CRASH + 'sends = "Ready"\nedge = "amid"', "fault 1: edge", "choose one of"),
        (CRASH + 'tells = "GroupAgreed"\nedge = "after"', "fault 1: edge", "goes with"),
        (CRASH + 'at_s = 1\npeers = "boss"', "fault 1: peers", "indices"),
        (CRASH + 'at_s = 1\npeers = "0%"', "fault 1: peers", "indices"),
        (CRASH + "at_s = 1\npeers = []", "fault 1: peers", "list"),
        (CRASH + "at_s = 1\npeers = [true]", "fault 1: peers", "list"),
        (CRASH + "at_s = 1\nsilently = 1", "fault 1: silently", "true or false"),
        (CRASH + 'at_s = 1\ndisk = "gone"', "fault 1: disk", "choose one of"),
        ('[[fault]]\nwhat = "pause"\nat_s = 1', "fault 1: for_s", "missing"),
        ('[[fault]]\nwhat = "cut"\nat_s = 1\nfor_s = 1\nothers = 1', "fault 1: others", "list"),
        ('[[fault]]\nwhat = "weather"\nat_s = 1\nfor_s = 1\nloss = 1.0', "fault 1: loss", "probability"),
        ('[[fault]]\nwhat = "slow"\nat_s = 1\nfor_s = 1\nfactor = 0', "fault 1: factor", "more than 0"),
        ('[[fault]]\nwhat = "clock"\nat_s = 1\ndrift = -1', "fault 1: drift", "backwards"),
        ('[[fault]]\nwhat = "hold"\nat_s = 1\nfor_s = 1', "fault 1: what", "sends"),
        (CRASH + "at_s = 1\n" + CRASH + "at_s = true", "fault 2: at_s", "number"),
        ("=", "plan.toml", "not valid TOML"),
    ],
)
def test_what_cannot_be_is_named_with_its_remedy(tmp_path: Path, text: str, named: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, text)
    assert named in caught.value.what
    assert remedy in caught.value.remedy


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")
