from __future__ import annotations

import pytest

from marfl_peer.observe.status import Failure, Status
from marfl_peer.observe.top.rows import COLUMNS, MAX_CELL, Row, age, printable, sorted_rows

FULL = Status(
    peer_id="ab" * 20,
    iteration=7,
    iterations=30,
    phase="averaging",
    round=2,
    rounds=2,
    cell=6,
    coordinates=(1, 2),
    group=("ab" * 20, "cdef" * 10, "1234" * 10),
    test_accuracy=0.93125,
    iterations_per_minute=41.26,
    bytes_sent={"tensor": 3_000_000, "control": 500_000},
    time=1000.0,
    last_failure=Failure(at=988.0, iteration=6, code="peer_lost", detail="cdcdcdcd: silent"),
)


def shown(row: Row) -> dict[str, str]:
    return {column.title: column.text(row) for column in COLUMNS}


def column(title: str):
    (found,) = (column for column in COLUMNS if column.title == title)
    return found


def test_row_of_a_peer_that_answers() -> None:
    assert shown(Row(address="10.0.0.1:7700", status=FULL, now=5000.0)) == {
        "peer": "abababab",
        "address": "10.0.0.1:7700",
        "cell": "1,2",
        "iter": "7/30",
        "phase": "averaging 2/2",
        "group-mates": "cdef 1234",
        "accuracy": "93.12%",
        "sent": "3.5 MB",
        "it/min": "41.3",
        "last failure": "12 s ago: peer_lost: cdcdcdcd: silent",
    }


def test_row_of_an_older_peer_shows_what_it_knows() -> None:
    old = Status(peer_id="ab" * 20, iteration=3, phase="training", cell=4, group=(), bytes_sent={"tensor": 1000})
    texts = shown(Row(address="h:1", status=old))
    assert texts == dict.fromkeys(texts, "-") | {
        "peer": "abababab",
        "address": "h:1",
        "cell": "4",
        "iter": "3",
        "phase": "training",
        "sent": "1.0 kB",
    }


def test_row_of_a_peer_that_does_not_answer_says_why() -> None:
    texts = shown(Row(address="h:1", trouble="Connection refused", peer_id="cd" * 20))
    assert (texts["peer"], texts["phase"]) == ("cdcdcdcd", "unreachable")
    assert texts["last failure"] == "Connection refused"
    texts = shown(Row(address="h:1", trouble="no answer", status=FULL))
    assert (texts["iter"], texts["phase"]) == ("7/30", "unreachable")


@pytest.mark.parametrize("one", COLUMNS, ids=lambda one: one.title)
def test_every_column_can_be_sorted_by_whatever_peers_say(one) -> None:
    rows = [
        Row(address="h:3", trouble="no answer"),
        Row(address="h:1", status=Status()),
        Row(address="h:2", status=FULL, now=1.0),
        Row(address="h:0", status=Status(cell=3, phase="training", iteration=9, bytes_sent={}, test_accuracy=1.0)),
    ]
    for is_reversed in (False, True):
        ordered = sorted_rows(rows, one, is_reversed=is_reversed)
        assert sorted(row.address for row in ordered) == ["h:0", "h:1", "h:2", "h:3"]
        empty = [one.value(row) is None for row in ordered]
        assert empty == sorted(empty)


def test_numbers_are_sorted_as_numbers_the_highest_first() -> None:
    rows = [Row(address=f"h:{count}", status=Status(iteration=count)) for count in (9, 100, 20)]
    order = [row.address for row in sorted_rows(rows, column("iter"), is_reversed=False)]
    assert order == ["h:100", "h:20", "h:9"]
    assert [row.address for row in sorted_rows(rows, column("iter"), is_reversed=True)] == order[::-1]


def test_latest_failure_comes_first_whatever_the_clocks_say() -> None:
    def failed(clock: float, ago: float) -> Status:
        return Status(time=clock, last_failure=Failure(at=clock - ago, iteration=1, code="c", detail=""))

    rows = [
        Row(address="long ago", status=failed(9999.0, 50.0), now=100.0),
        Row(address="just now", status=failed(10.0, 1.0), now=100.0),
        Row(address="never", status=Status()),
    ]
    order = [row.address for row in sorted_rows(rows, column("last failure"), is_reversed=False)]
    assert order == ["just now", "long ago", "never"]


def test_words_of_peers_move_no_cursor_and_are_cut() -> None:
    assert printable("a\x1b[2Jb\n") == r"a\x1b[2Jb\n"
    assert len(printable("x" * 500)) == MAX_CELL


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (7200, "2 h")])
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age(seconds) == text
