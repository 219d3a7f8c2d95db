"""Where the frames of a byte stream end, found while the bytes pass by. Knows the outline of a frame, holds no bytes of
payloads back."""

from __future__ import annotations

import struct

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.frames import FRAME_OVERHEAD_BYTES
from marfl_peer.protocol.messages import AnyMessage, decode

_START = struct.Struct(">BBH")
_LENGTH = struct.Struct(">I")
_ARRAY_OF_3, _UINT16 = 0x93, 0xCD


class Frame:
    """A frame that has passed. `told`: whether somebody was told that it is about to be read."""

    __slots__ = ("message", "told")

    def __init__(self, message: AnyMessage) -> None:
        self.message = message
        self.told = False


class Cutter:
    """Cuts one stream behind each of its frames. A stream that is none of frames is passed on as it is."""

    def __init__(self) -> None:
        self._head = b""
        self._header_bytes: int | None = None
        self._message: AnyMessage | None = None
        self._left = 0
        self._is_lost = False

    def cut(self, data: bytes) -> list[tuple[bytes, Frame | None]]:
        """The same bytes in pieces, each with the frame that it ends, or None."""
        pieces: list[tuple[bytes, Frame | None]] = []
        start = position = 0
        while position < len(data):
            if self._is_lost:
                break
            if self._message is None:
                taken = self._take_head(data, position)
            else:
                taken = min(self._left, len(data) - position)
                self._left -= taken
            position += taken
            if self._message is not None and self._left == 0:
                pieces.append((data[start:position], Frame(self._message)))
                start, self._message, self._head, self._header_bytes = position, None, b"", None
        if start < len(data):
            pieces.append((data[start:], None))
        return pieces

    def _take_head(self, data: bytes, position: int) -> int:
        """How many bytes belong to what stands before the payload; the message is known when all of it is there."""
        wanted = _START.size if self._header_bytes is None else self._header_bytes + FRAME_OVERHEAD_BYTES
        taken = data[position : position + wanted - len(self._head)]
        self._head += taken
        if len(self._head) < wanted:
            return len(taken)
        if self._header_bytes is None:
            array, uint16, self._header_bytes = _START.unpack(self._head)
            self._is_lost = (array, uint16) != (_ARRAY_OF_3, _UINT16)
        else:
            self._open(self._head)
        return len(taken)

    def _open(self, head: bytes) -> None:
        try:
            self._message = decode(head[_START.size : -5])
        except RemoteProtocolError:
            self._is_lost = True
            return
        self._left = _LENGTH.unpack(head[-4:])[0]
