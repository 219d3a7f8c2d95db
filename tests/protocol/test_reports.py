"""What one peer tells the leaders of its line, as the lead passes from one to the other."""

from __future__ import annotations

from one_line import LINE, NAME, ballot, peer, propose, seat, sent

from marfl_peer.ids import PeerId
from marfl_peer.protocol.attendance import Attendance
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.messages import CannotPlay, Done, Here, Nack
from marfl_peer.protocol.phases import Event
from marfl_peer.protocol.reports import Reports
from marfl_peer.protocol.speeds import Speeds


class Teller:
    """A peer that is here, with everything that its reports speak of."""

    def __init__(self, me: int) -> None:
        self.gone: set[PeerId] = set()
        self.ballots = BallotBox()
        self.late = Lateness(LINE, self.ballots)
        self.part = Attendance(peer(me), LINE, ballots=self.ballots, late=self.late, base=Base(), speeds=Speeds())
        self.lead = Leadership(
            peer(me), LINE, ballots=self.ballots, gone=self.gone, late=self.late, base=Base(), speeds=Speeds()
        )
        self.reports = Reports(peer(me), LINE, self.ballots, self.part, self.lead)
        self.part.arrive(seat(me), update_s=0.1, now=0.0)

    def exchange(self, *numbers: int) -> None:
        self.part.proposed(peer(0), propose(1, *numbers))

    def complete(self, me: int) -> None:
        self.ballots.complete(ballot(1), peer(me))
        self.part.end(Event.EXCHANGED)


def test_here_goes_to_the_leader_and_is_noted_for_oneself() -> None:
    teller = Teller(2)
    assert [to for to, _ in sent(teller.reports.here(), Here)] == [0]
    teller = Teller(0)
    assert teller.reports.here() == []
    assert teller.lead.awaits_somebody()


def test_nobody_is_told_where_nobody_leads() -> None:
    teller = Teller(2)
    teller.gone |= {peer(number) for number in range(4)}
    assert teller.reports.here() == []
    assert teller.reports.another_ballot() == []
    assert teller.reports.given_up() == []


def test_every_leader_is_told_once() -> None:
    teller = Teller(2)
    teller.reports.here()
    assert teller.reports.follow() == []
    teller.gone.add(peer(0))
    assert [to for to, _ in sent(teller.reports.follow(), Here)] == [1]
    assert teller.reports.follow() == []


def test_who_is_absent_or_gave_up_tells_a_new_leader_nothing() -> None:
    other, box = Teller(2), BallotBox()
    absent = Reports(
        peer(2),
        LINE,
        box,
        Attendance(peer(2), LINE, ballots=box, late=other.late, base=Base(), speeds=Speeds()),
        other.lead,
    )
    assert absent.follow() == []
    teller = Teller(2)
    teller.part.end(Event.GAVE_UP)
    assert teller.reports.follow() == []


def test_holder_tells_the_new_leader_what_it_holds() -> None:
    teller = Teller(2)
    teller.reports.here()
    teller.exchange(0, 1, 2)
    teller.complete(2)
    teller.gone.add(peer(0))
    assert sent(teller.reports.follow(), Done) == [(1, Done(name=NAME, completed=ballot(1)))]
    teller.gone |= {peer(1)}
    # Now it leads itself.
    assert teller.reports.follow() == []


def test_leader_that_is_back_is_told_again() -> None:
    teller = Teller(2)
    teller.reports.here()
    assert [to for to, _ in sent(teller.reports.back(peer(0)), Here)] == [0]
    assert teller.reports.back(peer(1)) == []


def test_whoever_is_back_hears_of_the_result_unless_the_line_is_none_of_its_business() -> None:
    teller = Teller(2)
    teller.reports.here()
    teller.exchange(0, 1, 2)
    teller.complete(2)
    assert [to for to, _ in sent(teller.reports.back(peer(3)), Done)] == [3]
    assert [to for to, _ in sent(teller.reports.back(peer(8)), Done)] == [8]
    assert teller.reports.back(peer(77)) == []


def test_another_ballot_is_asked_of_the_leader_by_a_nack_of_what_was_promised() -> None:
    teller = Teller(2)
    assert teller.reports.another_ballot() == []
    teller.exchange(0, 1, 2)
    assert sent(teller.reports.another_ballot(), Nack) == [(0, Nack(name=NAME, ballot=ballot(1), promised=ballot(1)))]


def test_leader_that_wants_another_ballot_ends_its_own() -> None:
    teller = Teller(0)
    teller.reports.here()
    teller.lead.lead(gather_is_over=True)
    teller.exchange(0)
    assert teller.lead.running is not None
    assert teller.reports.another_ballot() == []
    assert teller.lead.running is None


def test_leader_hears_of_every_cell_that_is_given_up() -> None:
    teller = Teller(2)
    teller.part.arrive(seat(3), update_s=0.1, now=0.0)
    steps = teller.reports.given_up()
    assert sent(steps, CannotPlay) == [(0, CannotPlay(name=NAME, cell=cell)) for cell in (2, 3)]


def test_leader_that_gives_up_awaits_itself_no_more() -> None:
    teller = Teller(0)
    teller.reports.here()
    assert teller.lead.awaits_somebody()
    assert teller.reports.given_up() == []
    assert not teller.lead.awaits_somebody()
