"""Dashboards and alerts ask for what peers have: without a Prometheus, from the declarations alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from dashboards import ALERTS, DASHBOARDS, ROOT, alert_expressions, alert_names, filled_in, load, queries, variables

from marfl_peer.observe.measures import MEASURES, Shape

SUFFIXES = {Shape.HISTOGRAM: ("_bucket", "_sum", "_count"), Shape.COUNTER: ("",), Shape.GAUGE: ("",)}
SERIES = {measure.name + suffix: measure for measure in MEASURES for suffix in SUFFIXES[measure.shape]}
OF_TARGETS = {"job", "instance"}
"""Labels that Prometheus itself gives to every series."""
VALUES = {"against": {"mate", "outsider"}, "by": {"us", "them"}, "le": {"5.0"}}
"""Of labels whose values the measures do not list."""
VISUALS = {"timeseries", "stat", "heatmap", "table"}
NAME = r"\b(?:marfl_[a-z_]+|up\b)"
by_file = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)

ALL = [query.expr for path in DASHBOARDS for query in queries(path)]
ALL += [asked for path in DASHBOARDS for asked in variables(path).values()] + alert_expressions()


def labels_of(series: str) -> set[str]:
    if series == "up":
        return OF_TARGETS
    return {*SERIES[series].labels, *OF_TARGETS, *(("le",) if series.endswith("_bucket") else ())}


def test_there_is_a_dashboard_for_each_question() -> None:
    assert {path.stem for path in DASHBOARDS} == {"swarm", "learning", "network", "peer"}
    assert len(alert_names()) == len(alert_expressions()) >= 4


@pytest.mark.parametrize("expr", ALL)
def test_query_names_series_and_labels_that_exist(expr: str) -> None:
    named = set(re.findall(NAME, expr))
    assert named
    assert named - {"up"} <= set(SERIES)
    for series, selector in re.findall(rf"({NAME})\{{([^}}]*)\}}", expr):
        for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector):
            assert label in labels_of(series), series
            if label in OF_TARGETS:
                continue
            measure = SERIES[series]
            at = measure.labels.index(label) if label in measure.labels else None
            known = VALUES.get(label) or {values[at or 0] for values in measure.at_start}
            assert set(value.split("|") if "~" in operator else [value]) <= known, (series, label)
    allowed = set().union(*(labels_of(series) for series in named))
    for group in re.findall(r"\b(?:by|on|ignoring|group_left|without) \(([^)]*)\)", expr):
        assert set(re.findall(r"\w+", group)) <= allowed


@pytest.mark.parametrize("expr", ALL)
def test_query_has_its_brackets_in_pairs(expr: str) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert expr.count(opening) == expr.count(closing)


@by_file
def test_legends_name_labels_that_the_query_leaves(path: Path) -> None:
    for query in queries(path):
        if named := set(re.findall(r"\{\{(\w+)\}\}", query.legend)):
            kept = {word for group in re.findall(r"\bby \(([^)]*)\)", query.expr) for word in re.findall(r"\w+", group)}
            (series,) = {found for found in re.findall(NAME, query.expr) if named <= labels_of(found)}
            assert named <= (kept or labels_of(series)), query.where


@by_file
def test_queries_use_the_variables_of_their_dashboard_and_no_others(path: Path) -> None:
    own = {one["name"] for one in load(path)["templating"]["list"]}
    builtin = {"__rate_interval": "1m"}
    for query in queries(path):
        filled_in(query.expr, dict.fromkeys(own, "x") | builtin)  # KeyError: a variable that is not there
        assert 'job="$job"' in query.expr, query.where
    text = path.read_text(encoding="utf-8")
    assert all(f"${name}" in text or f"${{{name}}}" in text for name in own)


@by_file
def test_dashboard_is_whole(path: Path) -> None:
    document = load(path)
    assert document["schemaVersion"] == 39
    assert document["uid"] == f"marfl-{path.stem}"
    assert document["id"] is None
    panels = document["panels"]
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    assert max(Counter((panel["title"], panel["type"]) for panel in panels).values()) == 1
    covered: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        assert panel["type"] in VISUALS
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for holder in (panel, *panel["targets"]):
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        covered.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert set(covered.values()) == {1}, "panels lie upon each other"
    chosen = [one for one in document["templating"]["list"] if one["name"] == "datasource"]
    assert [(one["type"], one["query"]) for one in chosen] == [("datasource", "prometheus")]


def test_dashboards_are_told_apart() -> None:
    for key in ("uid", "title"):
        assert len({load(path)[key] for path in DASHBOARDS}) == len(DASHBOARDS)


def test_queries_are_told_apart() -> None:
    asked = [query.where for path in DASHBOARDS for query in queries(path)]
    assert len(asked) == len(set(asked)) > 100


def test_every_metric_is_drawn() -> None:
    drawn = {
        SERIES[name].name
        for path in DASHBOARDS
        for q in queries(path)
        for name in re.findall(NAME, q.expr)
        if name != "up"
    }
    assert drawn == {measure.name for measure in MEASURES}


def test_every_alert_is_explained_and_has_a_test() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    trials = ALERTS.with_name("alerts_test.yml").read_text(encoding="utf-8")
    for name in alert_names():
        assert f"| `{name}` |" in page
        fires = re.findall(rf"alertname: {name}\n +eval_time: \w+\n +exp_alerts:(.*)", trials)
        assert "" in fires, "no case in which it fires"


def test_dashboards_are_where_grafana_is_told_to_look() -> None:
    grafana = ROOT / "docker" / "grafana"
    provider = (grafana / "provisioning" / "dashboards" / "marfl-peer.yml").read_text(encoding="utf-8")
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (inside,) = re.findall(r"path: (\S+)", provider)
    assert f"./docker/grafana/dashboards:{inside}:ro" in compose
    assert "./docker/grafana/provisioning:/etc/grafana/provisioning:ro" in compose
    assert "./docker/prometheus:/etc/prometheus:ro" in compose
    source = (grafana / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    assert re.findall(r"url: (\S+)", source) == ["http://prometheus:9090"]


def test_prometheus_finds_all_replicas_where_they_serve() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    image = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    config = (ROOT / "docker" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (names,) = re.findall(r"names: \[(.*)\]", config)
    services = {
        name for name, service in yaml.safe_load(compose)["services"].items() if service["image"] == "marfl-peer"
    }
    assert set(names.split(", ")) == services
    assert re.findall(r"port: (\d+)", config) == re.findall(r"MARFL_METRICS_PORT=(\d+)", image)
    assert re.findall(r"job_name: (\S+)", config)[0].startswith("marfl")
