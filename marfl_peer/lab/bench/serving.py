"""A child's end of the line to the bench, and the life of one that averages when it is told to. Synchronous."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Protocol, Self

from marfl_peer.lab.bench.judging import Judgement
from marfl_peer.lab.bench.words import Answer, Arm, Done, Ended, Entered, Go, Hello, Order, Ready, decode_order, encode


class Line:
    """Orders come in and answers go out. As a context manager it is closed at the end."""

    def __init__(self, path: str, index: int) -> None:
        """Raises: OSError when nobody listens at the path."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self._read = self.socket.makefile("rb")
        self.say(Hello(index=index))

    def say(self, answer: Answer) -> None:
        self.socket.sendall(encode(answer))

    def hear(self) -> Order | None:
        """The next order; None when there are no more."""
        line = self._read.readline()
        return decode_order(line) if line.endswith(b"\n") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read.close()
        self.socket.close()


class Rank(Protocol):
    """One of several processes that average together. When it is made it is connected with the others."""

    contacts: tuple[str, ...]
    """Where others reach it, if they have to be told"""

    def arm(self) -> None:
        """Makes a fresh vector of its own."""
        ...

    def average(self, what: str) -> None:
        """All do that at once. Raises: RuntimeError when it came to nothing."""
        ...

    def judge(self, what: str) -> Judgement | None:
        """Whether the result is what must come out; None where that is not known."""
        ...


def serve(line: Line, rank: Rank) -> None:
    """Obeys until the orders end."""
    line.say(Entered(contacts=rank.contacts))
    while isinstance(order := line.hear(), Arm):
        rank.arm()
        line.say(Ready())
        if not isinstance(line.hear(), Go):
            return
        cpu_s, began, failure = time.process_time(), time.monotonic(), ""
        try:
            rank.average(order.what)
        except RuntimeError as error:
            failure = f"{type(error).__name__}: {error}"
        ended, cpu_s = time.monotonic(), time.process_time() - cpu_s
        line.say(Ended())
        if not isinstance(line.hear(), Go):
            return
        judgement = rank.judge(order.what) if order.checked and not failure else None
        line.say(
            Done(
                began=began,
                ended=ended,
                cpu_s=cpu_s,
                call_s=ended - began,
                error=None if judgement is None else judgement.error,
                wrong="" if judgement is None else judgement.wrong,
                failure=failure,
            )
        )
