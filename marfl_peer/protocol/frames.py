"""Frames: how messages and tensor bytes share one TCP connection.

A frame is one msgpack array `[header length, header, payload]`: 0x93, 0xcd + 2 bytes, the header (any msgpack object),
0xc6 + 4 bytes, then the payload raw. Any msgpack reader decodes it in one go; this one knows every length before it
allocates and lets the receiver name the memory that the payload is read into. No I/O here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError

MAX_HEADER_BYTES = 60 * 1024
"""The longest is the offer of a result with the seals of 128 owners."""
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
FRAME_OVERHEAD_BYTES = 9
"""What a frame adds to its header and payload."""

_HEAD = struct.Struct(">BBH")
_BIN = struct.Struct(">BI")
_ARRAY_OF_3, _UINT16, _BIN32 = 0x93, 0xCD, 0xC6
_SCRATCH_BYTES = 8 * 1024

H = TypeVar("H")


class Room(NamedTuple):
    """Memory for a payload that its receiver uses piece after piece, before it is whole: each of `pieces` is asked for
    when the one before is full, and what would come after the last one when that is."""

    pieces: Iterator[memoryview]


def frame_head(header: bytes, payload_bytes: int = 0) -> bytes:
    """Everything of a frame that stands before its payload."""
    if len(header) > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise LocalProtocolError(f"frame of {len(header)} + {payload_bytes} bytes is over the limits")
    return _HEAD.pack(_ARRAY_OF_3, _UINT16, len(header)) + header + _BIN.pack(_BIN32, payload_bytes)


class FrameDecoder(Generic[H]):
    """Turns received bytes into (header, payload) pairs, however the bytes are cut.

    `decode` turns header bytes into a header or raises RemoteProtocolError. `place(header, length)` names the writable
    memory of exactly `length` bytes for the payload; where that is a Room, whose pieces add up to them, its receiver
    learns from being asked for them how much is there, and the frame is not yielded. `place` may be exchanged between
    frames. Receive into `get_buffer()`, then call `received(count)`.
    """

    def __init__(self, decode: Callable[[bytes], H], place: Callable[[H, int], memoryview | Room]) -> None:
        self._decode = decode
        self.place = place
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._filled = 0
        self._frame: tuple[H, memoryview] | None = None
        """That whose payload comes, where it is to be yielded."""
        self._pieces: Iterator[memoryview] = iter(())
        self._unplaced = 0
        """Bytes of the payload that no memory was named for yet."""
        self._rest: memoryview | None = None
        """What is still empty of the memory that the payload goes to; None between frames."""

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where the next bytes belong: never empty, and of no particular size."""
        rest = self._rest
        return memoryview(self._scratch)[self._filled :] if rest is None else rest

    def received(self, count: int) -> Iterable[tuple[H, memoryview]]:
        """The frames that the last `count` bytes completed; take them all before receiving more.

        A frame is handled by the caller before room is asked for the next one's payload, which may depend on it.
        Raises: RemoteProtocolError; the stream is then unusable.
        """
        rest = self._rest
        if rest is None:
            self._filled += count
            return self._parse()
        self._rest = rest = rest[count:]
        return () if rest else self._go_on()

    def _parse(self) -> Iterator[tuple[H, memoryview]]:
        start = 0
        while self._rest is None and start < self._filled and (end := self._parse_head(start)) is not None:
            start = end
            while (rest := self._rest) is not None and (not rest or start < self._filled):
                taken = min(len(rest), self._filled - start)
                if taken:  # the room for an empty payload may be read-only
                    rest[:taken] = memoryview(self._scratch)[start : start + taken]
                    start += taken
                self._rest = rest = rest[taken:]
                if not rest:
                    yield from self._go_on()
        self._keep(start)

    def _parse_head(self, start: int) -> int | None:
        """Where the payload of the frame at `start` begins, or None where its head is not all here yet."""
        available = self._filled - start
        if available < _HEAD.size:
            return None
        array, uint16, header_bytes = _HEAD.unpack_from(self._scratch, start)
        if array != _ARRAY_OF_3 or uint16 != _UINT16:
            raise RemoteProtocolError("bad_frame", f"a frame cannot begin with 0x{array:02x}{uint16:02x}")
        if header_bytes > MAX_HEADER_BYTES:
            raise RemoteProtocolError("oversized_frame", f"header of {header_bytes} bytes")
        head_bytes = _HEAD.size + header_bytes + _BIN.size
        if available < head_bytes:
            return None
        tag, payload_bytes = _BIN.unpack_from(self._scratch, start + _HEAD.size + header_bytes)
        if tag != _BIN32:
            raise RemoteProtocolError("bad_frame", f"0x{tag:02x} where the payload's length belongs")
        if payload_bytes > MAX_PAYLOAD_BYTES:
            raise RemoteProtocolError("oversized_frame", f"payload of {payload_bytes} bytes")
        header = self._decode(bytes(self._scratch[start + _HEAD.size : start + _HEAD.size + header_bytes]))
        room = self.place(header, payload_bytes)
        if isinstance(room, Room):
            self._pieces, self._unplaced, self._rest = room.pieces, payload_bytes, memoryview(b"")
        elif len(room) == payload_bytes:
            self._frame, self._rest = (header, room), room
        else:
            raise LocalProtocolError(f"{len(room)} bytes of room for a payload of {payload_bytes}")
        return int(start + head_bytes)

    def _go_on(self) -> tuple[tuple[H, memoryview], ...]:
        """The memory named last is full: goes on to the next piece, or hands the frame on when it is whole."""
        frame, self._frame, self._rest = self._frame, None, None
        if frame is not None:
            return (frame,)
        piece = next(self._pieces, None)
        if piece is not None and 0 < len(piece) <= self._unplaced:
            self._rest = piece
            self._unplaced -= len(piece)
        elif piece is not None or self._unplaced:
            raise LocalProtocolError(f"the room for {self._unplaced} bytes of a payload is of another size")
        return ()

    def _keep(self, start: int) -> None:
        """Moves what is left of the scratch to its front, and makes room where a long header needs it."""
        left = self._filled - start
        if left and start:
            self._scratch[:left] = self._scratch[start : self._filled]
        self._filled = left
        if left >= _HEAD.size and self._rest is None:
            needed = _HEAD.size + _HEAD.unpack_from(self._scratch)[2] + _BIN.size
            if needed > len(self._scratch):
                # A new one: whoever received into the old one may still hold its buffer, and then it cannot grow.
                self._scratch = self._scratch + bytes(needed - len(self._scratch))
