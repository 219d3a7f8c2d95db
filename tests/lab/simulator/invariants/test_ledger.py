from __future__ import annotations

import pytest
from courts import Court, agreed, ballot, held, member, vector


def brought(court: Court) -> None:
    """Round 1 on a grid of 2x2: both lines, everybody with weight 1."""
    for low, high in ((0, 2), (1, 3)):
        for who in (low, high):
            members = (member(low), member(high))
            court.ledger.see(agreed(court, who, court.line(lowest=low), ballot(), members, vector(float(who))))
        for who in (low, high):
            result = vector((low + high) / 2)
            court.ledger.see(held(court, who, court.line(lowest=low), ballot(), (low, high), 2, result))


def test_ledger_knows_what_a_cell_is_worth_after_a_round() -> None:
    court = Court()
    brought(court)
    worth = court.ledger.worth(court.lives[0], 1, court.view, 0, 2)
    assert worth is not None
    assert (worth.weight, worth.is_whole, dict(worth.counted)) == (2, True, {0: 0.5, 2: 0.5})


def test_ledger_lets_an_equal_cell_be_played_but_no_other() -> None:
    court = Court()
    brought(court)
    assert court.ledger.worth(court.lives[0], 1, court.view, 2, 2) is not None
    assert court.ledger.worth(court.lives[0], 1, court.view, 1, 2) is None


def test_ledger_counts_everybody_by_weight_in_the_end() -> None:
    court = Court()
    brought(court)
    members = (member(0, weight=2), member(1, weight=2))
    for who in (0, 1):
        court.ledger.see(agreed(court, who, court.line(round=2), ballot(), members, vector(0.0)))
    deal = court.ledger.deal(court.line(round=2), ballot(), court.view)
    assert deal.result is not None
    assert dict(deal.result.counted) == pytest.approx(dict.fromkeys(range(4), 0.25))
    assert deal.expected is not None
    assert deal.expected.tolist() == [1.5]


def test_ledger_keeps_what_a_cell_had_where_a_line_was_given_up() -> None:
    court = Court()
    court.ledger.see(agreed(court, 0, court.line(), ballot(), (member(0), member(2)), vector(5.0)))
    court.ledger.see(held(court, 0, court.line(), None, (), 0, vector(0.0)))
    worth = court.ledger.worth(court.lives[0], 1, court.view, 0, 2)
    assert worth is not None
    assert (worth.weight, worth.is_whole) == (1, False)


def test_ledger_knows_that_a_line_went_without_a_cell() -> None:
    court = Court()
    brought(court)
    court.ledger.see(agreed(court, 0, court.line(round=2), ballot(), (member(0, weight=2),), vector(0.0)))
    result = court.ledger.deal(court.line(round=2), ballot(), court.view).result
    assert result is not None
    assert not result.is_whole


def test_ledger_gives_a_stand_in_no_weight() -> None:
    court = Court(peers=3)
    worth = court.ledger.worth(court.lives[0], 1, court.view, 3, 1)
    assert worth is not None
    assert worth.weight == 0
