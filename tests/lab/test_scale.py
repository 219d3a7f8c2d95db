from __future__ import annotations

import io

from rich.console import Console

from marfl_peer.lab.scale import ScaleRow, rule_markdown, rule_rows, scale_markdown, scale_rows, scale_table

ROW = ScaleRow(
    peers=10_000,
    placement="hashed",
    rounds=7,
    residual=5.4321e-5,
    expected=5.35e-5,
    residual_absent=2.2e-4,
    messages=117.31,
    is_counted=False,
    lookups=7,
)


def test_rows_compare_both_placements_at_every_size() -> None:
    rows = scale_rows([16, 40], trials=3, counted_up_to=16)
    assert [(row.peers, row.placement, row.is_counted) for row in rows] == [
        *[(16, "grid", True), (16, "hashed", True)],
        *[(40, "grid", False), (40, "hashed", False)],
    ]
    assert [row.lookups for row in rows] == [0, 2, 0, 3]
    grid, hashed = rows[0], rows[1]
    assert grid.residual < 1e-20 < hashed.residual < hashed.residual_absent < 1
    assert (grid.messages, grid.expected) == (21.0, 0)


def test_same_seed_gives_the_same_rows() -> None:
    assert scale_rows([16], trials=2) == scale_rows([16], trials=2)
    assert scale_rows([16], trials=2) != scale_rows([16], trials=2, seed=1)


def test_page_says_what_was_worked_out_and_what_is_rounding() -> None:
    assert scale_markdown([ROW]).splitlines()[-1] == (
        "| 10,000 | hashed | 7 | 5.4e-05 | 5.3e-05 | 2.2e-04 | (117.3) | 7 |"
    )
    exact = ScaleRow(
        peers=16,
        placement="grid",
        rounds=2,
        residual=1e-33,
        expected=None,
        residual_absent=0.0,
        messages=21.0,
        is_counted=True,
        lookups=0,
    )
    assert scale_markdown([exact]).splitlines()[-1] == "| 16 | grid | 2 | 0 | - | 0 | 21.0 | 0 |"


def test_terminal_shows_the_same_figures() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(scale_table([ROW]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for figure in ("10,000", "hashed", "5.4e-05", "(117.3)", "20% absent"):
        assert figure in shown


def test_rules_are_compared_where_weights_differ() -> None:
    rows = rule_rows(64, trials=20)
    assert [row.rule for row in rows] == ["share", "sum", "ignored"]
    assert rows[0].shift < 1e-20 < rows[1].shift
    assert rule_markdown(rows).splitlines()[2].startswith("| share | ")
    assert rule_markdown(rows).splitlines()[2].endswith(" | 0 |")
