"""Streams cut behind their frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.lab.simulator.faults.cutting import Cutter
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import Ballot, Heartbeat, LineName, Message, Part, encode

PART = Part(
    name=LineName(iteration=1, round=1, line=0), ballot=Ballot(attempt=1, leader="a" * 40), stage="gather", offset=0
)


def _frame(message: Message, payload: bytes = b"") -> bytes:
    return frame_head(encode(message), len(payload)) + payload


@given(payloads=st.lists(st.binary(max_size=40), max_size=6), data=st.data())
def test_frames_end_where_they_end_however_the_stream_comes(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [_frame(PART if payload else Heartbeat(), payload) for payload in payloads]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cutter, pieces = Cutter(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pieces += cutter.cut(stream[start:stop])
    assert b"".join(piece for piece, _ in pieces) == stream
    ends, position = [], 0
    for piece, frame in pieces:
        position += len(piece)
        if frame is not None:
            ends.append((position, type(frame.message)))
    expected, position = [], 0
    for frame, payload in zip(frames, payloads, strict=True):
        position += len(frame)
        expected.append((position, Part if payload else Heartbeat))
    assert ends == expected


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", frame_head(b"\x01\x02")])
def test_stream_that_is_none_of_frames_is_passed_on(garbage: bytes) -> None:
    cutter = Cutter()
    stream = _frame(Heartbeat()) + garbage + _frame(Heartbeat())
    pieces = cutter.cut(stream)
    assert b"".join(piece for piece, _ in pieces) == stream
    assert [frame is not None for _, frame in pieces] == [True, False]
    assert cutter.cut(_frame(Heartbeat())) == [(_frame(Heartbeat()), None)]
