"""Pictures: what is in them can be read back, and equal charts give equal files."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as xml
from itertools import pairwise

import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb

from marfl_peer.observe.report import drawing
from marfl_peer.observe.report.charts import Chart, Line, Panel, Scale, Stroke, line_of


def chart_of(lines: tuple[Line, ...], *, x: Scale = Scale.WHOLE, y: Scale = Scale.PERCENT, panels: int = 1) -> Chart:
    panel = Panel(y_label="test accuracy", y_scale=y, lines=lines)
    return Chart(name="n", title="A title", meaning="m", x_label="the x", x_scale=x, panels=(panel,) * panels)


def lines_of(count: int, *, label: str = "run") -> tuple[Line, ...]:
    return tuple(
        line
        for place in range(count)
        for line in line_of(f"{label} {place}", [(1.0, 0.25), (2.0, 0.8 + place / 100)], place)
    )


def texts_of(svg: bytes) -> set[str]:
    """matplotlib writes each text as a comment before its outlines."""
    parser = xml.XMLParser(target=xml.TreeBuilder(insert_comments=True))
    root = xml.fromstring(svg, parser)
    return {str(node.text).strip() for node in root.iter() if node.tag is xml.Comment}  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(("count", "theme"), [(1, drawing.LIGHT), (3, drawing.LIGHT), (9, drawing.DARK)])
def test_svg_has_title_axes_and_the_names_of_several_lines(count: int, theme: drawing.Theme) -> None:
    svg = drawing.svg(chart_of(lines_of(count)), theme)
    texts = texts_of(svg)
    assert {"A title", "the x", "test accuracy", "60%"} <= texts
    assert {f"run {place}" for place in range(count)} <= texts or count == 1
    assert theme.colours[0] in svg.decode() and theme.paper in svg.decode()


def test_equal_charts_are_equal_files() -> None:
    assert drawing.svg(chart_of(lines_of(2)), drawing.LIGHT) == drawing.svg(chart_of(lines_of(2)), drawing.LIGHT)


def test_png_is_one_of_the_width_that_was_asked_for() -> None:
    content = drawing.png(chart_of(lines_of(2)))
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width == round(drawing.WIDTH_IN * drawing.DPI)
    assert 0.5 < height / width < 1.5


@pytest.mark.parametrize(
    ("x", "y", "written"),
    [
        (Scale.BYTES, Scale.LOG, {"0.5"}),
        (Scale.LOG_BYTES, Scale.PERCENT, {"1 B", "2 B"}),
        (Scale.LOG_WHOLE, Scale.LOG_BYTES, {"1", "2"}),
        (Scale.NUMBER, Scale.WHOLE, {"0", "1"}),
    ],
)
def test_every_scale_has_ticks_that_people_read(x: Scale, y: Scale, written: set[str]) -> None:
    texts = texts_of(drawing.svg(chart_of(lines_of(2), x=x, y=y), drawing.LIGHT))
    assert written <= texts
    assert not any("mathdefault" in text for text in texts)


def test_names_are_no_formulas_and_no_markup() -> None:
    name = "$\\frac{1}{0}$ <b> --> _x 蜂"
    svg = drawing.svg(chart_of(lines_of(2, label=name)), drawing.LIGHT)
    assert b"<b>" not in svg
    xml.fromstring(svg)
    assert drawing.png(chart_of(lines_of(2, label=name))).startswith(b"\x89PNG")


def test_one_point_flat_lines_and_equal_panels_are_drawn() -> None:
    flat = line_of("flat", [(3.0, 0.0)], 0)
    assert drawing.png(chart_of(flat, y=Scale.WHOLE, panels=3)).startswith(b"\x89PNG")
    theory = line_of("theory", [(1.0, 0.2), (2.0, 1e-18)], None, Stroke.THEORY)
    assert b"svg" in drawing.svg(chart_of((*lines_of(2), *theory), y=Scale.LOG), drawing.DARK)


@pytest.mark.parametrize("heights", [[0.9, 0.91, 0.92], [0.0, 0.0, 0.01], [0.5], [0.98, 0.99, 1.0, 1.0], [-0.2, 1.3]])
def test_names_beside_a_panel_keep_apart_and_inside(heights: list[float]) -> None:
    kept = drawing._kept_apart(heights)
    assert all(after - before >= drawing.NAME_GAP - 1e-9 for before, after in pairwise(kept))
    assert all(0.0 <= height <= 1.0 for height in kept)


@pytest.mark.parametrize("theme", [drawing.LIGHT, drawing.DARK])
def test_colours_stand_out_from_their_paper(theme: drawing.Theme) -> None:
    def light(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    for colour, least in ((theme.ink, 7.0), (theme.theory, 3.0), *((colour, 2.2) for colour in theme.colours)):
        contrast = max(light(colour), light(theme.paper)) / min(light(colour), light(theme.paper))
        assert contrast >= least, colour
