"""Epsilons: two accountants against each other and against what is known in closed form."""

from __future__ import annotations

import logging
import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, get_epsilon_gaussian
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from marfl_peer.learning.privacy.accountant import epsilon, tight_epsilon


@settings(deadline=None, max_examples=3)
@given(noise=st.floats(0.3, 5.0), count=st.integers(1, 50), delta=st.sampled_from([1e-3, 1e-5, 1e-8]))
def test_exact_epsilon_of_a_gaussian_lies_below_both_bounds(noise: float, count: int, delta: float) -> None:
    """T releases of multiplier z are one of z / sqrt(T)."""
    exact = get_epsilon_gaussian(noise / math.sqrt(count), delta)
    by_rdp, by_pld = epsilon([(noise, count)], delta=delta), tight_epsilon([(noise, count)], delta=delta)
    assert exact <= by_pld + 1e-9
    assert by_pld <= by_rdp
    assert by_pld == pytest.approx(exact, abs=2e-4 + 2e-5 * by_rdp), "the loss distribution is tight"
    assert by_rdp < 1.6 * exact + 0.3


@pytest.mark.parametrize(("sampled", "count"), [(0.1, 10), (0.3, 40)])
def test_bounds_agree_in_order_at_sampled_rates(sampled: float, count: int) -> None:
    by_rdp = epsilon([(1.0, count)], delta=1e-5, sampled=sampled)
    by_pld = tight_epsilon([(1.0, count)], delta=1e-5, sampled=sampled)
    assert by_pld <= by_rdp < 2.0 * by_pld
    assert by_rdp < epsilon([(1.0, count)], delta=1e-5), "what is sampled costs less"


def test_sampled_rate_that_a_reference_accountant_got_wrong() -> None:
    """T = 100, z = 1, q = 0.5, delta = 125^-1.1: MAR-FL's reference said 30.3. The Renyi bound of order 2 in its first
    form (Mironov 2017) is 41.05; dp-accounting's conversion is tighter, and its loss distribution tighter still."""
    delta = 125**-1.1
    renyi = 100 * math.log1p(0.25 * (math.e - 1.0))
    assert renyi - math.log(delta) == pytest.approx(41.05, abs=0.01)
    order_2 = RdpAccountant(orders=[2]).compose(PoissonSampledDpEvent(0.5, GaussianDpEvent(1.0)), 100)
    assert order_2.get_epsilon(delta) == pytest.approx(renyi - math.log(delta) - 2 * math.log(2), abs=1e-6)
    by_rdp = epsilon([(1.0, 100)], delta=delta, sampled=0.5)
    by_pld = tight_epsilon([(1.0, 100)], delta=delta, sampled=0.5)
    assert by_rdp == pytest.approx(37.91, abs=0.01)
    assert by_pld == pytest.approx(28.77, abs=0.01)
    assert epsilon([(1.0, 100)], delta=delta) == pytest.approx(80.36, abs=0.01), "what peers state: nothing is sampled"


def test_order_and_grouping_of_releases_do_not_matter() -> None:
    apart = epsilon([(1.0, 3), (4.0, 5), (1.0, 2)], delta=1e-5)
    assert apart == pytest.approx(epsilon([(4.0, 5), (1.0, 5)], delta=1e-5))
    assert apart > epsilon([(1.0, 5)], delta=1e-5)


def test_nothing_released_costs_nothing() -> None:
    assert epsilon([], delta=1e-5) == epsilon([(1.0, 0)], delta=1e-5) == 0.0
    assert tight_epsilon([], delta=1e-5) == 0.0


@given(noise=st.floats(0.05, 50.0), count=st.integers(1, 1000))
def test_one_more_release_costs_more_and_more_noise_costs_less(noise: float, count: int) -> None:
    cost = epsilon([(noise, count)], delta=1e-5)
    assert cost < epsilon([(noise, count + 1)], delta=1e-5)
    assert cost > epsilon([(2 * noise, count)], delta=1e-5)


def test_large_epsilons_are_quick_and_finite() -> None:
    by_rdp, by_pld = epsilon([(0.02, 500)], delta=1e-5), tight_epsilon([(0.02, 500)], delta=1e-5)
    assert by_pld <= by_rdp < 1.2 * by_pld < math.inf


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("absl").setLevel(logging.ERROR)  # it tells which orders it leaves out
