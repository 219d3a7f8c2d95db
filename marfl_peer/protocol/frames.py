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
MAX_PAYLOAD_BYTES = 1024 * 1024
FRAME_OVERHEAD_BYTES = 9
"""What a frame adds to its header and payload."""

_HEAD = struct.Struct(">BBH")
_BIN = struct.Struct(">BI")
_ARRAY_OF_3, _UINT16, _BIN32 = 0x93, 0xCD, 0xC6
_SCRATCH_BYTES = 8 * 1024

H = TypeVar("H")


class Room(NamedTuple):
    """Memory for a payload whose receiver wants nothing but to be told, at once, how many bytes of it are filled by
    now: it need not be whole to be of use."""

    memory: memoryview
    filled_to: Callable[[int], None]


def frame_head(header: bytes, payload_bytes: int = 0) -> bytes:
    """Everything of a frame that stands before its payload."""
    if len(header) > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise LocalProtocolError(f"frame of {len(header)} + {payload_bytes} bytes is over the limits")
    return _HEAD.pack(_ARRAY_OF_3, _UINT16, len(header)) + header + _BIN.pack(_BIN32, payload_bytes)


class FrameDecoder(Generic[H]):
    """Turns received bytes into (header, payload) pairs, however the bytes are cut.

    `decode` turns header bytes into a header or raises RemoteProtocolError. `place(header, length)` names the writable
    memory of exactly `length` bytes for the payload; where that is a Room, its `filled_to` is called, whenever there is
    more of it, in place of yielding the frame. Receive into `get_buffer()`, then call `received(count)`.
    """

    def __init__(self, decode: Callable[[bytes], H], place: Callable[[H, int], memoryview | Room]) -> None:
        self._decode = decode
        self._place = place
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._filled = 0
        self._header: H | None = None
        self._payload: memoryview | None = None
        self._payload_filled = 0
        self._tell: Callable[[int], None] | None = None

    def get_buffer(self) -> memoryview:
        """Where the next bytes belong: never empty."""
        if self._payload is not None:
            return self._payload[self._payload_filled :]
        return memoryview(self._scratch)[self._filled :]

    def received(self, count: int) -> Iterable[tuple[H, memoryview]]:
        """The frames that the last `count` bytes completed; take them all before receiving more.

        A frame is handled by the caller before room is asked for the next one's payload, which may depend on it.
        Raises: RemoteProtocolError; the stream is then unusable.
        """
        if self._payload is None:
            self._filled += count
            return self._parse()
        return self._fill(self._payload_filled + count)

    def _parse(self) -> Iterator[tuple[H, memoryview]]:
        start = 0
        while (end := self._parse_head(start)) is not None:
            assert self._payload is not None
            taken = min(self._filled - end, len(self._payload))
            if taken:  # the room for an empty payload may be read-only
                self._payload[:taken] = memoryview(self._scratch)[end : end + taken]
            start = end + taken
            yield from self._fill(taken)
            if self._payload is not None:
                break
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
        room = self._place(header, payload_bytes)
        memory = room.memory if isinstance(room, Room) else room
        if len(memory) != payload_bytes:
            raise LocalProtocolError(f"{len(memory)} bytes of room for a payload of {payload_bytes}")
        self._header, self._payload = header, memory
        self._tell = room.filled_to if isinstance(room, Room) else None
        return int(start + head_bytes)

    def _fill(self, filled: int) -> tuple[tuple[H, memoryview], ...]:
        """So much of the payload is there. Tells whose it is, or hands the frame on when it is whole."""
        header, payload, tell = self._header, self._payload, self._tell
        assert header is not None
        assert payload is not None
        is_whole = filled == len(payload)
        if is_whole:
            self._header = self._payload = self._tell = None
        self._payload_filled = 0 if is_whole else filled
        if tell is not None:
            tell(filled)
            return ()
        return ((header, payload),) if is_whole else ()

    def _keep(self, start: int) -> None:
        """Moves what is left of the scratch to its front, and makes room where a long header needs it."""
        left = self._filled - start
        if left and start:
            self._scratch[:left] = self._scratch[start : self._filled]
        self._filled = left
        if left >= _HEAD.size and self._payload is None:
            needed = _HEAD.size + _HEAD.unpack_from(self._scratch)[2] + _BIN.size
            if needed > len(self._scratch):
                # A new one: whoever received into the old one may still hold its buffer, and then it cannot grow.
                self._scratch = self._scratch + bytes(needed - len(self._scratch))
