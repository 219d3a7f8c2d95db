from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.bench.sides import ENDLESS, bench_settings, lines_of, moved, way_of
from marfl_peer.lab.links import Land, Rates
from marfl_peer.lab.plan import peer_settings
from marfl_peer.network import neighbours
from marfl_peer.protocol.grid import Grid


def test_groups_of_gloo_are_the_lines_of_the_grid() -> None:
    lines = lines_of(Grid((2, 2)), 4)
    assert lines == (((0, 2), (1, 3)), ((0, 1), (2, 3)))


def test_empty_cells_are_in_no_group() -> None:
    assert lines_of(Grid((2, 2)), 3) == (((0, 2),), ((0, 1),))


def test_peers_in_namespaces_meet_at_their_addresses(tmp_path: Path) -> None:
    run, ports = bench_settings(Settings(), 2), [7700, 7701]
    plans = [peer_settings(run, index, ports=ports, folder=tmp_path) for index in range(2)]
    first, second = (moved(plan, ["10.0.0.1", "10.0.0.2"], ports, index) for index, plan in enumerate(plans))
    assert (first.host, first.port, first.bootstrap) == ("10.0.0.1", 7700, ("10.0.0.2:7701",))
    assert (second.host, second.port, second.bootstrap) == ("10.0.0.2", 7701, ("10.0.0.1:7700",))


def test_peers_of_a_bench_neither_test_nor_save_nor_come_to_an_end() -> None:
    chosen = Settings(
        group_size=5, exchange="all-gather", spans="equal", task="mnist", vector="theta", same_machine="tcp", lan=True
    )
    run = bench_settings(chosen, 125)
    assert (run.group_size, run.exchange, run.spans, run.codec, run.shards) == (
        5,
        "all-gather",
        "equal",
        "float32",
        125,
    )
    assert (run.iterations, run.evaluate_every, run.save_every) == (ENDLESS, ENDLESS, ENDLESS)
    assert (run.vector, run.lan, run.same_machine) == ("theta+momentum", False, "tcp")


def test_peers_are_neighbours_where_they_may_and_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "can_be", lambda: True)
    unix, tcp = Settings(), Settings(same_machine="tcp")
    assert (way_of(unix), way_of(tcp), way_of(unix, Land(2, Rates(10**8)))) == ("unix", "tcp", "tcp")
    monkeypatch.setattr(neighbours, "can_be", lambda: False)
    assert way_of(unix) == "tcp"
