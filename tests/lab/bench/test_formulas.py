import pytest

from marfl_peer.lab.bench.formulas import fit, formulas, log_fit

W = 4_799_528
"""Bytes of theta of the paper's CNN."""


@pytest.mark.parametrize(
    ("peers", "group_size", "mar_fl", "ring", "fedavg", "butterfly"),
    [(16, 4, 57.59, 143.99, 9.60, 28.80), (64, 4, 86.39, 604.74, 9.60, 43.20), (125, 5, 115.19, 1190.28, 9.60, 46.08)],
)
def test_formulas_come_to_the_published_bytes(
    peers: int, group_size: int, mar_fl: float, ring: float, fedavg: float, butterfly: float
) -> None:
    of = formulas(peers, group_size, 2 * W)
    mega = tuple(round(value / 1e6, 2) for value in (of.mar_fl, of.rdfl, of.ar_fl, of.fedavg, of.butterfly))
    assert mega == (mar_fl, ring, ring, fedavg, butterfly)


def test_formulas_of_the_other_baselines() -> None:
    of = formulas(16, 4, 1600)
    assert (of.ring, of.gossip, of.random) == (2 * 15 * 100.0, 1600.0, 2 * 2 * 12 * 100.0)


def test_formulas_count_the_axes_of_a_grid_that_is_not_full() -> None:
    assert formulas(6, 4, 100).mar_fl == (3 - 1 + 2 - 1) * 100  # 3 x 2


def test_fit_finds_what_a_round_takes() -> None:
    exact = fit([(4, 1000.0), (16, 2000.0), (64, 3000.0)], 4)
    assert exact is not None
    assert exact.bytes_a_peer_and_round == pytest.approx(1000.0)
    assert exact.largest_deviation == pytest.approx(0.0, abs=1e-12)


def test_fit_says_how_far_the_worst_is_off() -> None:
    found = fit([(4, 1000.0), (16, 4000.0)], 4)
    assert found is not None
    assert found.largest_deviation > 0.2


def test_one_number_of_peers_is_no_fit() -> None:
    assert fit([(16, 1000.0), (16, 1100.0)], 4) is None  # the second simulated, say


def test_bytes_of_a_peer_are_fitted_to_a_line_over_log_n() -> None:
    exact = log_fit([(5, 1100.0), (25, 2100.0), (125, 3100.0)], 5)
    assert exact is not None
    assert (exact.bytes_a_round, exact.bytes_fixed) == (pytest.approx(1000.0), pytest.approx(100.0))
    assert exact.r_squared == pytest.approx(1.0)
    bent = log_fit([(5, 1000.0), (25, 5000.0), (125, 25_000.0)], 5)
    assert bent is not None
    assert bent.r_squared < 0.95
    level = log_fit([(5, 100.0), (25, 100.0), (125, 100.0)], 5)
    assert level is not None
    assert (level.bytes_a_round, level.r_squared) == (0.0, 1.0)


def test_line_through_two_points_proves_nothing() -> None:
    assert log_fit([(5, 1100.0), (25, 2100.0), (25, 2100.0)], 5) is None
