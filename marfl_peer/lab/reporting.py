"""What `marfl-peer report` does: finds the runs that were named, has their figures told and drawn, writes the files.

Knows where runs leave what they tell; what a report says and shows is `observe.report`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.disk import write_whole
from marfl_peer.errors import ConfigError
from marfl_peer.lab.bench.formulas import formulas
from marfl_peer.lab.journals import journals_in, run_of_journals
from marfl_peer.lab.summary import SUMMARY
from marfl_peer.observe.report.charts import Chart
from marfl_peer.observe.report.labels import labels_of
from marfl_peer.observe.report.learning_charts import accuracy_by_bytes, accuracy_by_epsilon, accuracy_by_iteration
from marfl_peer.observe.report.overview import Overview, overview_of
from marfl_peer.observe.report.page import Picture, page
from marfl_peer.observe.report.runs import Run, read_run
from marfl_peer.observe.report.swarm_charts import churn, mixing, mixing_by_iteration
from marfl_peer.observe.report.traffic_charts import bytes_by_peers

PAGE = "report.html"
MOST_BYTES = 256 << 20
"""No summary is larger; what is, is something else."""
WITHOUT_CHARTS = "Charts need matplotlib: pip install 'marfl-peer[report]'"

Draw = Callable[[Chart], Picture]
DrawPng = Callable[[Chart], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was made. `left_out`: folders beside other runs in which nobody had finished an iteration, with the
    reason."""

    overview: Overview
    page: Path
    pictures: tuple[Path, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Draws charts: as the pair of SVG files of a page, and as PNG."""

    picture: Draw
    png: DrawPng


def write_report(places: Sequence[Path], *, out: Path, title: str, pen: Pen | None) -> Written:
    """Reads the runs at `places` and writes page and pictures below `out`. Without a pen nothing is drawn.

    Raises: ConfigError for a place where there is no run, or an `out` that cannot be written.
    """
    runs, left_out = read_runs(places)
    labels = labels_of(runs)
    overview = overview_of(runs, labels)
    charts = charts_of(runs, labels) if pen is not None else []
    pictures = [] if pen is None else [pen.picture(chart) for chart in charts]
    note = WITHOUT_CHARTS + "." if pen is None else ""
    files = {PAGE: page(title, overview, runs, pictures, note=note).encode()}
    files |= {} if pen is None else {f"{chart.name}.png": pen.png(chart) for chart in charts}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(out / name, content)
    except OSError as error:
        raise ConfigError("--out", str(out), f"cannot be written ({error.strerror}): choose another folder") from None
    written = tuple(out / name for name in files)
    return Written(overview=overview, page=written[0], pictures=written[1:], left_out=tuple(left_out))


def charts_of(runs: Sequence[Run], labels: Sequence[str]) -> list[Chart]:
    """Those that there is something to see in."""
    charts = (
        accuracy_by_bytes(runs, labels),
        accuracy_by_iteration(runs, labels),
        bytes_by_peers(runs, _formulas),
        accuracy_by_epsilon(runs, labels),
        churn(runs, labels),
        mixing(runs, labels),
        mixing_by_iteration(runs, labels),
    )
    return [chart for chart in charts if chart is not None]


def _formulas(peers: int, group_size: int, vector_bytes: int, is_theta: bool) -> Mapping[str, float]:
    sent = formulas(peers, group_size, vector_bytes)
    return {
        "RDFL, AR-FL": sent.rdfl,
        "MAR-FL as published": sent.mar_fl,
        "butterfly": sent.butterfly,
        "FedAvg": 2 * sent.fedavg if is_theta else sent.fedavg,  # theta up and down, whatever else is averaged
    }


def read_runs(places: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs at these places, in their order, and what was left out of folders of many runs.

    A place is a summary, the folder of a swarm's run, the state folder of a peer, or a folder of such folders. One that
    is named twice counts once. Raises: ConfigError.
    """
    runs: dict[Path, Run] = {}
    left_out = []
    for place in places:
        if not place.exists():
            raise ConfigError(str(place), None, "does not exist: name a summary or the folder of a run")
        found = [place] if not place.is_dir() or _is_run(place) else []
        inner = sorted(path for path in place.iterdir() if path.is_dir() and _is_run(path)) if place.is_dir() else []
        several = [path for path in inner if not path.name.startswith("peer-")]
        if not found and not several:
            remedy = "holds no run: name a summary, the folder of a run, or a folder of such folders"
            raise ConfigError(str(place), None, remedy)
        for path in found:
            runs.setdefault(path.resolve(), _read(path))
        for path in several:
            try:
                runs.setdefault(path.resolve(), _read(path))
            except ConfigError as error:
                left_out.append(str(error))
    if not runs:
        raise ConfigError(str(places[0]), None, f"holds no run that can be told of; {left_out[0]}")
    return list(runs.values()), left_out


def _is_run(folder: Path) -> bool:
    return (folder / SUMMARY).is_file() or bool(journals_in(folder))


def _read(place: Path) -> Run:
    if not place.is_dir():
        return read_run(_content(place), name=place.name, origin=str(place))
    summary = place / SUMMARY
    if summary.is_file():
        return read_run(_content(summary), name=place.name, origin=str(summary))
    return run_of_journals(journals_in(place), name=place.resolve().name, origin=str(place))


def _content(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise ConfigError(str(path), None, "is not the summary of a run: it is too large")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read ({error.strerror})") from None
