from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.protocol.frames import (
    FRAME_OVERHEAD_BYTES,
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    FrameDecoder,
    Room,
    frame_head,
)

Frame = tuple[bytes, bytes]


class Receiver:
    """Feeds bytes as a socket would: into the decoder's own buffer, as many as fit."""

    def __init__(self) -> None:
        self.placed: list[tuple[bytes, int]] = []
        self.decoded: list[bytes] = []
        self.decoder = FrameDecoder(self._decode, self._place)
        self.frames: list[Frame] = []

    def _decode(self, header: bytes) -> bytes:
        self.decoded.append(header)
        return header

    def _place(self, header: bytes, length: int) -> memoryview:
        self.placed.append((header, length))
        return memoryview(bytearray(length)) if length else memoryview(b"")

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            buffer = self.decoder.get_buffer()
            assert len(buffer) > 0
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            # The buffer stays in use while the bytes are handled, as asyncio does it.
            self.frames += [(header, bytes(payload)) for header, payload in self.decoder.received(count)]
            view = view[count:]


def stream_of(frames: list[Frame]) -> bytes:
    return b"".join(frame_head(header, len(payload)) + payload for header, payload in frames)


headers = st.one_of(st.binary(max_size=40), st.integers(0, MAX_HEADER_BYTES).map(lambda size: b"h" * size))
payloads = st.one_of(st.binary(max_size=60), st.integers(0, 40_000).map(lambda size: b"p" * size))


@given(st.lists(st.tuples(headers, payloads), max_size=6), st.lists(st.integers(1, 20_000), max_size=20))
def test_frames_are_the_same_however_the_bytes_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    receiver, data = Receiver(), stream_of(frames)
    for cut in cuts:
        receiver.feed(data[:cut])
        data = data[cut:]
    receiver.feed(data)
    assert receiver.frames == frames


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=30)), max_size=5))
def test_frames_are_the_same_one_byte_at_a_time(frames: list[Frame]) -> None:
    receiver = Receiver()
    for byte in stream_of(frames):
        receiver.feed(bytes([byte]))
    assert receiver.frames == frames


@pytest.mark.parametrize("header_bytes", [0, 8179, 8180, 8181, 8192, MAX_HEADER_BYTES])
@pytest.mark.parametrize("payload_bytes", [0, 1, 8192, MAX_PAYLOAD_BYTES])
def test_largest_and_smallest_frames_pass(header_bytes: int, payload_bytes: int) -> None:
    receiver = Receiver()
    frames = [(b"x" * header_bytes, b"y" * payload_bytes), (b"end", b"")]
    receiver.feed(stream_of(frames))
    assert receiver.frames == frames


def test_payload_is_received_into_the_memory_that_was_named() -> None:
    memory = bytearray(20_000)
    decoder = FrameDecoder(lambda header: header, lambda header, length: memoryview(memory))
    payload = bytes(range(250)) * 80
    head = frame_head(b"h", len(payload))
    buffer = decoder.get_buffer()
    buffer[: len(head)] = head
    assert list(decoder.received(len(head))) == []
    rest = decoder.get_buffer()
    assert rest.obj is memory
    rest[:] = payload
    [(_, received)] = list(decoder.received(len(payload)))
    assert received.obj is memory
    assert bytes(memory) == payload


def test_sender_cannot_frame_what_the_receiver_would_reject() -> None:
    for header, payload_bytes in ((b"x" * (MAX_HEADER_BYTES + 1), 0), (b"", MAX_PAYLOAD_BYTES + 1)):
        with pytest.raises(LocalProtocolError):
            frame_head(header, payload_bytes)


def test_oversized_header_is_rejected_at_its_fourth_byte() -> None:
    receiver = Receiver()
    with pytest.raises(RemoteProtocolError) as caught:
        receiver.feed(struct.pack(">BBH", 0x93, 0xCD, MAX_HEADER_BYTES + 1))
    assert caught.value.code == "oversized_frame"


def test_oversized_payload_is_rejected_before_anything_is_decoded_or_placed() -> None:
    receiver = Receiver()
    with pytest.raises(RemoteProtocolError) as caught:
        receiver.feed(struct.pack(">BBH", 0x93, 0xCD, 1) + b"h" + struct.pack(">BI", 0xC6, MAX_PAYLOAD_BYTES + 1))
    assert caught.value.code == "oversized_frame"
    assert receiver.placed == []
    assert receiver.decoded == []


