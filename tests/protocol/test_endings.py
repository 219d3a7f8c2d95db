from __future__ import annotations

import pytest
from one_line import LINE, NAME, ballot, members, peer

from marfl_peer.facts import WaitEnded
from marfl_peer.protocol.endings import Ending, conclusion, exchanged, skipped, taken
from marfl_peer.protocol.instructions import FinishLine, Tell
from marfl_peer.protocol.lines import Line


@pytest.mark.parametrize(
    ("present", "outcome", "absent"),
    [((0, 1, 2, 3), "complete", 0), ((0, 1, 3), "partial", 1), ((2, 3), "partial", 2), ((1,), "alone", 3)],
)
def test_exchange_ends_by_who_was_there(present: tuple[int, ...], outcome: str, absent: int) -> None:
    ending = exchanged(LINE, ballot(2), members(*present))
    assert (ending.outcome, ending.absent, ending.ballot) == (outcome, absent, ballot(2))
    assert ending.members == tuple(peer(number) for number in present)


def test_line_with_one_player_is_complete_with_it_alone() -> None:
    own = Line(name=NAME, view_digest="", players={0: peer(0)}, candidates={})
    assert exchanged(own, ballot(1), members(0)).outcome == "complete"


def test_fetched_result_is_taken_and_none_is_skipped() -> None:
    assert taken(ballot(1), (peer(3),)) == Ending(outcome="taken", ballot=ballot(1), members=(peer(3),), absent=0)
    assert skipped(LINE) == Ending(outcome="skipped", ballot=None, members=(), absent=4)


@pytest.mark.parametrize(
    ("ending", "outcome"), [(taken(ballot(1), (peer(3),)), "arrived"), (skipped(LINE), "deadline")]
)
def test_wait_is_told_before_the_cells_go_on(ending: Ending, outcome: str) -> None:
    told, finish = conclusion(NAME, ending, attempts=3, waited_s=1.5, allowed_s=12.0)
    assert isinstance(told, Tell)
    assert isinstance(told.fact, WaitEnded)
    assert (told.fact.iteration, told.fact.round, told.fact.outcome) == (1, 2, outcome)
    assert (told.fact.seconds, told.fact.allowed_s) == (1.5, 12.0)
    assert finish == FinishLine(
        name=NAME,
        outcome=ending.outcome,
        ballot=ending.ballot,
        members=ending.members,
        attempts=3,
        absent=ending.absent,
        seconds=1.5,
    )
