"""What the dashboards in docker/grafana and the alerts in docker/prometheus ask Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DASHBOARDS = sorted((ROOT / "docker" / "grafana" / "dashboards").glob("*.json"))
ALERTS = ROOT / "docker" / "prometheus" / "alerts.yml"
IN_CASE_OF_NONE = " or on () vector(0)"
"""What shows a zero where nothing of the kind has happened yet."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """`legend`: how its series are named; `where`: dashboard, panel and letter, of no two the same."""

    where: str
    expr: str
    legend: str


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def queries(path: Path) -> Iterator[Query]:
    for panel in load(path)["panels"]:
        for target in panel["targets"]:
            where = f"{path.stem}: {panel['title']} ({panel['type']}): {target['refId']}"
            yield Query(where=where, expr=target["expr"], legend=target["legendFormat"])


def variables(path: Path) -> dict[str, str]:
    """The queries of a dashboard's own variables, by name."""
    asked = [one for one in load(path)["templating"]["list"] if one["type"] == "query"]
    return {one["name"]: one["query"]["query"] for one in asked}


def filled_in(expr: str, values: Mapping[str, str]) -> str:
    """As Grafana sends it."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


def alert_names() -> list[str]:
    return re.findall(r"^ *- alert: (\w+)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)


def alert_expressions() -> list[str]:
    """As they stand in the file, in one line each; without a YAML parser, which needs not be there."""
    blocks = re.findall(r"^ +expr: \|\n((?: {10,}.*\n)+)", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    return [" ".join(block.split()) for block in blocks]