@pytest.mark.parametrize("start", [b"\x92\xcd\x00\x00", b"\x93\xce\x00\x00", b"GET ", b"\x16\x03\x01\x02"])
def test_stream_that_does_not_begin_as_a_frame_is_rejected(start: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Receiver().feed(start)
    assert caught.value.code == "bad_frame"


def test_header_without_a_payload_behind_it_is_rejected() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Receiver().feed(struct.pack(">BBH", 0x93, 0xCD, 1) + b"h" + struct.pack(">BI", 0xC4, 0))
    assert caught.value.code == "bad_frame"


def test_room_of_another_size_is_this_programs_fault() -> None:
    decoder = FrameDecoder(lambda header: header, lambda header, length: memoryview(bytearray(length + 1)))
    data = frame_head(b"h", 3)
    decoder.get_buffer()[: len(data)] = data
    with pytest.raises(LocalProtocolError):
        list(decoder.received(len(data)))


class Pieces:
    """Places every payload in pieces of the given sizes, and notes how many of them were there when it was asked for
    another."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.whole, self.memory = sizes, 0, bytearray(sum(sizes))
        self.decoder = FrameDecoder(lambda header: header, lambda header, length: Room(self._pieces()))

    def _pieces(self) -> Iterator[memoryview]:
        start = 0
        for size in self.sizes:
            yield memoryview(self.memory)[start : start + size]
            start += size
            self.whole += 1

    def feed(self, data: bytes) -> list[tuple[bytes, memoryview]]:
        view, frames = memoryview(data), []
        while view:
            buffer = self.decoder.get_buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            frames += list(self.decoder.received(count))
            view = view[count:]
        return frames


@given(st.lists(st.integers(1, 3000), max_size=8), st.lists(st.integers(1, 3000), max_size=12), st.integers(1, 3))
def test_room_is_asked_for_its_next_piece_when_one_is_full_however_the_bytes_are_cut(
    sizes: list[int], cuts: list[int], frames: int
) -> None:
    pieces = Pieces(sizes)
    payload = bytes(n % 251 for n in range(sum(sizes)))
    head, ends = frame_head(b"h", len(payload)), list(itertools.accumulate(sizes))
    data, fed = frames * (head + payload), 0
    for cut in [*cuts, len(data)]:
        assert pieces.feed(data[fed : fed + cut]) == [], "its receiver knows"
        fed = min(fed + cut, len(data))
        past, within = divmod(fed, len(head) + len(payload))
        assert pieces.whole == past * len(sizes) + sum(end <= within - len(head) for end in ends)
    assert pieces.memory == payload


@pytest.mark.parametrize("sizes", [[], [2], [2, 2], [4], [0, 3], [1, 0, 2], [3, 1]])
def test_pieces_that_are_not_the_payload_are_this_programs_fault(sizes: list[int]) -> None:
    with pytest.raises(LocalProtocolError):
        Pieces(sizes).feed(frame_head(b"h", 3) + b"123")


@given(st.binary(max_size=30), st.binary(max_size=30), st.data())
def test_truncated_frame_never_yields(header: bytes, payload: bytes, data: st.DataObject) -> None:
    whole = stream_of([(header, payload)])
    receiver = Receiver()
    receiver.feed(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert receiver.frames == []


@given(st.binary(max_size=200), st.booleans())
def test_garbage_raises_a_remote_error_or_waits_for_more(garbage: bytes, begins_well: bool) -> None:
    receiver = Receiver()
    try:
        receiver.feed((b"\x93\xcd" if begins_well else b"") + garbage)
    except RemoteProtocolError as error:
        assert error.code in ("bad_frame", "oversized_frame")
    assert all(len(payload) <= MAX_PAYLOAD_BYTES for _, payload in receiver.frames)


@given(st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=50)), max_size=5))
def test_any_msgpack_reader_decodes_the_stream_as_arrays(frames: list[Frame]) -> None:
    packed = [(msgpack.packb([header, 7]), payload) for header, payload in frames]
    unpacker = msgpack.Unpacker()
    unpacker.feed(stream_of(packed))
    expected = [[len(header), [frame[0], 7], frame[1]] for frame, (header, _) in zip(frames, packed, strict=True)]
    assert list(unpacker) == expected


def test_overhead_is_what_a_frame_adds() -> None:
    assert len(frame_head(b"12345", 7)) == 5 + FRAME_OVERHEAD_BYTES
