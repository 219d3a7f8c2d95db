import asyncio
import random

from kademlia.node import Node

from marfl_peer.clock import Deadline
from marfl_peer.network.dht.contacts import distance
from marfl_peer.network.dht.crawler import VISITS_PER_WIDTH, Crawl

OWN = b"\xff" * 20
TARGET = bytes(20)


def node(number):
    return Node(number.to_bytes(20, "big"), "127.0.0.1", 1)


def number_of(found):
    return int.from_bytes(found.id, "big")


async def crawl(start, ask, *, width=3, parallel=2, within_s=10.0):
    deadline = Deadline(asyncio.get_running_loop().time() + within_s)
    search = Crawl(TARGET, [node(n) for n in start], own_id=OWN, width=width, parallel=parallel)
    return [number_of(found) for found in await search.run(ask, deadline=deadline)]


def test_crawl_finds_the_closest_through_others(run):
    rng = random.Random(3)
    everybody = rng.sample(range(1, 10_000), 200)
    knows = {n: sorted(everybody, key=lambda m: abs(everybody.index(n) - everybody.index(m)))[:12] for n in everybody}

    async def ask(asked):
        named = sorted(knows[number_of(asked)])[:6]
        return [node(n) for n in [*named, min(everybody)]]

    assert run(crawl(everybody[:3], ask))[0] == min(everybody)


def test_crawl_asks_everybody_once_and_hears_everybody_out(run):
    asked = []

    async def ask(one):
        asked.append(number_of(one))
        return [node(n) for n in (1, 2, 3, 4, 5)]

    assert run(crawl([5], ask)) == [1, 2, 3]
    assert sorted(asked) == [1, 2, 3, 5]


def test_crawl_leaves_out_the_silent(run):
    async def ask(one):
        return None if number_of(one) in (1, 2) else [node(n) for n in (1, 2, 3, 4)]

    assert run(crawl([9, 4], ask)) == [3, 4, 9]


def test_crawl_does_not_ask_itself(run):
    async def ask(one):
        assert one.id != OWN
        return [Node(OWN, "127.0.0.1", 1)]

    assert run(crawl([5], ask)) == [5]


def test_crawl_of_nobody(run):
    async def ask(one):
        raise AssertionError("there is nobody to ask")

    assert run(crawl([], ask)) == []


def test_crawl_keeps_no_more_questions_open_than_allowed(run):
    state = {"open": 0, "most": 0}

    async def ask(one):
        state["open"] += 1
        state["most"] = max(state["most"], state["open"])
        await asyncio.sleep(0)
        state["open"] -= 1
        return []

    assert len(run(crawl(range(1, 9), ask, width=8, parallel=3))) == 8
    assert state["most"] == 3


def test_crawl_goes_on_while_one_is_slow(run):
    async def go():
        others_asked = asyncio.Event()
        asked = set()

        async def ask(one):
            asked.add(number_of(one))
            if number_of(one) == 1:
                await others_asked.wait()
            if len(asked) == 4:
                others_asked.set()
            return []

        return await crawl([1, 2, 3, 4], ask, width=4)

    assert run(go()) == [1, 2, 3, 4]


def test_crawl_ends_at_its_deadline_with_what_it_has(run):
    async def go():
        never = asyncio.Event()

        async def ask(one):
            if number_of(one) == 1:
                await never.wait()
            return []

        return await crawl([1, 2, 3], ask, within_s=0.02)

    assert run(go()) == [2, 3]


def test_crawl_is_not_led_on_for_ever(run):
    asked = []

    async def ask(one):
        asked.append(one)
        n = number_of(one)
        return [node(n - step) for step in range(1, 4) if n > step]

    run(crawl([10**9], ask, width=3))
    assert len(asked) == VISITS_PER_WIDTH * 3


def test_distance_is_xor():
    assert distance(b"\x05", b"\x03") == 6
