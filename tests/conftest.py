"""What holds for all tests: how long an example takes says more of the machine's load than of the code; and a run on
an event loop that forgives no lost exception and no task left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from marfl_peer.lab.links import why_not

hypothesis.settings.register_profile("marfl-peer", deadline=None)
hypothesis.settings.load_profile("marfl-peer")

sys.path.insert(0, str(Path(__file__).parent))
"""Makes the plain modules beside these tests importable."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script that starts something in the background lets it ignore Ctrl+C, and so all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT_S = 25.0


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collections after every run need not look at it again, each for 0.1 s."""
    gc.collect()
    gc.freeze()


Run = Callable[[Coroutine[Any, Any, Any]], Any]


def runner(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Runs a coroutine in a loop of its own; what nobody took, exceptions of dead tasks too, fails the test."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        lost: list[dict[str, Any]] = []

        async def watched() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
            async with asyncio.timeout(LIMIT_S):
                result = await coroutine
            for _ in range(3):  # cancelled tasks and closed transports say so a turn later
                await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, f"tasks left behind: {others}"
            gc.collect()
            return result

        with asyncio.Runner(loop_factory=loop_factory) as loop:
            result = loop.run(watched())
        assert lost == []
        return result

    return run


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_both_loops(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on asyncio's own loop, and in another test on uvloop: they deliver in different turns."""
    return runner(request.param)


@pytest.fixture
def on_loop() -> Run:
    """Runs a coroutine on the loop that peers use."""
    return runner(uvloop.new_event_loop)


@pytest.fixture
def needs_namespaces() -> None:
    """Skips the test where there are none: root of a container may not make any."""
    if reason := why_not():
        pytest.skip(reason)
    name = f"marfl-probe-{os.getpid()}"
    made = subprocess.run(("ip", "netns", "add", name), check=False, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    subprocess.run(("ip", "netns", "delete", name), check=True)
