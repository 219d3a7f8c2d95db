from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from marfl_peer.cli.signals import StopSignals


def test_first_signal_asks_and_second_ends() -> None:
    calls: list[object] = []
    signals = StopSignals(lambda: calls.append("ask"), end=calls.append)
    assert signals.received is None
    signals.handle(signal.SIGTERM)
    assert (signals.received, calls) == (signal.SIGTERM, ["ask"])
    signals.handle(signal.SIGINT)
    assert (signals.received, calls) == (signal.SIGTERM, ["ask", 130])
    signals.handle(signal.SIGTERM)
    assert calls == ["ask", 130, 143]


def test_later_way_of_leaving_replaces_the_earlier() -> None:
    calls: list[object] = []
    signals = StopSignals(lambda: calls.append("cancel"), end=calls.append)
    signals.ask_with(lambda: calls.append("leave"))
    assert calls == []
    signals.handle(signal.SIGINT)
    assert calls == ["leave"]


def test_signal_that_came_before_the_later_way_is_not_forgotten() -> None:
    calls: list[object] = []
    signals = StopSignals(lambda: calls.append("cancel"), end=calls.append)
    signals.handle(signal.SIGINT)
    signals.ask_with(lambda: calls.append("leave"))
    assert calls == ["cancel", "leave"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_real_signal_reaches_the_loop_and_handlers_go_with_it(number: int) -> None:
    before = signal.getsignal(number)

    async def run() -> int | None:
        asked = asyncio.Event()
        with StopSignals(asked.set) as signals:
            os.kill(os.getpid(), number)
            async with asyncio.timeout(10):
                await asked.wait()
            return signals.received

    assert asyncio.run(run()) == number
    assert signal.getsignal(number) == before


STUBBORN = """
import asyncio, os, signal
from marfl_peer.cli.signals import StopSignals

async def main():
    with StopSignals(lambda: os.kill(os.getpid(), signal.SIGTERM)):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_second_signal_ends_a_process_that_does_not_leave() -> None:
    process = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, timeout=30)
    assert (process.returncode, process.stderr) == (143, b"")
