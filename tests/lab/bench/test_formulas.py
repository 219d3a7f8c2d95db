import pytest

from marfl_peer.lab.bench.formulas import fit, formulas

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


def test_formulas_count_the_axes_of_a_grid_that_is_not_full() -> None:
    assert formulas(6, 4, 100).mar_fl == (3 - 1 + 2 - 1) * 100  # 3 x 2


def test_fit_finds_what_a_round_takes() -> None:
    exact = fit({4: 1000.0, 16: 2000.0, 64: 3000.0}, 4)
    assert exact is not None
    assert exact.bytes_a_peer_and_round == pytest.approx(1000.0)
    assert exact.largest_deviation == pytest.approx(0.0, abs=1e-12)


def test_fit_says_how_far_the_worst_is_off() -> None:
    found = fit({4: 1000.0, 16: 4000.0}, 4)
    assert found is not None
    assert found.largest_deviation > 0.2


def test_one_number_of_peers_is_no_fit() -> None:
    assert fit({16: 1000.0}, 4) is None
