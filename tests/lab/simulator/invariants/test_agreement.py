from __future__ import annotations

import numpy as np
import pytest
from broken import LIAR, found, scenario
from courts import TIME, Court, agreed, ballot, held, member, peer, vector

from marfl_peer.facts import GroupAgreed
from marfl_peer.lab.simulator.invariants.agreement import Agreement
from marfl_peer.lab.simulator.invariants.scene import Told
from marfl_peer.protocol.messages import Part

BOTH = (member(0), member(2))
ONES = vector(1.0, 1.0)


@pytest.fixture
def court() -> Court:
    return Court()


def test_agreement_of_equal_results_is_silent(court: Court) -> None:
    checker = Agreement(court.trial)
    for who in (0, 2):
        checker.see(agreed(court, who, court.line(), ballot(), BOTH, ONES))
        checker.see(held(court, who, court.line(), ballot(), (0, 2), 2, ONES))
    assert court.charges == []


@pytest.mark.parametrize(
    ("members", "weight", "result", "what"),
    [
        ((0, 2), 2, np.nextafter(ONES, 2.0, dtype=np.float32), "other bits"),
        ((0, 2), 3, ONES, "other weight"),
        ((0, 1), 2, ONES, "other members"),
    ],
)
def test_agreement_on_one_ballot_with_two_results_is_broken(
    court: Court, members: tuple[int, ...], weight: int, result: np.ndarray, what: str
) -> None:
    checker = Agreement(court.trial)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 2, ONES))
    checker.see(held(court, 2, court.line(), ballot(), members, weight, result))
    assert [what in text for text in court.said()] == [True]
    assert court.charges[0].invariant == "I1"


def test_agreement_on_a_ballot_below_one_accepted_is_broken(court: Court) -> None:
    checker = Agreement(court.trial)
    checker.see(agreed(court, 0, court.line(), ballot(2), BOTH, ONES))
    checker.see(agreed(court, 0, court.line(), ballot(1), BOTH, ONES))
    assert "after attempt 2" in court.said()[0]


def test_agreement_on_two_proposals_of_one_name_is_broken(court: Court) -> None:
    checker = Agreement(court.trial)
    checker.see(agreed(court, 0, court.line(), ballot(), BOTH, ONES))
    checker.see(agreed(court, 2, court.line(), ballot(), (member(0), member(2, weight=7)), ONES))
    assert "under that name" in court.said()[0]


def test_agreement_with_two_completed_ballots_is_broken_only_in_peace(court: Court) -> None:
    checker = Agreement(court.trial)
    checker.see(held(court, 0, court.line(), ballot(1), (0,), 1, ONES))
    checker.see(held(court, 2, court.line(), ballot(2), (2,), 1, ONES))
    assert "no contact was ever lost" in court.said()[0]
    court.peace.broken(50.0, "cut")
    checker.see(held(court, 2, court.line(2), ballot(1), (0,), 1, ONES))
    checker.see(held(court, 0, court.line(2), ballot(2), (2,), 1, ONES))
    assert len(court.charges) == 1


def test_part_for_a_member_that_never_was_ready_is_told(court: Court) -> None:
    checker = Agreement(court.trial)
    part = Part(name=court.line(), ballot=ballot(), stage="scatter", offset=0)
    checker.heard(TIME, court.lives[2], peer(0), part, 8)
    assert "never was ready" in court.said()[0]
    fact = GroupAgreed(iteration=1, round=1, line=0, attempt=1, leader=peer(0), members=(peer(0), peer(2)))
    checker.see(Told(time=TIME, life=court.lives[0], fact=fact))
    checker.heard(TIME, court.lives[0], peer(2), part, 8)
    assert len(court.charges) == 1


def test_agreement_finds_a_result_that_is_served_with_another_weight() -> None:
    assert "I1" in found("fetched with another weight", scenario(LIAR))
