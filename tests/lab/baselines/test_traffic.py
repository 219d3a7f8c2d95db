"""The formulas of the schemes, against the figures of the paper's model and against counting."""

from __future__ import annotations

import pytest

from marfl_peer.config import AGGREGATIONS, Settings
from marfl_peer.lab.baselines import traffic
from marfl_peer.lab.baselines.traffic import vectors_sent

THETA_MB = 4.799528


@pytest.mark.parametrize(
    ("peers", "group_size", "name", "megabytes_of_all"),
    [
        (16, 4, "rdfl", 2304 / 2),
        (64, 4, "ar", 38703 / 2),
        (125, 5, "rdfl", 148785 / 2),
        (16, 4, "fedavg", 144.0),
        (64, 4, "fedavg", 604.7),
        (125, 5, "fedavg", 1190.3),
        (16, 4, "mar", 460.8 / 2),
        (64, 4, "mar", 2764 / 2),
        (125, 5, "mar", 5759 / 2),
        (16, 4, "ring", 144.0),
        (16, 4, "gossip", 16 * THETA_MB),
        (16, 4, "random", 460.8 / 2),
    ],
)
def test_theta_alone_comes_to_the_published_figures(
    peers: int, group_size: int, name: str, megabytes_of_all: float
) -> None:
    vectors = vectors_sent(Settings(aggregation=name, group_size=group_size), peers=peers)
    assert peers * vectors * THETA_MB == pytest.approx(megabytes_of_all, rel=1e-3)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_one_that_is_alone_sends_nothing(name: str) -> None:
    assert vectors_sent(Settings(aggregation=name), peers=1) == 0


@pytest.mark.parametrize(("name", "usual"), [("gossip", 1), ("random", 2)])
def test_rounds_count(name: str, usual: int) -> None:
    once = vectors_sent(Settings(aggregation=name, rounds=1), peers=16)
    assert vectors_sent(Settings(aggregation=name), peers=16) == usual * once
    assert vectors_sent(Settings(aggregation=name, rounds=5), peers=16) == 5 * once


def test_groups_by_lot_of_unequal_size_are_counted_one_by_one() -> None:
    assert traffic.groups_by_lot(5, 2) == pytest.approx((2 + 0 + 2) / 5)  # pairs of 2, and one alone
    assert traffic.groups_by_lot(10, 4) == pytest.approx((2 * 2 + 2 * 2 + 2 * 3) / 10)  # 3, 3 and 4
    assert traffic.groups_by_lot(10, 4, exchange="all-gather") == pytest.approx((3 * 2 + 3 * 2 + 4 * 3) / 10)


def test_all_gather_is_the_figure_of_mar_as_published() -> None:
    settings = Settings(aggregation="mar", exchange="all-gather")
    assert 16 * vectors_sent(settings, peers=16) * 2 * THETA_MB == pytest.approx(921.5, rel=1e-3)
