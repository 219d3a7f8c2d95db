from __future__ import annotations

from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.instructions import Instruction, Send
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.messages import Ballot, Here, LineName, Play, Propose, Seat, Take

NAME = LineName(iteration=1, round=2, line=0)


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def here(*cells: int, promised: Ballot | None = None) -> Here:
    seats = tuple(Seat(cell=cell, weight=1, sums=(), maxima=()) for cell in cells)
    return Here(name=NAME, view_digest="", seats=seats, update_s=0.0, promised=promised)


def leadership(gone: set[PeerId] | None = None) -> Leadership:
    """Peer 0 on a line of three cells; peers 2 and 5 can take over any of them."""
    return Leadership(
        me=peer(0),
        name=NAME,
        players={cell: peer(cell) for cell in range(3)},
        candidates={cell: (peer(2), peer(5)) for cell in range(3)},
        view_digest="",
        ballots=BallotBox(),
        gone=set() if gone is None else gone,
    )


def to(steps: list[Instruction], kind: type) -> list[int]:
    return [int(step.to, 16) for step in steps if isinstance(step, Send) and isinstance(step.message, kind)]


def test_lowest_living_player_leads() -> None:
    gone: set[PeerId] = set()
    lead = leadership(gone)
    assert lead.leader == peer(0)
    gone |= {peer(0), peer(1)}
    assert lead.leader == peer(2)
    gone.add(peer(2))
    assert lead.leader is None


def test_nothing_is_proposed_for_nobody_and_no_deadline_matters() -> None:
    lead = leadership()
    assert lead.lead(gather_is_over=True) == []
    assert not lead.awaits_somebody()


def test_same_news_twice_makes_one_proposal() -> None:
    lead = leadership()
    for number in range(3):
        lead.here(peer(number), here(number))
    assert lead.awaits_somebody()
    assert to(lead.lead(gather_is_over=False), Propose) == [0, 1, 2]
    assert lead.lead(gather_is_over=True) == []
    assert not lead.awaits_somebody()


def test_deadline_matters_again_when_everybody_who_held_the_result_is_gone() -> None:
    gone: set[PeerId] = set()
    ballots = BallotBox()
    lead = Leadership(
        me=peer(0),
        name=NAME,
        players={0: peer(0), 1: peer(1)},
        candidates={},
        view_digest="",
        ballots=ballots,
        gone=gone,
    )
    lead.here(peer(0), here(0))
    ballots.holds(Ballot(attempt=1, leader=peer(0)), peer(1))
    assert not lead.awaits_somebody()
    gone.add(peer(1))
    assert lead.awaits_somebody()


def test_candidate_without_another_cell_of_the_line_is_asked_first() -> None:
    gone = {peer(1)}
    lead = leadership(gone)
    assert to(lead.lead(gather_is_over=False), Play) == [5]
    assert lead.lead(gather_is_over=False) == []
    lead.cannot_play(peer(5), 1)
    assert to(lead.lead(gather_is_over=False), Play) == [2]


def test_player_of_two_cells_is_one_member_in_the_place_of_the_lower() -> None:
    lead = leadership({peer(1)})
    lead.here(peer(2), here(1, 2))
    lead.here(peer(0), here(0))
    lead.lead(gather_is_over=False)
    assert lead.running is not None
    seats = [[seat.cell for seat in member.seats] for member in lead.running.members]
    assert seats == [[0], [1, 2]]


def test_here_with_fewer_seats_is_old_news() -> None:
    lead = leadership({peer(1)})
    lead.here(peer(2), here(1, 2))
    lead.here(peer(2), here(2))
    lead.here(peer(0), here(0))
    lead.lead(gather_is_over=False)
    assert lead.running is not None
    assert sum(len(member.seats) for member in lead.running.members) == 3


def test_member_that_says_here_again_gets_the_proposal_again_and_later_the_result() -> None:
    lead = leadership()
    for number in range(3):
        lead.here(peer(number), here(number))
    lead.lead(gather_is_over=False)
    assert lead.running is not None
    assert to(lead.here(peer(1), here(1)), Propose) == [1]
    running = lead.running.ballot
    assert lead.here(peer(1), here(1, promised=running)) == []
    lead._ballots.complete(running, peer(0))
    steps = lead.lead(gather_is_over=False)
    assert to(steps, Take) == [1]
    assert lead.lead(gather_is_over=False) == []


def test_only_different_cells_that_are_ones_own_may_be_played() -> None:
    lead = leadership()
    assert lead.may_play(peer(1), [1])
    assert lead.may_play(peer(5), [0, 1])
    assert not lead.may_play(peer(1), [2])
    assert not lead.may_play(peer(5), [0, 0])
    assert not lead.may_play(peer(7), [0])
    assert not lead.may_play(peer(5), [3])
    assert lead.concerns(peer(5))
    assert not lead.concerns(peer(7))
