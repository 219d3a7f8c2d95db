"""A hostile sender: rewrites frames on their way out. Nothing of the sender itself knows of it."""

from __future__ import annotations

import random
import struct
from collections import deque
from typing import assert_never

import msgpack
import msgspec

from marfl_peer.lab.simulator.faults.plan import Lie
from marfl_peer.protocol.frames import FRAME_OVERHEAD_BYTES, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, frame_head
from marfl_peer.protocol.messages import AnyMessage, ChunkDigest, Hello, ModelPart, Part, Proof, StatePart, encode

REMEMBERED = 50
_NOT_FINITE = {"nan": b"\xff\xff\xff\xff", "inf": struct.pack("<f", float("inf"))}
_NOT_FINITE_ENCODED = _NOT_FINITE | {"inf": b"\x80\x7f\x80\x7f"}
"""Whatever they are read as: two bfloat16 infinities, of which a scale may be one, are no float32 or float16 number."""


class Tamperer:
    """Each frame that the lie is about is rewritten with probability `share`; a handshake never is, since nobody speaks
    on with one that fails it. `is_coded`: whether values may travel encoded."""

    def __init__(self, lie: Lie, *, share: float, rng: random.Random, is_coded: bool = False) -> None:
        self._lie, self._share, self._random = lie, share, rng
        self._not_finite = _NOT_FINITE_ENCODED if is_coded else _NOT_FINITE
        self._earlier: deque[bytes] = deque(maxlen=REMEMBERED)
        self.count = 0
        """Frames that were rewritten so far."""

    def __call__(self, message: AnyMessage, frame: bytes) -> list[bytes]:
        """What is sent in place of the frame."""
        if isinstance(message, Hello | Proof):
            return [frame]
        is_due = self._random.random() < self._share and self._is_about(message)
        sent = self._rewritten(message, frame) if is_due else [frame]
        self.count += is_due
        self._earlier.append(frame)
        return sent

    def _is_about(self, message: AnyMessage) -> bool:
        match self._lie:
            case "nan" | "inf":
                return isinstance(message, Part | StatePart | ModelPart)
            case "wrong_digest":
                return isinstance(message, ChunkDigest)
            case _:
                return True

    def _rewritten(self, message: AnyMessage, frame: bytes) -> list[bytes]:
        match self._lie:
            case "nan" | "inf":
                return [_with_value(frame, self._not_finite[self._lie])]
            case "garbage":
                return [self._random.randbytes(max(16, len(frame)))]
            case "oversized":
                return [self._oversized(frame)]
            case "malformed":
                return [self._malformed(message)]
            case "wrong_digest":
                assert isinstance(message, ChunkDigest)
                wrong = msgspec.structs.replace(message, digest=self._random.randbytes(32))
                header = encode(wrong)
                return [frame_head(header)]
            case "duplicate":
                return [frame, frame]
            case "replay":
                return [frame, self._random.choice(self._earlier)] if self._earlier else [frame]
            case _:
                assert_never(self._lie)

    def _oversized(self, frame: bytes) -> bytes:
        """Says that more is to come than anybody may send: of header or of payload."""
        if self._random.random() < 0.5:
            return b"\x93\xcd" + struct.pack(">H", MAX_HEADER_BYTES + 1) + frame[4:]
        header_bytes = struct.unpack_from(">H", frame, 2)[0]
        return frame[: 5 + header_bytes] + struct.pack(">I", MAX_PAYLOAD_BYTES + 1)

    def _malformed(self, message: AnyMessage) -> bytes:
        """A frame in form, but its header is no message."""
        fields = msgspec.to_builtins(message, builtin_types=(bytes,))
        match self._random.randrange(4):
            case 0:
                fields[0] = "Command"
            case 1 if len(fields) > 1:
                fields[self._random.randrange(1, len(fields))] = {"a": [1] * 5}
            case 2 if len(fields) > 1:
                fields[self._random.randrange(1, len(fields))] = -(2**40)
            case _:
                return frame_head(self._random.randbytes(20))
        return frame_head(bytes(msgpack.packb(fields)))


def _with_value(frame: bytes, value: bytes) -> bytes:
    header_bytes = struct.unpack_from(">H", frame, 2)[0]
    start = header_bytes + FRAME_OVERHEAD_BYTES
    count = min(len(value), len(frame) - start)
    return frame[:start] + value[:count] + frame[start + count :]
