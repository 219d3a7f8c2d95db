"""What a terminal sends when keys are pressed, as the keys that `top` knows.

A machine without I/O: bytes go in as they come, an escape sequence may come in pieces.
"""

from __future__ import annotations

from enum import Enum


class Key(Enum):
    """What is asked for."""

    QUIT = "quit"
    SORT_NEXT = "sort by the next column"
    SORT_BEFORE = "sort by the column before"
    REVERSE = "reverse the order"
    DOWN = "one row down"
    UP = "one row up"
    PAGE_DOWN = "a page down"
    PAGE_UP = "a page up"


ESCAPE = 0x1B
KEYS: dict[bytes, Key] = {
    b"q": Key.QUIT,
    b"Q": Key.QUIT,
    b"\x03": Key.QUIT,
    b"\x04": Key.QUIT,
    b"s": Key.SORT_NEXT,
    b"S": Key.SORT_BEFORE,
    b"r": Key.REVERSE,
    b"j": Key.DOWN,
    b"k": Key.UP,
    b" ": Key.PAGE_DOWN,
    b"b": Key.PAGE_UP,
    b"[C": Key.SORT_NEXT,
    b"[D": Key.SORT_BEFORE,
    b"[B": Key.DOWN,
    b"[A": Key.UP,
    b"[6~": Key.PAGE_DOWN,
    b"[5~": Key.PAGE_UP,
}
"""By what comes; of an escape sequence, what follows the escape. Terminals in application mode send O for [."""
MAX_SEQUENCE = 8


class KeyReader:
    """`feed` returns the keys that are complete."""

    def __init__(self) -> None:
        self._sequence: bytes | None = None
        """What came behind an escape, while its end is to come."""

    def feed(self, data: bytes) -> list[Key]:
        found = (self._step(byte) for byte in data)
        return [key for key in found if key is not None]

    def _step(self, byte: int) -> Key | None:
        if byte == ESCAPE:
            self._sequence = b""
            return None
        if self._sequence is None:
            return KEYS.get(bytes((byte,)))
        sequence = self._sequence + bytes((byte,))
        if sequence in (b"[", b"O"):
            self._sequence = b"["
            return None
        if sequence[:1] != b"[":  # Alt and a key
            self._sequence = None
            return None
        if not 0x40 <= byte <= 0x7E and len(sequence) < MAX_SEQUENCE:
            self._sequence = sequence
            return None
        self._sequence = None
        return KEYS.get(sequence)
