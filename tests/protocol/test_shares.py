from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from one_line import propose

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.messages import MAX_SPEED, WHOLE
from marfl_peer.protocol.shares import GRAIN_FLOATS, check_shares, cut, fill, shares_around, shares_of

rates = st.lists(st.floats(1.0, 1e9), min_size=1, max_size=8)


def seconds(parts: tuple[float, ...] | list[float], rates: list[float]) -> float:
    """When the last member is done, of a vector of size 1."""
    count = len(rates)
    return max((1 + (count - 2) * part) / rate for part, rate in zip(parts, rates, strict=True))


@given(rates)
def test_parts_are_those_of_one_vector(rates: list[float]) -> None:
    parts = fill(rates)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(1.0)


@given(st.data(), rates)
def test_no_other_parts_are_done_earlier(data: st.DataObject, rates: list[float]) -> None:
    sizes = st.lists(st.integers(0, 100), min_size=len(rates), max_size=len(rates)).filter(any)
    others = data.draw(sizes)
    assert seconds(fill(rates), rates) <= seconds([one / sum(others) for one in others], rates) * (1 + 1e-9)


@given(st.lists(st.sampled_from([1.0, 1.5, 2.0, 4.0, 10.0, 30.0]), min_size=3, max_size=4))
def test_no_parts_on_a_grid_are_done_earlier(rates: list[float]) -> None:
    steps = 12
    best = min(
        seconds([one / steps for one in (*parts, steps - sum(parts))], rates) for parts in _up_to(steps, len(rates) - 1)
    )
    assert seconds(fill(rates), rates) <= best * (1 + 1e-9)


def _up_to(total: int, count: int) -> list[tuple[int, ...]]:
    """All tuples of `count` whole numbers that sum to `total` at most."""
    if not count:
        return [()]
    return [(first, *rest) for first in range(total + 1) for rest in _up_to(total - first, count - 1)]


@given(rates)
def test_who_owns_less_than_another_could_not_own_more_in_time(rates: list[float]) -> None:
    parts, count = fill(rates), len(rates)
    most = max(parts)
    for part, rate in zip(parts, rates, strict=True):
        if count > 2 and part < most - 1e-9:
            assert (1 + (count - 2) * part) / rate >= seconds(parts, rates) * (1 - 1e-6)


@pytest.mark.parametrize(
    ("rates", "parts"),
    [
        ([1.0], [1.0]),
        ([1.0, 100.0], [0.5, 0.5]),
        ([7.0, 7.0, 7.0, 7.0], [0.25] * 4),
        ([10.0, 10.0, 10.0, 1.0], [1 / 3, 1 / 3, 1 / 3, 0.0]),
        ([2.0, 1.0, 1.0], [1.0, 0.0, 0.0]),
        ([9.0, 3.0, 1.0], [0.5, 0.5, 0.0]),
        ([10.0, 10.0, 10.0, 7.0], [0.3108, 0.3108, 0.3108, 0.0676]),
    ],
)
def test_parts_of_a_few_groups(rates: list[float], parts: list[float]) -> None:
    assert fill(rates) == pytest.approx(parts, abs=1e-3)


@pytest.mark.parametrize(
    ("speeds", "shares"),
    [
        ([], ()),
        ([90], ()),
        ([90, 40], ()),
        ([90, 90, 90, 90], ()),
        ([90, 88, 86, 90], ()),
        ([90, 90, 90, 86], ()),
        ([90, 90, 90, 85], (333, 334, 333, 0)),
        ([90, 95, 90, 90, 90, 85], (200, 200, 200, 200, 200, 0)),
        ([84, 88, 96, 90], (0, 333, 334, 333)),
        ([90, 100, 100, 89], (95, 452, 453, 0)),
        ([90, 90, 90, 70], (333, 334, 333, 0)),
        ([70, 90, 90, 90], (0, 333, 334, 333)),
        ([0, 90, 90, 70], (333, 334, 333, 0)),
        ([0, 0, 0, 70], ()),
        ([90, 90, 70, 70], (500, 500, 0, 0)),
    ],
)
def test_chunks_are_equal_unless_somebody_is_slower_than_half(speeds: list[int], shares: tuple[int, ...]) -> None:
    assert shares_of(speeds) == shares


@given(st.lists(st.integers(0, MAX_SPEED), max_size=64), st.integers(0, 10_000_000))
def test_shares_of_any_group_are_lawful_and_cut_the_whole_vector(speeds: list[int], length: int) -> None:
    shares = shares_of(speeds)
    if not shares:
        return
    proposal = structs.replace(propose(1, *range(len(speeds))), shares=shares)
    check_shares(proposal, "butterfly")
    cuts = cut(length, shares)
    assert len(cuts) == len(speeds) + 1
    assert (cuts[0], cuts[-1]) == (0, length)
    assert sorted(cuts) == list(cuts)
    assert all(one % GRAIN_FLOATS == 0 or one == length for one in cuts)
    for share, start, stop in zip(shares, cuts[:-1], cuts[1:], strict=True):
        assert abs((stop - start) - share * length / WHOLE) <= GRAIN_FLOATS
        assert share or start == stop


@pytest.mark.parametrize(
    ("shares", "kind", "base"),
    [
        ((500, 500), "butterfly", ""),
        ((300, 300, 300, 100), "butterfly", ""),
        ((400, 400, 100), "butterfly", ""),
        ((500, 500, 500), "butterfly", ""),
        ((500, 500, 0), "all-gather", ""),
        ((500, 500, 0), "butterfly", "ab"),
    ],
)
def test_shares_that_cannot_be_are_the_leader_s_fault(shares: tuple[int, ...], kind: ExchangeKind, base: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_shares(structs.replace(propose(1, 0, 1, 2), shares=shares, base=base), kind)
    assert caught.value.code == "bad_shares"


@pytest.mark.parametrize("kind", ["butterfly", "all-gather"])
def test_proposal_without_shares_is_fine(kind: ExchangeKind) -> None:
    check_shares(structs.replace(propose(1, 0, 1, 2), base="ab"), kind)


@pytest.mark.parametrize(
    ("listen", "shares"),
    [
        ((True, True), ()),
        ((True, False, True), ()),
        ((False, False), ()),
        ((False, True, False), (0, 1000, 0)),
        ((True, False, True, False, True), (333, 0, 333, 0, 334)),
    ],
)
def test_members_that_cannot_reach_each_other_own_nothing(listen: tuple[bool, ...], shares: tuple[int, ...]) -> None:
    assert shares_around(listen) == shares


@given(st.lists(st.booleans(), min_size=1, max_size=64))
def test_those_that_listen_share_all_that_the_others_do_not_own(listen: list[bool]) -> None:
    shares = shares_around(listen)
    if shares:
        assert sum(shares) == WHOLE
        assert [bool(share) for share in shares] == listen
    else:
        assert listen.count(False) < 2 or not any(listen)
