"""The table from trials that are written here."""

from __future__ import annotations

from marfl_peer.lab.simulator.cost_table import HEAD, markdown
from marfl_peer.lab.simulator.cost_trials import Trial
from marfl_peer.lab.simulator.costs import Cost, Figures, Wait

PEACE = Figures(
    missed_by_victims=0,
    missed_by_others=0,
    accuracy=0.9,
    loss=0.5,
    seconds=10.0,
    longest_wait=Wait(seconds=0.01, allowed_s=10.0),
    bytes_sent={"tensor": 1e6, "control": 0.0, "dht": 0.0, "state": 0.0},
    downloads=0,
    weights=(8.0,),
    disagreement=0.0,
)


def trial(
    seed: int, *, accuracy: float | None = -0.01, wait: float = 1.0, strikes: int = 1, broken: tuple[str, ...] = ()
) -> Trial:
    cost = Cost(
        missed_by_victims=seed,
        missed_by_others=0,
        accuracy=accuracy,
        loss_ratio=1.1,
        seconds=-0.01,
        longest_wait=Wait(seconds=wait, allowed_s=10.0),
        bytes_sent={"tensor": 2500.0, "control": -1000.0, "dht": 0.0, "state": 0.0},
        downloads=0,
        weight_lost=0.5,
        disagreement=0.0 if seed == 1 else 2e-3,
    )
    return Trial(
        case="a case", seed=seed, cost=cost, peace=PEACE, victims=(1,), strikes=strikes, broken=broken, cpu_s=1.0
    )


def cells(text: str, row: int = 0) -> dict[str, str]:
    line = text.splitlines()[2 + row]
    return dict(zip(HEAD, line.strip("| ").split(" | "), strict=True))


def test_row_has_means_and_the_worst() -> None:
    row = cells(markdown([trial(1), trial(2, accuracy=0.0, wait=3.0)]))
    assert row["failure"] == "a case"
    assert row["iterations missed: victims / others"] == "1.5 / 0"
    assert row["accuracy, points: mean (worst)"] == "-0.5 (-1.0)"
    assert row["test loss"] == "x 1.100"
    assert row["seconds"] == "0", "nothing that would be written -0.0"
    assert row["longest wait, of D_g"] == "3.0 s, 30%"
    assert row["kB a peer: tensor / state / control / DHT"] == "+2 / 0 / -1 / 0"
    assert row["weight lost"] == "0.50"
    assert row["disagreement"] == "2e-03"


def test_row_says_unknown_where_one_run_is() -> None:
    assert cells(markdown([trial(1), trial(2, accuracy=None)]))["accuracy, points: mean (worst)"] == "–"


def test_row_counts_strikes_where_victims_are_struck_again() -> None:
    assert cells(markdown([trial(1, strikes=40)]))["failure"] == "a case (40 strikes)"


def test_line_below_tells_of_peace_and_of_what_broke() -> None:
    held = markdown([trial(1), trial(2)]).splitlines()[-1]
    assert held.startswith("2 seeds a row. In peace: accuracy 90.0%, test loss 0.500, longest wait 0.01 s.")
    assert held.endswith("Invariants broken in 2 runs: none.")
    assert markdown([trial(1, broken=("I1: two",))]).endswith("Invariants broken in 1 runs: 1.\n")
