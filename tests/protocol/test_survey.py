"""Asking for the agreed state: a few first, more where that does not do, all again where the swarm ran on."""

from __future__ import annotations

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import StateOffer
from marfl_peer.protocol.survey import ASKED_AT_ONCE, Survey, Wish

IDS = [PeerId(f"{number:040x}") for number in range(20)]


def survey_of(count: int, *, at_least: int = 5, last: int = 100, digest: str = "") -> Survey:
    wish = Wish(at_least=at_least, last=last, sources=IDS[:count], digest=digest, counts=lambda peer: True)
    return Survey(wish, patience_s=3.0, now=0.0)


def offer(iteration: int, *group: int, digest: str = "aa") -> StateOffer:
    return StateOffer(
        iteration=iteration,
        vector_bytes=8,
        digest=digest,
        maxima=(),
        group=tuple(IDS[number] for number in group),
        public_key=bytes(32),
        signature=bytes(64),
    )


def asked(survey: Survey, now: float) -> list[tuple[int, int]]:
    return [(IDS.index(question.to), question.at_least) for question in survey.questions(now=now)]


def test_few_are_asked_at_first_and_more_when_those_are_silent() -> None:
    survey = survey_of(12)
    assert asked(survey, 0.0) == [(number, 5) for number in range(ASKED_AT_ONCE)]
    assert asked(survey, 2.9) == []
    assert survey.next_deadline() == 3.0
    assert asked(survey, 3.0) == [(number, 5) for number in range(ASKED_AT_ONCE, 12)]
    assert asked(survey, 6.0) == [(number, 5) for number in range(12)], "then all of them again"


def test_majority_is_the_choice_as_soon_as_nobody_can_outvote_it() -> None:
    survey = survey_of(4)
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0, 1, 2))
    assert survey.choice(now=0.1) is None
    survey.offered(IDS[1], offer(5, 0, 1, 2))
    assert survey.choice(now=0.1) is None, "two others have not answered yet"
    survey.offered(IDS[3], offer(5, 3))
    assert survey.choice(now=0.1) == (5, "aa", ())
    assert survey.holders((5, "aa", ())) == [IDS[0], IDS[1], IDS[3]]
    assert survey.group_of((5, "aa", ())) == (IDS[0], IDS[1], IDS[2])


def test_silent_ones_do_not_hold_a_majority_up_for_long() -> None:
    survey = survey_of(4)
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0))
    assert survey.choice(now=2.9) is None
    assert survey.choice(now=3.0) == (5, "aa", ())


def test_members_of_a_group_that_was_named_are_asked_too() -> None:
    survey = survey_of(1)
    assert asked(survey, 0.0) == [(0, 5)]
    survey.offered(IDS[0], offer(5, 0, 7, 8))
    assert survey.choice(now=0.0) is None
    assert asked(survey, 0.1) == [(7, 5), (8, 5)]
    survey.offered(IDS[7], offer(5, 0, 7, 8))
    assert survey.choice(now=0.2) == (5, "aa", ())


def test_offers_of_different_iterations_are_followed_by_a_question_for_a_later_one() -> None:
    survey = survey_of(3)
    asked(survey, 0.0)
    for number, iteration in enumerate((6, 7, 8)):
        survey.offered(IDS[number], offer(iteration, 0, 1, 2, digest=f"a{iteration}"))
    assert survey.choice(now=0.1) is None
    assert asked(survey, 0.1) == [(0, 8), (1, 8), (2, 8)]
    for number in range(3):
        survey.offered(IDS[number], offer(7, 0, 1, 2))
    assert survey.holders((7, "aa", ())) == [], "less than was asked for"
    for number in range(2):
        survey.offered(IDS[number], offer(8, 0, 1, 2))
    assert survey.choice(now=0.2) == (8, "aa", ())


def test_those_who_come_to_the_state_just_after_the_first_are_waited_for() -> None:
    """All are asked for a state that is still to come: until the first is there, nobody's silence means anything."""
    survey = survey_of(4)
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0, 1))
    assert asked(survey, 2.9) == []
    survey.offered(IDS[2], offer(5, 2, 3))
    assert survey.choice(now=3.0) is None
    assert asked(survey, 3.0) == [], "not for a later one, which its groups would have to do without it"
    survey.offered(IDS[1], offer(5, 0, 1))
    assert survey.choice(now=3.1) == (5, "aa", ())
    assert survey.next_deadline() == 5.9


