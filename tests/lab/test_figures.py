import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.lab.churn.steps import ChurnCounts
from marfl_peer.lab.figures import (
    SPARKS,
    UNKNOWN,
    churned,
    clock,
    epsilons,
    grid,
    known,
    number,
    per_peer,
    percent,
    scheme,
    scientific,
    seconds,
    sizes,
    sparkline,
)
from marfl_peer.lab.tally import IterationRow


def test_churn_is_written_as_far_as_there_was_any() -> None:
    assert churned(ChurnCounts()) == ""
    assert churned(ChurnCounts(killed=13, restarted=9, dropped_out=2)) == "13 killed, 9 restarted, 2 dropped out"


def test_figures_that_nobody_reported_are_a_dash() -> None:
    assert {percent(None), number(None), scientific(None), seconds(None)} == {UNKNOWN}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.98765), "98.77 %"),
        (number(0.25), "0.2500"),
        (scientific(3.14e-8), "3.1e-08"),
        (seconds(1.234), "1.23 s"),
        (clock(65.9), "1:05"),
        (grid(None), "no grid yet"),
        (grid(()), "grid of one cell"),
        (grid((), 16), "swarm without a grid"),
        (grid((4, 4, 2)), "4×4×2 grid"),
        (sizes({"tensor": 28_800_000.0, "control": 12_000.0, "dht": 0}), "28.8 MB tensor, 12.0 kB control"),
        (sizes({"tensor": 0}), "nothing"),
        (scheme("mar", "all-gather"), "all-gather"),
        (scheme("ring", "butterfly"), "ring"),
    ],
)
def test_figures_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_per_peer_divides_by_those_who_finished() -> None:
    row = IterationRow(
        iteration=1,
        test_accuracy_mean=None,
        train_loss_mean=None,
        disagreement=None,
        seconds=None,
        bytes_sent={"tensor": 300, "control": 30, "dht": 0, "state": 0},
        groups_complete=0,
        groups_partial=0,
        peers_alive=4,
        peers_skipped=1,
    )
    assert per_peer(row) == {"tensor": 100, "control": 10, "dht": 0, "state": 0}


def test_known_leaves_out_what_cannot_be_drawn() -> None:
    assert known([1.0, None, float("inf"), float("nan"), 2.0]) == [1.0, 2.0]


@given(st.lists(st.floats(-1e6, 1e6)), st.integers(1, 40))
def test_sparkline_is_as_high_as_its_values(values: list[float], width: int) -> None:
    bars = sparkline(values, width)
    shown = values[-width:]
    assert len(bars) == len(shown)
    if len(set(shown)) > 1:
        assert bars[shown.index(min(shown))] == SPARKS[0]
        assert bars[shown.index(max(shown))] == SPARKS[-1]


def test_epsilons_are_written_where_updates_are_private() -> None:
    row = IterationRow(
        iteration=1,
        test_accuracy_mean=None,
        train_loss_mean=None,
        disagreement=None,
        seconds=None,
        bytes_sent={},
        groups_complete=0,
        groups_partial=0,
        peers_alive=1,
        peers_skipped=0,
        epsilon_mate=39.83,
        epsilon_outsider=6.754,
    )
    assert epsilons(row) == "39.83 against a group-mate, 6.754 against an outsider"
    assert epsilons(None) == epsilons(dataclasses.replace(row, epsilon_mate=None)) == ""
