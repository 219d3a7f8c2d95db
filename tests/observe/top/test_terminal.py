from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import termios
from collections.abc import Iterator

import pytest

from marfl_peer.observe.top.terminal import LFLAG, Keyboard


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: that of the person, that of the program."""
    person, program = pty.openpty()
    yield person, program
    for fd in (person, program):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_keys_are_heard_at_once_and_not_echoed(ends: tuple[int, int]) -> None:
    person, program = ends

    async def main() -> bytes:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        with Keyboard(program, heard.put_nowait):
            os.write(person, b"s\x1a")
            data = b""
            while len(data) < 2:
                data += await heard.get()
            assert not termios.tcgetattr(program)[LFLAG] & termios.ECHO
            return data

    assert asyncio.run(main()) == b"s\x1a"


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, asyncio.CancelledError, RuntimeError])
def test_terminal_is_what_it_was_however_it_ends(ends: tuple[int, int], error: type[BaseException] | None) -> None:
    _, program = ends
    before = termios.tcgetattr(program)

    async def main() -> None:
        try:
            with Keyboard(program, lambda data: None):
                assert termios.tcgetattr(program) != before
                if error is not None:
                    raise error
        except BaseException as caught:
            assert type(caught) is error
        assert not asyncio.get_running_loop().remove_reader(program)

    asyncio.run(main())
    assert termios.tcgetattr(program) == before


def test_terminal_that_goes_away_is_the_end(ends: tuple[int, int]) -> None:
    person, program = ends

    async def main() -> bytes:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        keyboard = Keyboard(program, heard.put_nowait)
        keyboard.__enter__()
        os.close(person)
        return await heard.get()

    assert asyncio.run(main()) == b"q"


def test_what_is_no_terminal_is_refused() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(termios.error):
            Keyboard(reader, lambda data: None).__enter__()
    finally:
        os.close(reader)
        os.close(writer)