def test_later_question_does_not_go_beyond_the_last_iteration_nor_is_it_asked_without_end() -> None:
    survey = survey_of(2, at_least=9, last=10)
    asked(survey, 0.0)
    for digest, iteration in (("aa", 9), ("bb", 10)):
        survey.offered(IDS[iteration - 9], offer(iteration, 0, 1, digest=digest))
    assert asked(survey, 0.1) == [(0, 10), (1, 10)]
    for number in range(2):
        survey.offered(IDS[number], offer(10, 0, 1, digest=f"a{number}"))
    assert asked(survey, 0.2) == [], "they cannot say anything else now"
    assert asked(survey, 3.2) == [(0, 10), (1, 10)]
    survey.offered(IDS[0], offer(11, 0))
    assert survey.holders((11, "aa", ())) == [], "there is no such iteration"


def test_state_that_the_swarm_was_founded_with_needs_no_vote() -> None:
    survey = survey_of(3, digest="dd")
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0, digest="ee"))
    assert survey.choice(now=9.0) is None
    survey.offered(IDS[1], offer(5, 0, 1, 2, digest="dd"))
    assert survey.choice(now=0.0) == (5, "dd", ())


def test_founders_that_went_on_are_believed_by_vote() -> None:
    survey = survey_of(2, digest="dd")
    asked(survey, 0.0)
    for number in range(2):
        survey.offered(IDS[number], offer(6, 0, 1))
    assert survey.choice(now=0.0) == (6, "aa", ())


def test_who_is_excluded_is_neither_asked_nor_believed() -> None:
    survey = survey_of(2)
    assert not survey.is_hopeless
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0))
    survey.exclude(IDS[0])
    assert survey.choice(now=9.0) is None
    survey.offered(IDS[0], offer(5, 0))
    assert survey.choice(now=9.0) is None
    assert asked(survey, 9.0) == [(1, 5)]
    survey.exclude(IDS[1])
    assert survey.is_hopeless
    assert asked(survey, 20.0) == []


def test_who_was_out_of_reach_is_asked_again_at_once_when_it_is_back() -> None:
    survey = survey_of(3)
    asked(survey, 0.0)
    survey.offered(IDS[0], offer(5, 0, 1))
    survey.gone(IDS[0])
    survey.gone(IDS[1])
    assert survey.choice(now=9.0) is None, "its offer is not to be had any more"
    survey.back(IDS[0])
    survey.back(IDS[2])
    assert asked(survey, 0.5) == [(0, 5)], "who never was gone is awaited still"
    assert asked(survey, 0.5) == []
    survey.offered(IDS[0], offer(5, 0, 1))
    survey.back(IDS[1])
    assert asked(survey, 0.6) == [(1, 5)]
    survey.offered(IDS[1], offer(5, 0, 1))
    survey.offered(IDS[2], offer(5, 2))
    assert survey.choice(now=0.7) == (5, "aa", ())
    survey.exclude(IDS[0])
    survey.gone(IDS[0])
    survey.back(IDS[0])
    assert survey.is_out(IDS[0]), "a liar stays out"


def test_silent_member_of_a_named_group_is_reminded_before_a_later_state_is_asked_for() -> None:
    survey = survey_of(3)
    asked(survey, 0.0)
    survey.offered(IDS[2], offer(5, 0, 1))
    assert asked(survey, 1.0) == []
    survey.offered(IDS[1], offer(5, 0, 1))
    assert asked(survey, 4.0) == [(0, 5)], "its question may be lost; without it there is no majority"
    assert asked(survey, 6.9) == []
    survey.offered(IDS[0], offer(5, 0, 1))
    assert survey.choice(now=6.9) == (5, "aa", ())
    survey = survey_of(3)
    asked(survey, 0.0)
    survey.offered(IDS[1], offer(5, 0, 1))
    assert asked(survey, 1.0) == []
    assert asked(survey, 4.0) == [(0, 5)]
    assert asked(survey, 7.0) == [(number, 6) for number in range(3)], "once"


def test_all_out_of_reach_is_hopeless_until_one_is_back() -> None:
    survey = survey_of(2)
    asked(survey, 0.0)
    for number in range(2):
        survey.gone(IDS[number])
    assert survey.is_hopeless
    survey.back(IDS[1])
    assert not survey.is_hopeless


def test_what_nobody_asked_for_does_not_count() -> None:
    survey = survey_of(1)
    survey.offered(IDS[5], offer(5, 5))
    assert survey.choice(now=9.0) is None
    assert survey_of(0).is_hopeless
