from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marfl_peer.lab.bench.judging import Judgement
from marfl_peer.lab.bench.serving import Line, serve
from marfl_peer.lab.bench.words import Answer, Arm, Done, Ended, Entered, Go, Hello, Order, Ready, decode_answer, encode


class Bench:
    """The other end of the line, on a thread of its own: says all orders, and keeps the answers."""

    def __init__(self, orders: list[Order]) -> None:
        self.answers: list[Answer] = []
        self._folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self._folder.name) / "line")
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        self._server.listen()
        self._thread = threading.Thread(target=self._talk, args=(orders,))

    def _talk(self, orders: list[Order]) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"".join(encode(order) for order in orders))
            connection.shutdown(socket.SHUT_WR)
            self.answers = [decode_answer(line) for line in lines]

    def __enter__(self) -> Bench:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._server.close()
        self._folder.cleanup()


class Lazy:
    """Averages nothing."""

    contacts = ("here",)

    def __init__(self) -> None:
        self.done: list[str] = []

    def arm(self) -> None:
        self.done.append("arm")

    def average(self, what: str) -> None:
        self.done.append(what)
        if what == "bad":
            raise RuntimeError("no group was found")

    def judge(self, what: str) -> Judgement | None:
        self.done.append("check")
        return Judgement(0.5, "off")


def served(orders: list[Order]) -> tuple[Lazy, list[Answer]]:
    rank = Lazy()
    with Bench(orders) as bench, Line(bench.path, 7) as line:
        serve(line, rank)
    return rank, bench.answers


def test_rank_does_what_it_is_told_until_the_orders_end() -> None:
    rank, answers = served([Arm(what="flat", checked=True), Go(), Go(), Arm(what="groups", checked=False), Go(), Go()])
    assert rank.done == ["arm", "flat", "check", "arm", "groups"]
    kinds = [type(answer) for answer in answers]
    assert kinds == [Hello, Entered, Ready, Ended, Done, Ready, Ended, Done]
    assert answers[:2] == [Hello(index=7), Entered(contacts=("here",))]
    first, second = answers[4], answers[7]
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert first.ended >= first.began
    assert (first.error, first.wrong, first.failure) == (0.5, "off", "")
    assert (second.error, second.wrong) == (None, "")


def test_what_came_to_nothing_is_said_and_not_checked() -> None:
    rank, answers = served([Arm(what="bad", checked=True), Go(), Go()])
    done = answers[-1]
    assert isinstance(done, Done)
    assert done.failure == "RuntimeError: no group was found"
    assert "check" not in rank.done


def test_orders_that_end_before_go_end_the_rank() -> None:
    rank, answers = served([Arm(what="flat", checked=False)])
    assert rank.done == ["arm"]
    assert answers[-1] == Ready()


def test_result_is_left_alone_until_all_have_theirs() -> None:
    rank, answers = served([Arm(what="flat", checked=True), Go()])
    assert rank.done == ["arm", "flat"]
    assert answers[-1] == Ended()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
