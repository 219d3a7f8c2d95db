from __future__ import annotations

import pytest

from marfl_peer.observe.top.keys import KEYS, Key, KeyReader

TYPED = [
    (b"q", [Key.QUIT]),
    (b"\x03", [Key.QUIT]),
    (b"sSr", [Key.SORT_NEXT, Key.SORT_BEFORE, Key.REVERSE]),
    (b"\x1b[C\x1b[D", [Key.SORT_NEXT, Key.SORT_BEFORE]),
    (b"\x1bOA\x1bOB", [Key.UP, Key.DOWN]),
    (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
    (b"x\x1b[1;5Cy\xffr", [Key.REVERSE]),  # Ctrl+right is not known
    (b"\x1bqr", [Key.REVERSE]),  # Alt+q is not q
    (b"\x1b\x1b[A", [Key.UP]),
    (b"\x1b[" + b"1" * 40 + b"q", [Key.QUIT]),  # no sequence is that long
]


@pytest.mark.parametrize(("data", "keys"), TYPED)
def test_keys_are_read(data: bytes, keys: list[Key]) -> None:
    assert KeyReader().feed(data) == keys


@pytest.mark.parametrize(("data", "keys"), TYPED)
def test_keys_are_read_byte_by_byte(data: bytes, keys: list[Key]) -> None:
    reader = KeyReader()
    assert [key for byte in data for key in reader.feed(bytes((byte,)))] == keys


def test_every_key_can_be_pressed() -> None:
    assert set(KEYS.values()) == set(Key)
