from __future__ import annotations

import pytest
from msgspec import structs

from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.instructions import Instruction, Send
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import Ballot, Here, LineName, Play, Propose, Seat, Take
from marfl_peer.protocol.speeds import Speeds

NAME = LineName(iteration=1, round=2, line=0)


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def here(*cells: int, promised: Ballot | None = None) -> Here:
    seats = tuple(Seat(cell=cell, weight=1, sums=(), maxima=()) for cell in cells)
    return Here(name=NAME, view_digest="", seats=seats, update_s=0.0, promised=promised)


def leadership(
    gone: set[PeerId] | None = None,
    box: BallotBox | None = None,
    base: Base | None = None,
    speeds: Speeds | None = None,
    dial_only: tuple[int, ...] = (),
) -> Leadership:
    """Peer 0 on a line of three cells; peers 2 and 5 can take over any of them."""
    line = Line(
        name=NAME,
        view_digest="",
        players={cell: peer(cell) for cell in range(3)},
        candidates={cell: (peer(2), peer(5)) for cell in range(3)},
        dial_only=frozenset(map(peer, dial_only)),
    )
    ballots = BallotBox() if box is None else box
    return Leadership(
        peer(0),
        line,
        ballots=ballots,
        gone=set() if gone is None else gone,
        late=Lateness(line, ballots),
        base=base or Base(),
        speeds=speeds or Speeds(),
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
    line = Line(name=NAME, view_digest="", players={0: peer(0), 1: peer(1)}, candidates={})
    lead = Leadership(
        peer(0), line, ballots=ballots, gone=gone, late=Lateness(line, ballots), base=Base(), speeds=Speeds()
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


def test_who_may_not_sit_there_is_not_seated() -> None:
    lead = leadership()
    for sender, message in ((1, here(2)), (7, here(0)), (5, here(0, 0)), (1, here(1, 3))):
        assert lead.heard(peer(sender), message) == []
    assert not lead.awaits_somebody()
    lead.heard(peer(5), here(0, 1))
    assert lead.awaits_somebody()


def test_player_with_another_view_is_not_awaited() -> None:
    lead = leadership()
    lead.here(peer(0), here(0))
    lead.heard(peer(2), here(2))
    gone_astray = Here(name=NAME, view_digest="other", seats=here(1).seats, update_s=0.0, promised=None)
    lead.heard(peer(1), gone_astray)
    assert to(lead.lead(gather_is_over=False), Play) == [5]
    lead.cannot_play(peer(5), 1)
    assert to(lead.lead(gather_is_over=False), Play) == [2]
    lead.cannot_play(peer(2), 1)
    assert to(lead.lead(gather_is_over=False), Propose) == [0, 2]


def test_culprit_is_left_out_of_every_ballot_but_leads_on() -> None:
    lead = leadership()
    for number in range(3):
        lead.here(peer(number), here(number))
    lead.lead(gather_is_over=False)
    lead.expel(peer(0))
    assert lead.running is None
    assert lead.leader == peer(0)
    assert 0 not in to(lead.lead(gather_is_over=True), Propose)


def based(base: Base, *digests: str, full_in: tuple[int, ...] = ()) -> Propose:
    """What peer 0 proposes, with this base, to three members with those; the last also names iterations."""
    lead = leadership(base=base)
    for number, digest in enumerate(digests):
        lead.heard(peer(number), structs.replace(here(number), base=digest, full_in=full_in if number == 2 else ()))
    lead.lead(gather_is_over=False)
    assert lead.running is not None
    return lead.running


def test_members_with_one_base_encode_against_it_and_others_do_not() -> None:
    assert based(Base(digest="a"), "a", "a", "a").base == "a"
    proposed = based(Base(digest="a"), "a", "b", "a")
    assert (proposed.base, proposed.full_in) == ("", (3,))


def test_leader_passes_on_when_all_send_full_values_and_does_so_itself() -> None:
    proposed = based(Base(digest="a"), "a", "a", "a", full_in=(2,))
    assert (proposed.base, proposed.full_in) == ("a", (2,))
    proposed = based(Base(digest="a"), "a", "a", "a", full_in=(1,))
    assert (proposed.base, proposed.full_in) == ("", (1,))


def paced(speeds: Speeds, *told: int, base: str = "", dial_only: tuple[int, ...] = ()) -> Propose:
    """What the leader of three proposes when each says this of its link."""
    lead = leadership(base=Base(digest=base), speeds=speeds, dial_only=dial_only)
    for number, speed in enumerate(told):
        lead.heard(peer(number), structs.replace(here(number), base=base, speed=speed))
    lead.lead(gather_is_over=False)
    assert lead.running is not None
    return lead.running


@pytest.mark.parametrize(
    ("told", "shares"),
    [
        ((100, 100, 60), (500, 500, 0)),
        ((60, 100, 100), (0, 500, 500)),
        ((100, 60, 0), (500, 0, 500)),
        ((100, 99, 97), ()),
        ((0, 0, 0), ()),
        ((0, 0, 60), ()),
    ],
)
def test_member_with_a_much_slower_link_owns_less(told: tuple[int, ...], shares: tuple[int, ...]) -> None:
    assert paced(Speeds(), *told).shares == shares


def test_chunks_are_equal_where_values_are_encoded_or_everybody_owns_everything() -> None:
    assert paced(Speeds(balances=False), 100, 100, 60).shares == ()
    proposed = paced(Speeds(), 100, 100, 60, base="ab")
    assert (proposed.base, proposed.shares) == ("ab", ())


@pytest.mark.parametrize(
    ("dial_only", "shares"), [((), ()), ((1,), ()), ((1, 2), (1000, 0, 0)), ((0, 2), (0, 1000, 0)), ((0, 1, 2), ())]
)
def test_members_that_cannot_reach_each_other_own_nothing_and_send_full_values(
    dial_only: tuple[int, ...], shares: tuple[int, ...]
) -> None:
    assert paced(Speeds(), 100, 100, 100, dial_only=dial_only).shares == shares
    proposed = paced(Speeds(), 100, 100, 100, base="ab", dial_only=dial_only)
    assert (proposed.base, proposed.shares, proposed.full_in) == (("", shares, (3,)) if shares else ("ab", (), ()))
    assert paced(Speeds(balances=False), 100, 100, 100, dial_only=dial_only).shares == ()


def test_proposal_tells_the_slowest_that_its_leader_knows_of() -> None:
    speeds = Speeds()
    speeds.begin(NAME.iteration, 77)
    assert paced(speeds, 100, 100, 100).slowest == 77
