from __future__ import annotations

import io

import pytest
from rich.console import Console

from marfl_peer.observe.status import Failure, Status
from marfl_peer.observe.top.keys import Key
from marfl_peer.observe.top.rows import COLUMNS, Row
from marfl_peer.observe.top.screen import AROUND, FLEXIBLE, Choice, draw, fitting, head, page_of


def rows_of(count: int) -> list[Row]:
    return [
        Row(
            address=f"10.0.{index // 250}.{index % 250}:7700",
            status=Status(
                peer_id=f"{index:040x}"[::-1],
                run_id="demo",
                task="digits",
                iteration=7,
                iterations=30,
                phase="averaging",
                round=1,
                rounds=3,
                grid=(5, 5, 5),
                coordinates=(index // 25 % 5, index // 5 % 5, index % 5),
                group=("ab" * 20,) * 5,
                test_accuracy=index / 1000,
                bytes_sent={"tensor": index * 10**6},
                time=10.0,
                last_failure=Failure(at=1.0, iteration=1, code="peer_lost", detail="d" * 100),
            ),
        )
        for index in range(count)
    ]


def lines(rows: list[Row], choice: Choice, *, width: int, height: int | None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(draw(rows, choice, asked="10.0.0.1:7700", width=width, height=height))
    return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60), (20, 6)])
@pytest.mark.parametrize("count", [0, 1, 16, 125])
def test_screen_is_never_larger_than_the_terminal(count: int, width: int, height: int) -> None:
    shown = lines(rows_of(count), Choice(), width=width, height=height)
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)


def test_many_peers_are_a_page_and_how_many_there_are_besides() -> None:
    shown = lines(rows_of(125), Choice(above=10), width=80, height=24)
    assert page_of(24) == 24 - AROUND == 19
    assert any(line.strip() == "10 above, 96 below" for line in shown)
    assert sum("averaging" in line for line in shown) == 19


def test_all_columns_are_shown_where_there_is_room_and_the_first_one_always() -> None:
    wide, narrow = (lines(rows_of(3), Choice(), width=width, height=24)[1] for width in (200, 40))
    assert [column.title for column in COLUMNS if column.title not in wide] == []
    assert "peer" in narrow
    assert "it/min" not in narrow


@pytest.mark.parametrize("width", [40, 80, 100, 128, 200])
def test_only_columns_that_may_be_cut_are_cut(width: int) -> None:
    shown = lines(rows_of(3), Choice(), width=width, height=24)
    assert shown[3].startswith("00000000 ")
    assert "7/30 " in shown[3]
    for line, row in zip(shown[3:6], rows_of(3), strict=True):
        for column in COLUMNS:
            if column.title in shown[1] and column.title not in FLEXIBLE:
                assert column.text(row) in line


def test_column_that_is_sorted_by_stays() -> None:
    index = next(index for index, column in enumerate(COLUMNS) if column.title == "sent")
    assert "sent▼" in lines(rows_of(3), Choice(column=index), width=40, height=24)[1]
    assert "sent▲" in lines(rows_of(3), Choice(column=index, is_reversed=True), width=40, height=24)[1]


def test_columns_are_cut_before_they_are_left_out() -> None:
    wanted = {column.title: 10 for column in COLUMNS} | {"last failure": 60}
    assert fitting(wanted, 160, keep="peer") == wanted | {"last failure": 160 - 9 * 10 - 10 * 2}
    narrow = fitting(wanted, 100, keep="peer")
    assert (set(wanted) - set(narrow), narrow["last failure"]) == ({"it/min", "group-mates", "sent"}, 26)


def test_reason_of_a_silent_peer_shows_in_a_small_terminal() -> None:
    rows = [*rows_of(3), Row(address="10.9.9.9:7700", trouble="Connection refused")]
    assert "Connection refused" in "\n".join(lines(rows, Choice(), width=80, height=24))


def test_head_tells_of_the_swarm_and_of_who_is_silent() -> None:
    rows = [*rows_of(16), Row(address="10.9.9.9:7700", trouble="no answer in time")]
    text = head(rows, asked="10.0.0.1:7700", seconds=0.25, width=200).plain
    assert text == (
        "run demo | task digits | 17 peers, 1 unreachable | grid 5x5x5 | iteration 7 | accuracy 0.75% | "
        "asked 10.0.0.1:7700 in 0.2 s"
    )


def test_words_of_peers_are_no_markup() -> None:
    row = Row(address="[red]h[/]:1", status=Status(run_id="[bold]x", phase="\x1b[2J[i]phase[/]"))
    text = "\n".join(lines([row], Choice(), width=160, height=24))
    assert "[bold]x" in text
    assert "[red]h[/]:1" in text
    assert "\x1b" not in text


def test_keys_sort_reverse_and_scroll() -> None:
    choice = Choice()
    choice = choice.after(Key.SORT_NEXT, rows=125, page=20)
    choice = choice.after(Key.REVERSE, rows=125, page=20)
    assert (choice.column, choice.is_reversed) == (1, True)
    choice = choice.after(Key.SORT_BEFORE, rows=125, page=20).after(Key.SORT_BEFORE, rows=125, page=20)
    assert (choice.column, choice.is_reversed) == (len(COLUMNS) - 1, False)
    ways = [(Key.DOWN, 1), (Key.PAGE_DOWN, 21), (Key.UP, 20), (Key.PAGE_UP, 0), (Key.UP, 0)]
    for key, above in ways:
        choice = choice.after(key, rows=125, page=20)
        assert choice.above == above
    for _ in range(10):
        choice = choice.after(Key.PAGE_DOWN, rows=125, page=20)
    assert choice.above == 105
    assert choice.after(Key.DOWN, rows=3, page=20).above == 0
    assert choice.after(Key.QUIT, rows=3, page=20) == choice
