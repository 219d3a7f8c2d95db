"""The frames of a host, seen on their way out and in."""

from __future__ import annotations

from marfl_peer.lab.simulator.faults.cutting import Frame
from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.tcp import End
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Heartbeat, encode

BEAT, BYE = (frame_head(encode(message)) for message in (Heartbeat(), Goodbye()))


class Pipe(End):
    """An end that only keeps what is queued."""

    def __init__(self) -> None:
        self.queued: list[bytes] = []

    def queue(self, data: bytes) -> None:
        self.queued.append(data)


def _tap() -> tuple[FrameTap, list[tuple[str, str, str]]]:
    seen: list[tuple[str, str, str]] = []
    tap = FrameTap(lambda _, message, direction, edge: seen.append((type(message).__name__, direction, edge)))
    return tap, seen


def test_frame_leaves_whole_between_its_two_edges() -> None:
    pipe = Pipe()
    queued: list[int] = []
    tap = FrameTap(lambda *_: queued.append(len(pipe.queued)))
    tap.write(pipe, BEAT[:5])
    assert (queued, pipe.queued) == ([], [])
    tap.write(pipe, BEAT[5:] + BYE)
    assert pipe.queued == [BEAT, BYE]
    assert queued == [0, 1, 1, 2]


def test_frames_are_told_with_their_message() -> None:
    tap, seen = _tap()
    tap.write(Pipe(), BEAT)
    assert seen == [("Heartbeat", "sends", "before"), ("Heartbeat", "sends", "after")]


def test_connections_are_kept_apart() -> None:
    tap, seen = _tap()
    one, other = Pipe(), Pipe()
    tap.write(one, BEAT[:5])
    tap.write(other, BYE)
    tap.write(one, BEAT[5:])
    assert (one.queued, other.queued) == ([BEAT], [BYE])
    assert [name for name, _, edge in seen if edge == "after"] == ["Goodbye", "Heartbeat"]


def test_rewritten_frames_leave_in_place_of_the_frame() -> None:
    def rewrite(message: AnyMessage, frame: bytes) -> list[bytes]:
        return [frame, BYE] if isinstance(message, Heartbeat) else []

    tap, _ = _tap()
    tap.rewrite = rewrite
    pipe = Pipe()
    tap.write(pipe, BEAT + BYE)
    assert pipe.queued == [BEAT, BYE]


def test_frame_that_is_read_in_two_goes_is_told_once_before_and_once_after() -> None:
    tap, seen = _tap()
    pipe = Pipe()
    [(_, frame)] = tap.cut(pipe, BEAT)
    assert isinstance(frame, Frame)
    tap.reads(pipe, frame)
    tap.reads(pipe, frame)
    tap.has_read(pipe, frame)
    assert seen == [("Heartbeat", "receives", "before"), ("Heartbeat", "receives", "after")]
