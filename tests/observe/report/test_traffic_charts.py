from __future__ import annotations

from collections.abc import Mapping

from marfl_peer.observe.report.charts import Stroke
from marfl_peer.observe.report.traffic_charts import bytes_by_peers


def linear(peers: int, group_size: int, vector_bytes: int, is_theta: bool) -> Mapping[str, float]:
    return {"all": float(peers * vector_bytes), "groups": float(group_size * vector_bytes), "server": 1.0 + is_theta}


def sized(run, peers: int, **given: object):
    return run(peers=peers, vector_bytes=100, **given)


def test_runs_of_one_kind_are_one_line_over_the_number_of_peers(run) -> None:
    chart = bytes_by_peers([sized(run, 16), sized(run, 4), sized(run, 16, codec="int8")], linear)
    assert chart is not None
    plain, coded = (line for line in chart.lines if line.run is not None)
    assert (plain.label, plain.points, plain.run) == ("measured, float32", ((4.0, 250.0), (16.0, 250.0)), 0)
    assert (coded.label, coded.points, coded.run) == ("measured, int8", ((16.0, 250.0),), 2)


def test_formulas_are_drawn_from_the_smallest_swarm_to_the_largest(run) -> None:
    chart = bytes_by_peers([sized(run, 4), sized(run, 8)], linear)
    assert chart is not None
    theories = {line.label: line.points for line in chart.lines if line.stroke is Stroke.THEORY}
    assert set(theories) == {"all", "groups", "server"}
    assert theories["all"] == tuple((float(n), 100.0 * n) for n in range(4, 9))


def test_several_group_sizes_have_formulas_of_their_own_where_that_matters(run) -> None:
    chart = bytes_by_peers([sized(run, 4), sized(run, 8, group_size=4)], linear)
    assert chart is not None
    theories = {line.label for line in chart.lines if line.stroke is Stroke.THEORY}
    assert theories == {"all", "groups, M = 2", "groups, M = 4", "server"}
    assert {line.label for line in chart.lines if line.run is not None} == {"measured, M = 2", "measured, M = 4"}


def test_formulas_are_told_whether_momentum_is_averaged(run) -> None:
    chart = bytes_by_peers([sized(run, n, settings={"vector": "theta"}) for n in (4, 8)], linear)
    assert chart is not None
    (server,) = (line for line in chart.lines if line.label == "server")
    assert server.points[0] == (4.0, 2.0)


def test_nothing_is_drawn_where_there_is_nothing_to_compare(run) -> None:
    assert bytes_by_peers([sized(run, 4), sized(run, 4)], linear) is None
    assert bytes_by_peers([run(peers=4), run(peers=8)], linear) is None, "the size is not known"
    assert bytes_by_peers([sized(run, 4), run(peers=8, vector_bytes=7)], linear) is None, "other models"
