from __future__ import annotations

import pytest
from network_of_machines import founding_view, peer

from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.meetings import Meetings
from marfl_peer.protocol.messages import LineName, Seat
from marfl_peer.protocol.placement import default_players
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.timetable import Timetable

VIEW = founding_view(16, 4)
ROW = LineName(iteration=1, round=2, line=4, view_mark=VIEW.mark)
COLUMN = LineName(iteration=1, round=1, line=1, view_mark=VIEW.mark)
SEAT = Seat(cell=5, weight=1, sums=(), maxima=())


def meetings(timetable: Timetable, gone: set[PeerId] | None = None) -> Meetings:
    return Meetings(
        peer(5),
        VIEW,
        iteration=Iteration(1),
        players=default_players(VIEW),
        timetable=timetable,
        gone=set() if gone is None else gone,
        base=Base(),
        speeds=Speeds(),
    )


def table() -> Timetable:
    return Timetable(allowance=2.0, update_times_s=[])


def test_line_is_made_once_and_known_from_then_on() -> None:
    lines = meetings(table())
    assert lines.known(ROW) is None
    made = lines.at(ROW)
    assert made is not None
    assert lines.at(ROW) is lines.known(ROW) is lines[ROW] is made
    with pytest.raises(KeyError):
        lines[COLUMN]


@pytest.mark.parametrize(("iteration", "round", "line"), [(2, 1, 0), (1, 1, 4), (1, 3, 0), (1, 0, 0)])
def test_line_of_another_iteration_or_grid_is_not_made(iteration: int, round: int, line: int) -> None:
    lines = meetings(table())
    name = LineName(iteration=iteration, round=round, line=line, view_mark=VIEW.mark)
    assert lines.at(name) is None
    assert lines.known(name) is None


def test_line_of_another_view_is_not_made() -> None:
    lines = meetings(table())
    elsewhere = LineName(iteration=1, round=2, line=4, view_mark=founding_view(15, 4).mark)
    assert lines.at(elsewhere) is None
    assert lines.at(ROW) is not None


def test_all_come_round_by_round_with_the_limits_of_now() -> None:
    timetable = table()
    lines = meetings(timetable)
    for name in (ROW, COLUMN):
        lines.at(name)
    timetable.arrive(peer(5), update_s=0.1, now=0.0)
    assert [(line.name, line.limits) for line in lines.all()] == [
        (COLUMN, timetable.limits(1)),
        (ROW, timetable.limits(2)),
    ]


def test_who_is_gone_by_then_does_not_lead_a_new_line() -> None:
    gone: set[PeerId] = set()
    lines = meetings(table(), gone)
    column = lines.at(COLUMN)
    gone.add(peer(4))
    row = lines.at(ROW)
    assert column is not None
    assert row is not None
    assert (column.leader, row.leader) == (peer(1), peer(5))


def test_next_deadline_is_the_earliest_of_those_that_wait() -> None:
    timetable = table()
    lines = meetings(timetable)
    assert lines.next_deadline() is None
    timetable.arrive(peer(5), update_s=0.1, now=0.0)
    for name in (ROW, COLUMN):
        line = lines.at(name)
        assert line is not None
        assert lines.next_deadline() == (None if name == ROW else timetable.limits(2).call_late_at)
        line.arrive(SEAT, update_s=0.1, now=0.0)
    assert lines.next_deadline() == timetable.limits(1).call_late_at
