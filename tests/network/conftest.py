"""What the tests of this room share: a clock whose wall can be set, a run that forgives no lost exception, records."""

import asyncio
import gc
import sys
import time
from pathlib import Path

import pytest

from marfl_peer.clock import Clock
from marfl_peer.ids import dht_key
from marfl_peer.network.identity import Identity
from marfl_peer.protocol import records
from marfl_peer.protocol.records import GroupBody

# The plain modules beside these tests are importable.
sys.path.insert(0, str(Path(__file__).parent))

LIMIT_S = 30.0


class SetClock(Clock):
    """The wall stands still until it is moved."""

    def __init__(self):
        self.wall_s = float(int(time.time()))

    def wall(self):
        return self.wall_s


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def run():
    """Runs a coroutine in a loop of its own; an exception that nobody took, also of a dead task, fails the test."""

    def run_it(coroutine):
        lost = []

        async def watched():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: lost.append(context))
            async with asyncio.timeout(LIMIT_S):
                result = await coroutine
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, f"tasks left behind: {others}"
            gc.collect()
            await asyncio.sleep(0)
            return result

        result = asyncio.run(watched())
        assert lost == []
        return result

    return run_it


@pytest.fixture
def speak(clock):
    """speak(identity, key, ...) makes a signed record of a group announcement."""

    def make(identity=None, key=None, *, lifetime_s=600, body=None, cell=0):
        identity = identity or Identity.ephemeral()
        if body is None:
            body = records.encode_body(GroupBody(host="127.0.0.1", port=7700, cell=cell, iteration=1))
        return identity.sign_record(key=key or dht_key("a line"), body=body, expires_at=int(clock.wall() + lifetime_s))

    return make
