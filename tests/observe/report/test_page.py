"""The page: whole, self-contained, and safe from what a summary may hold."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

from marfl_peer.observe.report.charts import Chart, Panel, Scale, line_of
from marfl_peer.observe.report.overview import overview_of
from marfl_peer.observe.report.page import MOST_ROWS, Picture, page, thinned

VOID = {"meta", "img", "source"}


class Reader(HTMLParser):
    """Reads a page, and fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1].append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture() -> Picture:
    panel = Panel(y_label="y", y_scale=Scale.NUMBER, lines=line_of("a", [(0.0, 1.0)], 0))
    chart = Chart(
        name="a-chart", title="A <chart>", meaning="what & why", x_label="x", x_scale=Scale.NUMBER, panels=(panel,)
    )
    return Picture(chart=chart, light=b"<svg>light</svg>", dark=b"<svg>dark</svg>")


def test_page_holds_table_pictures_settings_and_commands(run) -> None:
    runs = [run(command="marfl-peer swarm --peers 4"), run(codec="int8", churn={"killed": 3, "paused": 0})]
    text = page("Two runs", overview_of(runs, ["plain", "coded"]), runs, [picture()], note="mind the gap")
    read = Reader(text)
    assert ["", *read.cells[0]] == ["", "plain", "coded"]
    assert ["accuracy", "80.00 %", "80.00 %"] in read.cells
    assert ["codec", "float32", "int8"] in read.cells
    (image,), (source,) = read.of("img"), read.of("source")
    assert base64.b64decode(str(image["src"]).partition("base64,")[2]) == b"<svg>light</svg>"
    assert base64.b64decode(str(source["srcset"]).partition("base64,")[2]) == b"<svg>dark</svg>"
    assert source["media"] == "(prefers-color-scheme: dark)"
    for said in ("mind the gap", "marfl-peer swarm --peers 4", "aggregation", "seed 0", "3 killed", "what & why"):
        assert said in read.text, said
    assert ["2", "80.00 %", "–", "–", "2.0 kB", "–", "2", "0", "4", "–"] in read.cells


def test_page_fetches_nothing(run) -> None:
    text = page("t", overview_of([run()], ["a"]), [run()], [picture()])
    read = Reader(text)
    links = [value for _, attributes in read.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links and all(str(link).startswith("data:") for link in links)
    assert "http" not in text and not read.of("script") and not read.of("link")


def test_what_a_summary_says_stays_text(run) -> None:
    evil = "<script>alert(1)</script>"
    made = run(run_id=evil, task=evil, command=evil, name=evil, settings={evil: evil}, churn={evil: 1})
    read = Reader(page(evil, overview_of([made], [evil]), [made], []))
    assert not read.of("script")
    assert read.text.count(evil) >= 7


def test_long_runs_list_some_iterations_evenly(run, iteration) -> None:
    rows = [iteration(number) for number in range(1, 501)]
    kept = [row.iteration for row in thinned(rows)]
    assert (kept[0], kept[-1], len(kept)) == (1, 500, MOST_ROWS)
    assert kept == sorted(set(kept))
    assert thinned(rows[:3]) == rows[:3]
