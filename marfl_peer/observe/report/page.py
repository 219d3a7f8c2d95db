"""The report as one HTML file: nothing is fetched, all pictures are in it, and it reads on a phone and in the dark.

Knows texts and pictures that others made. Everything that comes from a run is escaped: it may be anything.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from marfl_peer.observe.report.charts import Chart
from marfl_peer.observe.report.labels import setting_text
from marfl_peer.observe.report.overview import UNKNOWN, Overview, percent, size
from marfl_peer.observe.report.runs import Iteration, Run

MOST_ROWS = 60
"""Of a run's iterations so many are listed, evenly; always the first and the last."""
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #24292f; --soft: #5a646e; --line: #d9dee3; --code: #f3f5f7 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e6e9ec; --soft: #98a2ac; --line: #343b43; --code: #1d232a }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0.5rem 0 } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem }
p, figcaption { color: var(--soft); margin: 0.25rem 0 0.75rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: bottom }
thead th { white-space: normal; min-width: 4.5rem }
th:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--paper);
  white-space: normal; min-width: 6.5rem }
th { font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem }
figure { margin: 0 } figure img { width: 100%; height: auto; display: block }
figcaption { font-size: 0.85rem; margin-top: 0.4rem }
details { border-bottom: 1px solid var(--line); padding: 0.5rem 0 } summary { cursor: pointer; font-weight: 600 }
pre { background: var(--code); padding: 0.6rem; border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere }
.settings { color: var(--soft); font-size: 0.9rem }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart with its two SVG files."""

    chart: Chart
    light: bytes
    dark: bytes


def page(title: str, overview: Overview, runs: Sequence[Run], pictures: Sequence[Picture], *, note: str = "") -> str:
    """The whole file. `note`: what the reader should know besides; `overview` is that of `runs`."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *([f"<p>{escape(note)}</p>"] if note else []),
        *_overview(overview),
        *(["<h2>Charts</h2>", '<div class="charts">', *map(_figure, pictures), "</div>"] if pictures else []),
        "<h2>Runs</h2>",
        *(part for run, label in zip(runs, overview.labels, strict=True) for part in _run(run, label)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _overview(overview: Overview) -> Iterator[str]:
    if overview.common:
        said = ", ".join(f"{title} {text}" for title, text in overview.common)
        yield f"<p>In all runs: {escape(said)}.</p>"
    rows = [(column.title, *column.cells) for column in overview.columns]
    yield from _table(("", *overview.labels), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr></thead><tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        yield f"<tr><th>{escape(first)}</th>{cells}</tr>"
    yield "</tbody></table></div>"


def _figure(picture: Picture) -> str:
    chart = picture.chart
    return (
        f'<figure id="{escape(chart.name)}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_inlined(picture.dark)}">'
        f'<img alt="{escape(chart.title)}" src="{_inlined(picture.light)}"></picture>'
        f"<figcaption>{escape(chart.meaning)}</figcaption></figure>"
    )


def _inlined(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _run(run: Run, label: str) -> Iterator[str]:
    yield f"<details><summary>{escape(label)}</summary>"
    yield f"<p>Run id {escape(run.run_id)}, read from {escape(run.name)}.</p>"
    if run.command:
        yield f"<pre>{escape(run.command)}</pre>"
    if run.settings:
        said = ", ".join(setting_text(name, value) for name, value in run.settings.items() if name != "run_id")
        yield f'<p class="settings">Settings of the run: {escape(said)}.</p>'
    if any(run.churn.values()):
        done = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in run.churn.items() if count)
        yield f"<p>Churn: {escape(done)}.</p>"
    yield from _table(ITERATION_HEAD, [_cells(row, run) for row in thinned(run.iterations)])
    yield "</details>"


ITERATION_HEAD = (
    *("iteration", "accuracy", "train loss", "disagreement", "sent so far", "seconds"),
    *("groups complete", "groups partial", "peers through", "residual variance"),
)


def _cells(row: Iteration, run: Run) -> tuple[str, ...]:
    residuals = row.mixing_residual or ()
    return (
        str(row.iteration),
        percent(row.test_accuracy_mean),
        _number(row.train_loss_mean, "{:.4f}"),
        _number(row.disagreement, "{:.1e}"),
        size(run.bytes_until[row.iteration]),
        _number(row.seconds, "{:.2f}"),
        str(row.groups_complete),
        str(row.groups_partial),
        str(row.peers_finished),
        ", ".join(f"{left:.1e}" for left in residuals) or UNKNOWN,
    )


def _number(value: float | None, template: str) -> str:
    return UNKNOWN if value is None else template.format(value)


def thinned(rows: Sequence[Iteration]) -> list[Iteration]:
    """At most `MOST_ROWS`, evenly, the first and the last among them."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    step = (len(rows) - 1) / (MOST_ROWS - 1)
    return [rows[round(place * step)] for place in range(MOST_ROWS)]
